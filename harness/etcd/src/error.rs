//! Errors.

use std::time::Duration;

use meshbed_driver::SystemError;

/// Something could not be done with an etcd.
#[derive(Debug, thiserror::Error)]
#[error("failed to {act} in the etcd of cluster `{cluster}`")]
pub struct EtcdError {
    /// The cluster.
    pub cluster: String,
    /// What was tried, such as ``list `cilium/` ``.
    pub act: String,
    /// Why it failed.
    #[source]
    pub kind: EtcdErrorKind,
}

impl EtcdError {
    /// Whether etcd knows who asked, and refused it because of that.
    pub fn is_permission_denied(&self) -> bool {
        /// `PERMISSION_DENIED` of gRPC.
        const PERMISSION_DENIED: i32 = 7;
        match &self.kind {
            EtcdErrorKind::Client(etcd_client::Error::GRpcStatus(status)) => {
                i32::from(status.code()) == PERMISSION_DENIED
            }
            _ => false,
        }
    }
}

/// Why something could not be done with an etcd.
#[derive(Debug, thiserror::Error)]
pub enum EtcdErrorKind {
    /// Namespace, thread or files.
    #[error("the system refused a part of it")]
    System(#[source] SystemError),
    /// etcd or the connection to it.
    #[error("etcd refused it or could not be reached")]
    Client(#[source] etcd_client::Error),
    /// No answer.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The thread of the connection has ended.
    #[error("the connection was closed")]
    Closed,
    /// No key has a lease.
    #[error("no key there has a lease")]
    NoLease,
    /// It was done, and etcd shows otherwise.
    #[error("etcd does not show it: {0}")]
    NotSeen(String),
}

impl From<etcd_client::Error> for EtcdErrorKind {
    fn from(error: etcd_client::Error) -> Self {
        Self::Client(error)
    }
}
