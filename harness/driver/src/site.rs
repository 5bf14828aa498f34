//! The ground of a run: its directories, mounts and cgroups, made before anything runs in them.

use std::{
    collections::BTreeSet,
    fs, io,
    net::{Ipv4Addr, SocketAddrV4, TcpListener},
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use mesh_types::ClusterName;
use meshbed_scenario::Topology;
use nix::{
    mount::{MsFlags, mount},
    sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, setsockopt, socket, sockopt},
};

use crate::{
    config,
    error::{Act, SystemError, UpErrorKind},
    gate::Gate,
    ground::GroundLock,
    layout::{self, CGROUP_NAME, RUNS_ROOT, WAN_NAME, private_cgroup_mount, run_json, topology_yaml},
    mount_table::MountTable,
    options::UpOptions,
    pki::{ETCD_ADMIN, ETCD_LOCAL},
    programs::notify_dir,
    state::{ClusterState, NodeState, ProcessIdentity, RunState},
};

/// Source of our mounts, to be seen in the mount table.
const MOUNT_SOURCE: &str = "meshbed";

/// A claimed site: the plan of the run and each cluster's listener on the machine.
#[derive(Debug)]
pub(crate) struct Site {
    /// The run as planned, stored in `run.json`.
    pub(crate) state: RunState,
    /// For the Kubernetes APIs, in the order of the clusters.
    pub(crate) listeners: Vec<TcpListener>,
    /// Sockets that keep the ports of the listeners ours while nobody listens there.
    pub(crate) reservations: Vec<OwnedFd>,
}

/// Claims the run ID at `gate` and makes directories, mounts and cgroups for the clusters that are `here`. Blocks for some
/// milliseconds.
pub(crate) fn claim(
    topology: &Topology,
    options: &UpOptions,
    here: &BTreeSet<ClusterName>,
    gate: &Gate,
) -> Result<Site, UpErrorKind> {
    if let Some(cluster) = topology.clusters().iter().find(|cluster| cluster.name().as_str() == WAN_NAME) {
        return Err(UpErrorKind::ReservedName(cluster.name().to_string()));
    }
    let harness = ProcessIdentity::current()?;
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let started_unix_ms = u64::try_from(started.as_millis()).unwrap_or(u64::MAX);

    let pass = gate.pass()?;
    let lock = GroundLock::acquire()?;
    // The mount of another run would vanish with that run.
    let mounted_root =
        MountTable::read()?.cgroup_root().filter(|root| !root.starts_with(RUNS_ROOT)).map(Path::to_owned);
    let cgroup_root = mounted_root.clone().unwrap_or_else(|| private_cgroup_mount(&options.run));
    let mut state = layout::plan(topology, options, harness, started_unix_ms, &cgroup_root);
    let (reservations, listeners) = bind_listeners(&mut state)?.into_iter().unzip();
    lock.prepare(mounted_root.as_deref())?;
    match fs::create_dir(&state.run_dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(UpErrorKind::Exists(state.run_dir)),
        other => other.act(|| format!("make `{}`", state.run_dir.display()))?,
    }
    gate.claim(&pass);
    make(&state, here, mounted_root.is_none())?;
    // For those who work on the mesh later: its file may be another one by then.
    write(&topology_yaml(&state.run), topology.text())?;
    Ok(Site { state, listeners, reservations })
}

/// One listener for each cluster on a free port of the machine's loopback, so that runs do not meet.
fn bind_listeners(state: &mut RunState) -> Result<Vec<(OwnedFd, TcpListener)>, SystemError> {
    let act = || "listen on 127.0.0.1".to_owned();
    let mut listeners = Vec::with_capacity(state.clusters.len());
    for cluster in &mut state.clusters {
        let (reservation, address) = reserve_port().act(act)?;
        let listener = TcpListener::bind(address).act(act)?;
        cluster.api_host_url = format!("https://{address}");
        listeners.push((reservation, listener));
    }
    Ok(listeners)
}

/// A socket that is bound but does not listen: connections to the port are refused, and only others with
/// `SO_REUSEADDR`, as listeners of the standard library have it, can be bound to it. So an API server that is gone can be
/// seen as gone, and its successor finds the port free.
fn reserve_port() -> nix::Result<(OwnedFd, SocketAddrV4)> {
    let reservation = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&reservation, sockopt::ReuseAddr, &true)?;
    bind(reservation.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)))?;
    let address: SockaddrIn = getsockname(reservation.as_raw_fd())?;
    Ok((reservation, address.into()))
}

fn make(state: &RunState, here: &BTreeSet<ClusterName>, needs_cgroup_mount: bool) -> Result<(), SystemError> {
    let run_dir = &state.run_dir;
    mount_at(run_dir, "tmpfs", "mode=0755")?;
    state.store(&run_json(&state.run))?;
    make_directories([state.logs_dir.clone(), notify_dir(state)])?;
    if needs_cgroup_mount {
        let point = private_cgroup_mount(&state.run);
        make_directories([point.clone()])?;
        mount_at(&point, "cgroup2", "")?;
        make_directories([point.join(CGROUP_NAME)])?;
    }
    // Everybody reads the etcds of all clusters, and has the certificates for it.
    make_directories(state.clusters.iter().map(|cluster| cluster.pki.clone()))?;
    for cluster in state.clusters.iter().filter(|cluster| here.contains(&cluster.name)) {
        make_directories([
            cluster.control_plane_cgroup.clone(),
            cluster.api_data_dir.clone(),
            cluster.exporter_state_dir.clone(),
            cluster.kvstoremesh_state_dir.clone(),
            cluster.kvstoremesh_dir.clone(),
        ])?;
        write(&cluster.etcd_config, &config::etcd_client(cluster, ETCD_ADMIN))?;
        if state.agents.kvstoremesh {
            for (remote, config) in remote_configs(state, cluster) {
                write(&cluster.kvstoremesh_dir.join(remote.as_str()), &config)?;
            }
        }
        for node in &cluster.nodes {
            make_node(state, cluster, node)?;
        }
    }
    Ok(())
}

fn make_node(state: &RunState, cluster: &ClusterState, node: &NodeState) -> Result<(), SystemError> {
    make_directories([
        node.bpf_root.clone(),
        node.agent_state_dir.clone(),
        node.kubelet_state_dir.clone(),
        node.clustermesh_dir.clone(),
    ])?;
    make_node_cgroups(node)?;
    mount_at(&node.bpf_root, "bpf", "mode=0700")?;
    let own = state.agents.kvstoremesh.then(|| config::etcd_client(cluster, ETCD_LOCAL));
    for (remote, theirs) in remote_configs(state, cluster) {
        write(&node.clustermesh_dir.join(remote.as_str()), own.as_ref().unwrap_or(&theirs))?;
    }
    Ok(())
}

/// Etcd client configurations of the clusters that are remote for `cluster`, by their names.
fn remote_configs<'run>(
    state: &'run RunState,
    cluster: &'run ClusterState,
) -> impl Iterator<Item = (&'run ClusterName, String)> {
    let others = state.clusters.iter().filter(|remote| remote.name != cluster.name);
    others.map(|remote| (&remote.name, config::etcd_client(remote, remote.remote_certificate(&cluster.name))))
}

/// Makes a node's cgroup and those in it.
pub(crate) fn make_node_cgroups(node: &NodeState) -> Result<(), SystemError> {
    make_directories(["agent", "kubelet", "pods"].map(|name| node.cgroup.join(name)))
}

/// Writes the kubeconfigs of `cluster`, now that its token is known.
pub(crate) fn write_kubeconfigs(cluster: &ClusterState, token: &str) -> Result<(), SystemError> {
    let inside = format!("https://{}:{}", cluster.control_plane_ip, layout::API_PORT);
    write(&cluster.kubeconfig, &config::kubeconfig(cluster, &inside, token))?;
    write(&cluster.kubeconfig_host, &config::kubeconfig(cluster, &cluster.api_host_url, token))
}

fn mount_at(point: &Path, file_system: &str, data: &str) -> Result<(), SystemError> {
    mount(Some(MOUNT_SOURCE), point, Some(file_system), MsFlags::empty(), Some(data))
        .act(|| format!("mount {file_system} at `{}`", point.display()))
}

fn make_directories(paths: impl IntoIterator<Item = PathBuf>) -> Result<(), SystemError> {
    for path in paths {
        fs::create_dir_all(&path).act(|| format!("make `{}`", path.display()))?;
    }
    Ok(())
}

fn write(path: &Path, content: &str) -> Result<(), SystemError> {
    fs::write(path, content).act(|| format!("write `{}`", path.display()))
}
