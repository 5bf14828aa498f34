//! etcd as a whole. Its keys are the part of `meshbed-etcd`, which speaks its protocol.

use std::{fs, io, path::Path};

use nix::sys::signal::Signal;

use super::{Control, ControlError, ControlErrorKind, EtcdReset, blocking, error::While};
use crate::{
    ProcessRole,
    error::{Act, SystemError},
    etcd_setup, http,
    outpost::Order,
    process::KILL_DEADLINE,
    programs::{ETCD_PEER_URL, ETCD_TOKEN_FLAG, cluster_process},
};

/// The header in which etcd's peer interface says whom it belongs to.
const CLUSTER_ID_HEADER: &str = "X-Etcd-Cluster-ID";

impl Control {
    /// Lets the etcd of `cluster` lose everything: it is killed, its data is removed, and another etcd with another
    /// cluster ID starts in its place, with the same users.
    pub async fn reset_etcd(&self, cluster: &str) -> Result<EtcdReset, ControlError> {
        if let Some(outpost) = self.outpost_of(cluster) {
            return self.order(outpost, Order::ResetEtcd(cluster.to_owned())).await;
        }
        self.reset(cluster).await.during(|| format!("reset the etcd of cluster `{cluster}`"))
    }

    /// etcd's own cluster ID (not the mesh's) of the etcd of `cluster`, in hexadecimal digits.
    pub async fn etcd_cluster_id(&self, cluster: &str) -> Result<String, ControlError> {
        if let Some(outpost) = self.outpost_of(cluster) {
            return self.order(outpost, Order::EtcdClusterId(cluster.to_owned())).await;
        }
        let ask = async { Ok::<_, ControlErrorKind>(ask_cluster_id(&self.find_cluster(cluster)?.netns).await?) };
        ask.await.during(|| format!("ask the etcd of cluster `{cluster}` for its cluster ID"))
    }

    async fn reset(&self, cluster: &str) -> Result<EtcdReset, ControlErrorKind> {
        let state = self.find_cluster(cluster)?;
        let name = cluster_process(ProcessRole::Etcd, cluster);
        let before = ask_cluster_id(&state.netns).await?;
        {
            let mut process = self.process(&name).await?;
            process.end_with(Signal::SIGKILL, KILL_DEADLINE).await?;
            let data = &state.etcd_data_dir;
            match fs::remove_dir_all(data) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.act(|| format!("remove `{}`", data.display()))?,
            }
            if let Some(token) = process.launch_mut().argument_mut(ETCD_TOKEN_FLAG) {
                token.push('+');
            }
        }
        self.start_now(&name).await?;
        etcd_setup::set_up(&state, &self.shared.gate).await?;
        let after = ask_cluster_id(&state.netns).await?;
        Ok(EtcdReset { cluster: cluster.to_owned(), before, after })
    }
}

/// Asks by the peer interface, which needs no client.
async fn ask_cluster_id(netns: &Path) -> Result<String, SystemError> {
    let netns = netns.to_owned();
    let answer = blocking(move || http::get(&netns, &format!("{ETCD_PEER_URL}/members"))).await?;
    let id = answer.header(CLUSTER_ID_HEADER).map(str::to_owned);
    id.ok_or_else(|| io::Error::other(format!("no `{CLUSTER_ID_HEADER}` in its answer")))
        .act(|| "ask etcd for its cluster ID".to_owned())
}
