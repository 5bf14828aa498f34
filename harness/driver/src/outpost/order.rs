//! Control over clusters at an outpost: each method of [`Control`] as a value, done there by the same method.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Control, ControlError, Link, RunState};

/// Something to be done to a running mesh: each is the method of `Control` of the same name. Names are those of processes, nodes and
/// clusters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Order {
    Pid(String),
    Kill(String),
    Stop(String, Duration),
    Start(String),
    Restart(String),
    Suspend(String),
    Resume(String),
    CrashNode(String),
    BootNode(String),
    NodeLink(String, Link),
    FreezeNode(String),
    ThawNode(String),
    CrashCluster(String),
    BootCluster(String),
    ClusterLink(String, Link),
    ResetEtcd(String),
    EtcdClusterId(String),
    RemoteStatus(String),
}

/// What came of an order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ordered {
    /// What the method returned.
    pub(crate) value: Value,
    /// What the run there consists of now.
    pub(crate) state: RunState,
}

impl Order {
    /// Does it here.
    pub(super) async fn perform(self, control: &Control) -> Result<Ordered, ControlError> {
        let value = match self {
            Self::Pid(name) => json(control.pid(&name).await?),
            Self::Kill(name) => json(control.kill(&name).await?),
            Self::Stop(name, deadline) => json(control.stop(&name, deadline).await?),
            Self::Start(name) => json(control.start(&name).await?),
            Self::Restart(name) => json(control.restart(&name).await?),
            Self::Suspend(name) => json(control.suspend(&name).await?),
            Self::Resume(name) => json(control.resume(&name).await?),
            Self::CrashNode(node) => json(control.crash_node(&node).await?),
            Self::BootNode(node) => json(control.boot_node(&node).await?),
            Self::NodeLink(node, link) => json(control.node_link(&node, link).await?),
            Self::FreezeNode(node) => json(control.freeze_node(&node).await?),
            Self::ThawNode(node) => json(control.thaw_node(&node).await?),
            Self::CrashCluster(cluster) => json(control.crash_cluster(&cluster).await?),
            Self::BootCluster(cluster) => json(control.boot_cluster(&cluster).await?),
            Self::ClusterLink(cluster, link) => json(control.cluster_link(&cluster, link).await?),
            Self::ResetEtcd(cluster) => json(control.reset_etcd(&cluster).await?),
            Self::EtcdClusterId(cluster) => json(control.etcd_cluster_id(&cluster).await?),
            Self::RemoteStatus(node) => json(control.remote_status(&node).await?),
        };
        Ok(Ordered { value, state: control.state() })
    }
}

/// Witnesses are plain data: they have no form that JSON lacks.
fn json(witness: impl Serialize) -> Value {
    serde_json::to_value(witness).unwrap_or_default()
}
