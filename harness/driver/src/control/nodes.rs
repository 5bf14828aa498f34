//! Whole nodes: power, cable, and standing still.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use futures::future::try_join_all;

use super::{
    Control, ControlError, ControlErrorKind, Frozen, LinkSeen, NodeBooted, NodeCrashed, Thawed, blocking, cgroups,
    error::While,
};
use crate::{
    RunState, cgroup,
    error::{Act, SystemError},
    layout::is_pod_netns,
    links::{Index, Link},
    namespace::{Forwarding, Namespace},
    network::{NODE_LINK, connect_node, port_of},
    outpost::Order,
    site::make_node_cgroups,
    state::{ClusterState, CutLink, NodeState},
    teardown::{namespaces, remove_namespace},
};

impl Control {
    /// Takes a node's power away. First its link goes down, so that no FIN or RST tells anybody; then all its processes are
    /// killed, pods included, and what a machine holds in memory goes: BPF maps and programs, interfaces, routes,
    /// connections, network namespaces. Its disk (state folders, configuration files) stays.
    pub async fn crash_node(&self, node: &str) -> Result<NodeCrashed, ControlError> {
        if let Some(outpost) = self.outpost_of_node(node) {
            return self.order(outpost, Order::CrashNode(node.to_owned())).await;
        }
        self.crash(node).await.during(|| format!("crash node `{node}`"))
    }

    /// Boots a node that crashed: a new namespace on the same cable, empty maps; kubelet and agent start and are waited for.
    pub async fn boot_node(&self, node: &str) -> Result<NodeBooted, ControlError> {
        if let Some(outpost) = self.outpost_of_node(node) {
            return self.order(outpost, Order::BootNode(node.to_owned())).await;
        }
        self.boot(node).await.during(|| format!("boot node `{node}`"))
    }

    /// Pulls a node's cable, or plugs it in again. No route is lost: the far end of its `eth0` is what goes down.
    pub async fn node_link(&self, node: &str, link: Link) -> Result<LinkSeen, ControlError> {
        if let Some(outpost) = self.outpost_of_node(node) {
            return self.order(outpost, Order::NodeLink(node.to_owned(), link)).await;
        }
        let cut = async {
            let (cluster, state) = self.find_powered(node)?;
            let seen = set_node_link(&cluster, &state, link).await?;
            self.remember_cut(CutLink::Node(node.to_owned()), link)?;
            Ok::<_, ControlErrorKind>(seen)
        };
        cut.await.during(|| format!("take the link of node `{node}` {link}"))
    }

    /// Stops everything on a node, pods included. Its kernel goes on: it answers ARP and accepts connections. To make it
    /// silent as well, pull its cable.
    pub async fn freeze_node(&self, node: &str) -> Result<Frozen, ControlError> {
        if let Some(outpost) = self.outpost_of_node(node) {
            return self.order(outpost, Order::FreezeNode(node.to_owned())).await;
        }
        let (_, state) = self.find_powered(node).during(|| format!("freeze node `{node}`"))?;
        self.freeze(&state.cgroup).await
    }

    /// Lets everything on a node go on.
    pub async fn thaw_node(&self, node: &str) -> Result<Thawed, ControlError> {
        if let Some(outpost) = self.outpost_of_node(node) {
            return self.order(outpost, Order::ThawNode(node.to_owned())).await;
        }
        let (_, state) = self.find_powered(node).during(|| format!("thaw node `{node}`"))?;
        self.thaw(&state.cgroup).await
    }

    fn find_powered(&self, node: &str) -> Result<(ClusterState, NodeState), ControlErrorKind> {
        let found = self.find_node(node)?;
        if self.lock_state().switched_off.contains(node) {
            return Err(ControlErrorKind::SwitchedOff(node.to_owned()));
        }
        Ok(found)
    }

    pub(super) fn remember_cut(&self, cut: CutLink, link: Link) -> Result<(), SystemError> {
        self.update(|run| {
            match link {
                Link::Down => run.cut_links.insert(cut),
                Link::Up => run.cut_links.remove(&cut),
            };
        })
    }

    pub(super) async fn crash(&self, node: &str) -> Result<NodeCrashed, ControlErrorKind> {
        let (cluster, state) = self.find_powered(node)?;
        let link = set_node_link(&cluster, &state, Link::Down).await?;
        let emptied = self.empty_expected(&self.of_node(node), &state.cgroup).await?;
        self.update(|run| {
            run.switched_off.insert(node.to_owned());
        })?;
        let segment = Namespace::open(&cluster.netns).await?;
        // Explicitly, because the kernel takes down the devices of a namespace some time after its end.
        segment.remove_link(port_of(&cluster, &state)).await?;
        let run = self.state();
        let (pins, namespaces) = blocking(move || forget(&run, &cluster, &state)).await?;
        Ok(NodeCrashed { node: node.to_owned(), link, emptied, pins, namespaces })
    }

    pub(super) async fn boot(&self, node: &str) -> Result<NodeBooted, ControlErrorKind> {
        let (cluster, state) = self.find_node(node)?;
        let (is_off, is_cut) = {
            let run = self.lock_state();
            (run.switched_off.contains(node), run.cut_links.contains(&CutLink::Node(node.to_owned())))
        };
        if !is_off {
            return Err(ControlErrorKind::SwitchedOn(node.to_owned()));
        }
        make_node_cgroups(&state)?;
        let namespace = Namespace::make(&state.netns, Forwarding::On, &self.shared.gate).await?;
        namespace.loopback_up().await?;
        connect_node(&cluster, &state, &Namespace::open(&cluster.netns).await?, &namespace).await?;
        let link = set_node_link(&cluster, &state, if is_cut { Link::Down } else { Link::Up }).await?;
        self.update(|run| {
            run.switched_off.remove(node);
        })?;
        let names = self.of_node(node);
        let started = try_join_all(names.iter().map(|name| self.start_now(name))).await?;
        Ok(NodeBooted { node: node.to_owned(), started, link })
    }

    /// Kills everything in `cgroup`, which holds the processes called `names`, whose ends are no failure.
    pub(super) async fn empty_expected(
        &self,
        names: &[String],
        cgroup: &Path,
    ) -> Result<super::Emptied, ControlErrorKind> {
        let mut processes = Vec::new();
        for name in names {
            let process = self.process(name).await?;
            process.expect_end();
            processes.push(process);
        }
        let emptied = cgroups::empty(cgroup).await?;
        for process in &mut processes {
            process.reaped().await;
        }
        Ok(emptied)
    }
}

/// Takes the far end of a node's link up or down, and looks at it from the node.
async fn set_node_link(cluster: &ClusterState, node: &NodeState, link: Link) -> Result<LinkSeen, ControlErrorKind> {
    let segment = Namespace::open(&cluster.netns).await?;
    segment.set_link(port_of(cluster, node), link).await?;
    see(&node.netns, NODE_LINK, Index::NODE, link).await
}

/// Looks at the far end of a link that was taken up or down. The carrier follows at once.
pub(super) async fn see(netns: &Path, interface: &str, index: Index, link: Link) -> Result<LinkSeen, ControlErrorKind> {
    let carrier = Namespace::open(netns).await?.carrier(index).await?;
    if carrier != (link == Link::Up) {
        let what = format!("`{interface}` in `{}` is {link}", netns.display());
        return Err(ControlErrorKind::NotSeen { what, deadline: std::time::Duration::ZERO });
    }
    Ok(LinkSeen { netns: netns.to_owned(), interface: interface.to_owned(), carrier })
}

/// Removes what a machine without power does not have: pins (with the last of which maps and links go), programs attached to
/// the node's cgroup, and its network namespaces. Returns how many pins and namespaces there were.
fn forget(run: &RunState, cluster: &ClusterState, node: &NodeState) -> Result<(usize, usize), SystemError> {
    let pins = remove_pins(&node.bpf_root).act(|| format!("remove the pins in `{}`", node.bpf_root.display()))?;
    // Programs that were attached without a link are attached to the cgroup itself.
    cgroup::remove(&node.cgroup)?;
    let is_pod = |path: &PathBuf| is_pod_netns(&run.run, cluster.name.as_str(), node, path);
    let mut gone: Vec<PathBuf> = namespaces(&run.run)?.into_iter().filter(is_pod).collect();
    gone.push(node.netns.clone());
    gone.iter().try_for_each(|path| remove_namespace(path))?;
    Ok((pins, gone.len()))
}

/// Removes everything in a bpffs folder. Returns how many files there were. Names with a dot are the kernel's own
/// (`maps.debug`, `progs.debug`): nobody can make or remove them (`bpf_lookup` in kernel/bpf/inode.c).
fn remove_pins(folder: &Path) -> io::Result<usize> {
    let mut pins = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            pins += remove_pins(&path)?;
            fs::remove_dir(&path)?;
        } else if !entry.file_name().to_string_lossy().contains('.') {
            fs::remove_file(&path)?;
            pins += 1;
        }
    }
    Ok(pins)
}
