//! Faults: each has a file of its own with what it is in a scenario, its effect, its witness and its heal, and a line in
//! [`FAULTS`].
//!
//! A fault tells the world of a [`Strike`] just before it does anything, so that the oracle never calls a consequence
//! wrong; it reports a witness once something outside of it has shown that it took effect; and it leaves behind a
//! future that undoes it. A fault without witness makes the run invalid.

mod agent_hang;
mod agent_kill;
mod agent_restart;
mod agent_stop;
mod api_compact;
mod api_gone;
mod api_misbehaves;
mod authority_swapped;
mod certificate;
mod certificate_expired;
mod certificate_rotated;
mod cluster_dead;
mod config_corrupted;
mod config_projected;
mod config_removed;
mod config_renamed;
mod cuts;
mod etcd_compact;
mod etcd_hang;
mod etcd_kill;
mod etcd_reset;
mod etcd_stop;
mod exporter_hang;
mod exporter_kill;
mod injection;
mod kvstore_tampered;
mod kvstoremesh_kill;
mod lease_loss;
mod link;
mod link_down;
mod map_tampered;
mod node_crash;
mod node_freeze;
mod node_not_ready;
mod partition;
mod pod_drain;
mod pod_hang;
mod pod_kill;
mod process;
mod role_revoked;
mod wan;
mod words;

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;
use meshbed_scenario::{Element, element};

pub(crate) use injection::{Injected, Injection};

/// Something that can be broken on purpose.
pub(crate) trait Fault: fmt::Debug + fmt::Display + Send + Sync {
    /// The word that events and reports use, such as `pod-kill`.
    fn kind(&self) -> &'static str;

    /// Breaks it, waits for the witness, and says how to undo it. When it fails, everything that it did is undone.
    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>>;
}

/// Why a fault could not be injected or healed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FaultError {
    /// There is nothing that the fault could hit.
    #[error("there is nothing to hit: {what}")]
    NoTarget {
        /// What is missing.
        what: String,
    },
    /// The fault was injected and nothing showed that it took effect.
    #[error("nothing showed that the fault took effect: {what}")]
    NoWitness {
        /// What was looked for.
        what: String,
    },
    /// Something that the fault needs did not work.
    #[error("failed to {what}")]
    Failed {
        /// What was to be done.
        what: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl FaultError {
    /// For `map_err`: `what` failed.
    pub(crate) fn failed<E>(what: impl Into<String>) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let what = what.into();
        move |source| Self::Failed { what, source: source.into() }
    }
}

/// A fault of the language.
#[derive(Clone, Debug)]
pub struct AnyFault(pub(crate) Arc<dyn Fault>);

impl AnyFault {
    /// The word for its kind, such as `pod-kill`.
    pub fn kind(&self) -> &'static str {
        self.0.kind()
    }
}

impl<T: Fault + 'static> From<T> for AnyFault {
    fn from(fault: T) -> Self {
        Self(Arc::new(fault))
    }
}

impl fmt::Display for AnyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// All kinds of faults.
pub(crate) static FAULTS: &[Element<AnyFault>] = &[
    element!("podKill", pod_kill::PodKill),
    element!("podDrain", pod_drain::PodDrain),
    element!("podHang", pod_hang::PodHang),
    element!("nodeCrash", node_crash::NodeCrash),
    element!("nodeFreeze", node_freeze::NodeFreeze),
    element!("nodeNotReady", node_not_ready::NodeNotReady),
    element!("agentKill", agent_kill::AgentKill),
    element!("agentStop", agent_stop::AgentStop),
    element!("agentHang", agent_hang::AgentHang),
    element!("agentRestart", agent_restart::AgentRestart),
    element!("etcdKill", etcd_kill::EtcdKill),
    element!("etcdStop", etcd_stop::EtcdStop),
    element!("etcdHang", etcd_hang::EtcdHang),
    element!("etcdCompact", etcd_compact::EtcdCompact),
    element!("etcdReset", etcd_reset::EtcdReset),
    element!("leaseLoss", lease_loss::LeaseLoss),
    element!("exporterKill", exporter_kill::ExporterKill),
    element!("exporterHang", exporter_hang::ExporterHang),
    element!("kvstoremeshKill", kvstoremesh_kill::KvstoremeshKill),
    element!("apiCompact", api_compact::ApiCompact),
    element!("apiGone", api_gone::ApiGone),
    element!("apiMisbehaves", api_misbehaves::ApiMisbehaves),
    element!("clusterDead", cluster_dead::ClusterDead),
    element!("linkDown", link_down::LinkDown),
    element!("partition", partition::Partition),
    element!("link", link::Link),
    element!("certificateExpired", certificate_expired::CertificateExpired),
    element!("authoritySwapped", authority_swapped::AuthoritySwapped),
    element!("certificateRotated", certificate_rotated::CertificateRotated),
    element!("roleRevoked", role_revoked::RoleRevoked),
    element!("configRemoved", config_removed::ConfigRemoved),
    element!("configRenamed", config_renamed::ConfigRenamed),
    element!("configProjected", config_projected::ConfigProjected),
    element!("configCorrupted", config_corrupted::ConfigCorrupted),
    element!("mapTampered", map_tampered::MapTampered),
    element!("kvstoreTampered", kvstore_tampered::KvstoreTampered),
];
