//! Errors of the router and its client.

use std::{io, net::Ipv4Addr, path::PathBuf, time::Duration};

use mesh_types::ClusterName;

use crate::controller::MTU_MIN;

/// The system refused something that the router needs.
#[derive(Debug, thiserror::Error)]
#[error("failed to {act}")]
pub struct WanError {
    /// What was tried, such as ``write `/run/…` ``.
    pub act: String,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

/// Adds to an error what was tried.
pub(crate) trait Act<T> {
    /// Turns the error into a [`WanError`] with `act` as context.
    fn act(self, act: impl FnOnce() -> String) -> Result<T, WanError>;
}

impl<T> Act<T> for io::Result<T> {
    fn act(self, act: impl FnOnce() -> String) -> Result<T, WanError> {
        self.map_err(|source| WanError { act: act(), source })
    }
}

impl<T> Act<T> for Result<T, rtnetlink::Error> {
    fn act(self, act: impl FnOnce() -> String) -> Result<T, WanError> {
        self.map_err(|error| match error {
            rtnetlink::Error::NetlinkError(message) => message.to_io(),
            other => io::Error::other(other),
        })
        .act(act)
    }
}

/// Conditions did not come into force.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// The router does not know the cluster.
    #[error("unknown cluster `{0}`")]
    UnknownCluster(ClusterName),
    /// A direction has two ends.
    #[error("a link from `{0}` to itself")]
    SameCluster(ClusterName),
    /// No IPv4 link may have so small an MTU.
    #[error("MTU {0} is too small, {MTU_MIN} is the least")]
    MtuTooSmall(u16),
    /// The address behind which a cluster is to be hidden is in use.
    #[error("NAT address {address} belongs to {holder}")]
    NatAddressInUse {
        /// The address.
        address: Ipv4Addr,
        /// Whose it is, in words.
        holder: String,
    },
    /// There is no default address for clusters with IDs beyond 255.
    #[error("NAT from `{0}` needs an address")]
    NoNatAddress(ClusterName),
    /// The system refused something; what was in force before is in force again, as far as that was possible.
    #[error("the system refused a part of it")]
    System(#[from] WanError),
}

/// The router did not do what the client asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("failed to connect to the router at `{}`", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The connection broke.
    #[error("failed to talk to the router at `{}`", path.display())]
    Talk {
        /// The socket.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// It took too long.
    #[error("the router at `{}` did not answer within {deadline:?}", path.display())]
    Silent {
        /// The socket.
        path: PathBuf,
        /// How long it was given.
        deadline: Duration,
    },
    /// It said no. What was in force before still is.
    #[error("the router refused: {0}")]
    Refused(String),
}
