//! Whole clusters: power, and the cable to the others.

use futures::future::{try_join, try_join_all};

use super::{
    ClusterBooted, ClusterCrashed, Control, ControlError, ControlErrorKind, LinkSeen, Started, error::While, nodes::see,
};
use crate::{
    ProcessRole,
    links::{Index, Link},
    namespace::Namespace,
    network::wan_link,
    outpost::Order,
    programs::cluster_process,
    state::{ClusterState, CutLink},
};

impl Control {
    /// Takes the power of a whole cluster away: control plane and nodes, its link to the others first.
    pub async fn crash_cluster(&self, cluster: &str) -> Result<ClusterCrashed, ControlError> {
        if let Some(outpost) = self.outpost_of(cluster) {
            return self.order(outpost, Order::CrashCluster(cluster.to_owned())).await;
        }
        self.crash_all(cluster).await.during(|| format!("crash cluster `{cluster}`"))
    }

    /// Boots a cluster that crashed: etcd and API server with their old data, then exporter and nodes. Nodes that were
    /// crashed one by one before boot as well.
    pub async fn boot_cluster(&self, cluster: &str) -> Result<ClusterBooted, ControlError> {
        if let Some(outpost) = self.outpost_of(cluster) {
            return self.order(outpost, Order::BootCluster(cluster.to_owned())).await;
        }
        self.boot_all(cluster).await.during(|| format!("boot cluster `{cluster}`"))
    }

    /// Pulls the cable between a cluster and the router, or plugs it in again: the cluster is alone, and all is well within it.
    pub async fn cluster_link(&self, cluster: &str, link: Link) -> Result<LinkSeen, ControlError> {
        if let Some(outpost) = self.outpost_of(cluster) {
            return self.order(outpost, Order::ClusterLink(cluster.to_owned(), link)).await;
        }
        let cut = async {
            let state = self.find_cluster(cluster)?;
            let seen = self.set_cluster_link(&state, link).await?;
            self.remember_cut(CutLink::Cluster(cluster.to_owned()), link)?;
            Ok::<_, ControlErrorKind>(seen)
        };
        cut.await.during(|| format!("take the link of cluster `{cluster}` {link}"))
    }

    /// Takes the cluster's end down, which is a bridge port: no route is lost at either end.
    async fn set_cluster_link(&self, cluster: &ClusterState, link: Link) -> Result<LinkSeen, ControlErrorKind> {
        Namespace::open(&cluster.netns).await?.set_link(Index::UPLINK, link).await?;
        let (wan, far) = {
            let run = self.lock_state();
            let position = run.clusters.iter().position(|other| other.name == cluster.name).unwrap_or_default();
            (run.wan_netns.clone(), Index::numbered(u32::try_from(position).unwrap_or_default()))
        };
        see(&wan, &wan_link(cluster), far, link).await
    }

    async fn crash_all(&self, name: &str) -> Result<ClusterCrashed, ControlErrorKind> {
        let cluster = self.find_cluster(name)?;
        let link = self.set_cluster_link(&cluster, Link::Down).await?;
        let alive = {
            let run = self.lock_state();
            let alive = cluster.nodes.iter().filter(|node| !run.switched_off.contains(&node.name));
            alive.map(|node| node.name.clone()).collect::<Vec<_>>()
        };
        let names = self.of_control_plane(name);
        let (control_plane, nodes) = try_join(
            self.empty_expected(&names, &cluster.control_plane_cgroup),
            try_join_all(alive.iter().map(|node| self.crash(node))),
        )
        .await?;
        Ok(ClusterCrashed { cluster: name.to_owned(), link, control_plane, nodes })
    }

    async fn boot_all(&self, name: &str) -> Result<ClusterBooted, ControlErrorKind> {
        let cluster = self.find_cluster(name)?;
        let (off, is_cut) = {
            let run = self.lock_state();
            let off = cluster.nodes.iter().filter(|node| run.switched_off.contains(&node.name));
            let off: Vec<_> = off.map(|node| node.name.clone()).collect();
            (off, run.cut_links.contains(&CutLink::Cluster(name.to_owned())))
        };
        let link = self.set_cluster_link(&cluster, if is_cut { Link::Down } else { Link::Up }).await?;
        let start = |role| self.start_absent(cluster_process(role, name));
        let (etcd, api) = try_join(start(ProcessRole::Etcd), start(ProcessRole::ApiServer)).await?;
        let writers = try_join(start(ProcessRole::Exporter), start(ProcessRole::KvstoreMesh));
        let ((exporter, kvstoremesh), nodes) =
            try_join(writers, try_join_all(off.iter().map(|node| self.boot(node)))).await?;
        let control_plane = [etcd, api, exporter, kvstoremesh].into_iter().flatten().collect();
        Ok(ClusterBooted { cluster: name.to_owned(), link, control_plane, nodes })
    }

    /// Starts a process unless it runs, or the run has none of this name.
    async fn start_absent(&self, name: String) -> Result<Option<Started>, ControlErrorKind> {
        if self.present([name.clone()]).is_empty() || !self.process(&name).await?.has_ended() {
            return Ok(None);
        }
        self.start_now(&name).await.map(Some)
    }
}
