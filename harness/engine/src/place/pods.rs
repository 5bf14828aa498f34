//! The pods on nodes, as the kubelets write them down.

use std::path::PathBuf;

use meshbed_driver::Control;
use meshbed_node::PodState;

use super::errand::{Errand, run};
use crate::fault::FaultError;

/// A pod and the name of its node.
pub(crate) type PodOn = (String, PodState);

/// All pods that run on the nodes of `cluster`.
pub(crate) async fn of_cluster(control: &Control, cluster: &str) -> Result<Vec<PodOn>, FaultError> {
    let state = control.state();
    let nodes = state.cluster(cluster).map_or(&[][..], |cluster| &cluster.nodes);
    let folders = nodes.iter().map(|node| (node.name.clone(), node.kubelet_state_dir.clone())).collect();
    run(control, cluster, Errand::Pods(folders)).await
}

/// Those of nodes of this machine. A folder that cannot be read has none: its node may be just coming up.
pub(super) fn here(nodes: &[(String, PathBuf)]) -> Vec<PodOn> {
    let of = |(node, folder): &(String, PathBuf)| {
        let pods = PodState::list(folder).unwrap_or_default();
        pods.into_iter().map(|pod| (node.clone(), pod)).collect::<Vec<_>>()
    };
    nodes.iter().flat_map(of).collect()
}
