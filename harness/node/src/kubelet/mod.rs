//! The emulated kubelet: registers its node, runs the pods that are bound to it, and reports what becomes of them.
//!
//! Tasks: one watches pods and has a worker for each, which has a supervisor for each container; one keeps hosts files
//! for the names of services, one the config maps, one the node's heartbeat. When the kubelet ends, pods stay as they
//! are; the harness removes them with their cgroup. A kubelet that starts removes pods of an earlier one and starts
//! them anew, since it cannot wait for processes that are not its children.

pub mod catalogue;
mod cgroup;
mod check;
mod container;
mod error;
mod hosts;
mod ipam;
mod network;
mod node;
mod notify;
mod options;
mod plan;
mod publisher;
mod registration;
mod status;
mod supervisor;
mod volumes;
mod watches;
mod worker;

use std::{
    fs,
    future::Future,
    path::Path,
    sync::{Arc, Mutex},
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::{
    sync::{oneshot, watch},
    task::JoinSet,
};

pub use self::{error::KubeletError, network::NetworkError, options::Options};
use self::{hosts::HostsFiles, ipam::Ipam, network::NodeNetwork, node::Node, volumes::ConfigMaps};
use crate::PodState;

/// Runs the kubelet until `shutdown`. Must be called on a thread in the node's network namespace, in a runtime whose
/// threads are all in it. Tells `NOTIFY_SOCKET` once the node is registered and its pods are listed.
pub async fn run(options: Options, shutdown: impl Future<Output = ()> + Send) -> Result<(), KubeletError> {
    let ipam = Ipam::new(options.pod_cidr).ok_or(KubeletError::PodCidr { cidr: options.pod_cidr })?;
    let client = client(&options.kubeconfig).await?;
    let network = NodeNetwork::open().map_err(KubeletError::Network)?;
    let (config_maps, config_maps_receiver) = watch::channel(Arc::new(ConfigMaps::new()));
    let node = Arc::new(Node {
        gateway: ipam.gateway(),
        hosts: Mutex::new(HostsFiles::new(options.state_dir.join(node::HOSTS_FOLDER))),
        ipam: Mutex::new(ipam),
        config_maps: config_maps_receiver,
        client: client.clone(),
        network,
        options,
    });
    make_folders(&node)?;
    worker::sweep(&node).await.map_err(KubeletError::Leftovers)?;
    node.network.add_gateway(node.gateway).await.map_err(KubeletError::Network)?;

    let mut tasks: JoinSet<&'static str> = JoinSet::new();
    let (synced, pods_listed) = oneshot::channel();
    let ready = async {
        registration::register(&client, &node.options).await?;
        let heartbeat = registration::heartbeat(client.clone(), node.options.clone());
        tasks.spawn(async { match heartbeat.await {} });
        tasks.spawn(named("config maps", watches::config_maps(client.clone(), config_maps)));
        tasks.spawn(named("services", watches::services(Arc::clone(&node))));
        tasks.spawn(named("pods", watches::pods(Arc::clone(&node), synced)));
        pods_listed.await.map_err(|_| KubeletError::Task { task: "pods" })?;
        notify::ready().map_err(KubeletError::Notify)
    };
    tokio::pin!(shutdown);
    tokio::select! {
        result = ready => result?,
        () = &mut shutdown => return Ok(()),
    }
    tracing::info!(node = node.options.node_name, "ready");
    tokio::select! {
        () = &mut shutdown => Ok(()),
        ended = tasks.join_next() => {
            let task = ended.and_then(Result::ok).unwrap_or("panicked");
            Err(KubeletError::Task { task })
        }
    }
}

async fn named(name: &'static str, task: impl Future<Output = ()>) -> &'static str {
    task.await;
    name
}

async fn client(path: &Path) -> Result<Client, KubeletError> {
    let failed = |source| KubeletError::Kubeconfig { path: path.to_owned(), source };
    let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(failed)?;
    Client::try_from(config).map_err(|error| KubeletError::Client(Box::new(error)))
}

fn make_folders(node: &Node) -> Result<(), KubeletError> {
    let state_dir = &node.options.state_dir;
    let folders = [
        PodState::folder(state_dir),
        state_dir.join(node::HOSTS_FOLDER),
        node.volumes_folder(),
        node.logs_folder(),
        node.options.pod_cgroup.clone(),
        Path::new(network::NETNS_FOLDER).to_owned(),
    ];
    for path in folders {
        fs::create_dir_all(&path).map_err(|source| KubeletError::File { act: "make", path, source })?;
    }
    // Pods' hosts files are mounted over it.
    let path = Path::new(container::HOSTS_TARGET).to_owned();
    fs::metadata(&path).map_err(|source| KubeletError::File { act: "find", path, source })?;
    Ok(())
}
