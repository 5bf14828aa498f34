//! The emulated kubelet: registers its node, runs the pods that are bound to it, and reports what becomes of them.
//!
//! Tasks: one watches pods and has a worker for each, which has a supervisor for each container; one keeps hosts files
//! for the names of services, one the config maps, one the node's object, one its lease.
//!
//! When the kubelet ends, in whatever way, pods stay as they are: their processes are in cgroups and namespaces of their
//! own and write their logs themselves. Of each pod it writes down what there is ([checkpoint]), and the kubelet that
//! comes after it takes over what is still there ([adoption]) and removes the rest.

mod action;
mod adoption;
mod boot;
pub mod catalogue;
mod cgroup;
mod check;
mod checkpoint;
mod client;
mod container;
mod ending;
mod error;
mod hosts;
mod ipam;
mod lease;
mod network;
mod node;
mod node_object;
mod notify;
mod options;
mod plan;
mod process;
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

use tokio::{
    sync::{oneshot, watch},
    task::JoinSet,
};

use self::{
    adoption::Survivors, hosts::HostsFiles, ipam::Ipam, lease::NodeLease, network::NodeNetwork, node::Node,
    registration::Registration, volumes::ConfigMaps,
};
pub use self::{
    checkpoint::CheckpointError,
    error::KubeletError,
    network::NetworkError,
    options::{LEASE_DURATION_SECONDS, Options},
};
use crate::PodState;

/// Runs the kubelet until `shutdown`. Must be called on a thread in the node's network namespace, in a runtime whose
/// threads are all in it. Tells `NOTIFY_SOCKET` once the node is registered and its pods are listed.
pub async fn run(options: Options, shutdown: impl Future<Output = ()> + Send) -> Result<(), KubeletError> {
    let ipam = Ipam::new(options.pod_cidr).ok_or(KubeletError::PodCidr { cidr: options.pod_cidr })?;
    let client = client::make(&options.kubeconfig).await?;
    let boot_id = boot::id().map_err(KubeletError::BootId)?;
    let network = NodeNetwork::open().map_err(KubeletError::Network)?;
    let (config_maps, config_maps_receiver) = watch::channel(Arc::new(ConfigMaps::new()));
    let node = Arc::new(Node {
        gateway: ipam.gateway(),
        hosts: Mutex::new(HostsFiles::new(options.state_dir.join(node::HOSTS_FOLDER))),
        boot_id,
        ipam: Mutex::new(ipam),
        survivors: Mutex::new(Survivors::new()),
        config_maps: config_maps_receiver,
        client: client.clone(),
        network,
        options,
    });
    make_folders(&node)?;
    adoption::take_stock(&node).await?;
    node.network.add_gateway(node.gateway).await.map_err(KubeletError::Network)?;

    let mut tasks: JoinSet<&'static str> = JoinSet::new();
    let (synced, pods_listed) = oneshot::channel();
    let ready = async {
        let registration = Registration::new(&client, &node.options, &node.boot_id);
        let uid = registration.register().await?;
        let lease = NodeLease::new(client.clone(), &node.options, uid);
        tasks.spawn(async { match lease.keep().await {} });
        tasks.spawn(async { match registration.keep().await {} });
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

fn make_folders(node: &Node) -> Result<(), KubeletError> {
    let state_dir = &node.options.state_dir;
    let folders = [
        PodState::folder(state_dir),
        state_dir.join(checkpoint::CHECKPOINTS_FOLDER),
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
