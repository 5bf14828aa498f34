//! One agent that reads a large mesh: many synthetic clusters in one etcd, as KVStoreMesh leaves them there. How long until
//! its maps are right, what it takes, and how it keeps up with changes.
//!
//! The maps are read by their pins and in Cilium's layout, so what the agent itself thinks of being ready does not count.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use meshbed_driver::{ClusterState, Mesh, NodeState, Programs};
use meshbed_scenario::Topology;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    BenchError, Samples, feed,
    synthetic::{Dimensions, NAMESPACE, PORT, SyntheticCluster},
    up,
};
use crate::{kubernetes::Cluster, maps::IpcacheMap, read_maps};

/// The only real cluster. Its addresses are none of a synthetic cluster's.
const TOPOLOGY: &str = "\
apiVersion: meshbed.dev/v1alpha1
kind: Topology
name: one-agent
clusters:
- name: local
  id: 1
  nodeCIDR: 172.18.1.0/24
  podCIDR: 172.20.0.0/16
  serviceCIDR: 172.21.0.0/16
  nodes: [{name: node-1}]
";
/// Its agent.
const AGENT: &str = "agent-node-1";
/// Certificate with which an agent reads the etcd of its own cluster.
const CERTIFICATE: &str = "etcd-client-local";
/// How long an agent may take until its maps are right.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// Time between two looks at the maps: the resolution of the times.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long the agent may take to end.
const END_MAX: Duration = Duration::from_secs(10);

/// What is measured.
pub struct ScaleOptions {
    /// The programs that meshes are made of.
    pub programs: Programs,
    /// The sizes, in order.
    pub sizes: Vec<Dimensions>,
    /// Changes a second, after everything is there.
    pub rate: u32,
    /// For how long.
    pub length: Duration,
}

/// What an agent's process has taken since its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Agent {
    /// Resident memory in bytes.
    pub resident: u64,
    /// The most that it ever was.
    pub peak: u64,
    /// Time on a processor.
    pub cpu: Duration,
}

/// One size.
#[derive(Clone, Debug)]
pub struct Scaled {
    /// How much there was.
    pub size: Dimensions,
    /// Keys in the etcd.
    pub keys: usize,
    /// From the start of an agent without a mesh until it was ready, and what it took then.
    pub alone: (Duration, Agent),
    /// How long a client takes that reads all keys, one page after the other, and does nothing with them: the floor.
    pub floor: Duration,
    /// From the start of an agent with empty maps until they were right, and what it took until then.
    pub sync: (Duration, Agent),
    /// Changes that were made, in which time, and what the agent had taken at their end.
    pub churn: (u32, Duration, Agent),
    /// Processor time of the agent during that.
    pub churn_cpu: Duration,
    /// From the put into etcd to the map, for some of the changes.
    pub latency: Samples,
}

/// Measures every size. `told` hears of each part that is done.
pub async fn scale(
    options: ScaleOptions,
    interrupt: &CancellationToken,
    mut told: impl FnMut(&str),
) -> Result<Vec<Scaled>, BenchError> {
    let topology = Topology::parse(TOPOLOGY, "topology of one agent")?;
    let mut measured = Vec::new();
    for size in &options.sizes {
        let mesh = up(&topology, &options.programs).await?;
        let result = measure(&mesh, *size, &options, interrupt, &mut told).await;
        mesh.down().await?;
        measured.push(result?);
    }
    Ok(measured)
}

async fn measure(
    mesh: &Mesh,
    size: Dimensions,
    options: &ScaleOptions,
    interrupt: &CancellationToken,
    told: &mut impl FnMut(&str),
) -> Result<Scaled, BenchError> {
    let state = mesh.state();
    let cluster = state.clusters.first().ok_or("there is no cluster")?.clone();
    let node = cluster.nodes.first().ok_or("there is no node")?.clone();
    let api = Cluster::connect(cluster.name.clone(), &cluster.kubeconfig_host).await?;
    for object in objects(size) {
        api.apply(&object).await?;
    }
    stop(mesh).await?;
    let alone = start(mesh, &node, async || Ok(())).await?;
    told(&format!("{size}: an agent alone is ready after {:?}", alone.0));

    let written = Instant::now();
    let keys = blocking(interrupt, {
        let cluster = cluster.clone();
        move |interrupt| feed::write(&cluster, size, interrupt)
    })
    .await?;
    told(&format!("{size}: {keys} keys written in {:?}", written.elapsed()));
    let floor = blocking(interrupt, {
        let cluster = cluster.clone();
        move |interrupt| feed::read(&cluster, size, interrupt)
    })
    .await?;
    told(&format!("{size}: all read by a plain client in {floor:?}"));

    stop(mesh).await?;
    connect_to(&node, &cluster, size)?;
    let sync = start(mesh, &node, async || wait_until_right(&node, size, interrupt).await).await?;
    told(&format!("{size}: maps are right after {:?}", sync.0));

    let before = usage(mesh).await?;
    let (changes, took, latency) = blocking(interrupt, {
        let (cluster, root, rate, length) = (cluster.clone(), node.bpf_root.clone(), options.rate, options.length);
        move |interrupt| feed::churn(&cluster, &root, size, rate, length, interrupt)
    })
    .await?;
    let after = usage(mesh).await?;
    let churn_cpu = after.cpu.saturating_sub(before.cpu);
    Ok(Scaled { size, keys, alone, floor, sync, churn: (changes, took, after), churn_cpu, latency })
}

/// Services of our own cluster that all others have too.
fn objects(size: Dimensions) -> Vec<Value> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    let service = |name: String| {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": name, "namespace": NAMESPACE, "annotations": {"service.cilium.io/global": "true"},
            },
            "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": PORT}]},
        })
    };
    [namespace].into_iter().chain(size.services().map(service)).collect()
}

/// A configuration file for each synthetic cluster, all for the same etcd.
fn connect_to(node: &NodeState, cluster: &ClusterState, size: Dimensions) -> Result<(), BenchError> {
    let pki = |file: String| cluster.pki.join(file).display().to_string();
    let text = format!(
        "endpoints:\n- {}\ntrusted-ca-file: {}\nkey-file: {}\ncert-file: {}\n",
        cluster.etcd_endpoint,
        pki("ca.crt".to_owned()),
        pki(format!("{CERTIFICATE}.key")),
        pki(format!("{CERTIFICATE}.crt")),
    );
    for synthetic in size.clusters() {
        fs::write(node.clustermesh_dir.join(synthetic.name()), &text)?;
    }
    Ok(())
}

async fn stop(mesh: &Mesh) -> Result<(), BenchError> {
    mesh.control().stop(AGENT, END_MAX).await?;
    Ok(())
}

/// Starts the agent after its end, with empty maps. Returns how long it took until it had said that it is ready and `right` was over,
/// and what it took until then.
async fn start(
    mesh: &Mesh,
    node: &NodeState,
    right: impl AsyncFnOnce() -> Result<(), BenchError>,
) -> Result<(Duration, Agent), BenchError> {
    let control = mesh.control();
    fs::remove_dir_all(&node.pins)?;
    let begin = Instant::now();
    let starting = async { control.start(AGENT).await.map_err(BenchError::from) };
    tokio::try_join!(starting, right())?;
    Ok((begin.elapsed(), usage(mesh).await?))
}

async fn wait_until_right(node: &NodeState, size: Dimensions, interrupt: &CancellationToken) -> Result<(), BenchError> {
    let root = node.bpf_root.clone();
    blocking(interrupt, move |interrupt| {
        let deadline = Instant::now() + WAIT_MAX;
        let mut wrong = size.clusters().flat_map(SyntheticCluster::addresses).peekable();
        loop {
            let found = match wrong.peek() {
                Some(_) => addresses(&root, &mut wrong),
                None => services(&root, size),
            };
            if found.is_empty() && wrong.peek().is_none() && services(&root, size).is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline || interrupt.is_cancelled() {
                return Err(format!("maps are not right after {WAIT_MAX:?}: {found}").into());
            }
            // Maps have no notification that could be waited for.
            std::thread::park_timeout(LOOK_EVERY);
        }
    })
    .await
}

/// Goes on through what must be in the ipcache as far as it is there; in words what is not.
fn addresses(root: &Path, wrong: &mut std::iter::Peekable<impl Iterator<Item = (std::net::Ipv4Addr, u32)>>) -> String {
    let Ok(map) = IpcacheMap::open(root) else { return "there is no ipcache".to_owned() };
    let right = |(address, identity): &(_, u32)| map.identity(*address).is_ok_and(|found| found == Some(*identity));
    while wrong.next_if(right).is_some() {}
    wrong.peek().map_or_else(String::new, |(address, identity)| format!("{address} has no identity {identity}"))
}

/// Whether the services have all backends; in words what is wrong.
fn services(root: &Path, size: Dimensions) -> String {
    let Ok(maps) = read_maps(root) else { return "there are no maps of services".to_owned() };
    let wanted = size.backends_of_service();
    let full = maps.frontends.values().filter(|frontend| frontend.active.len() == wanted).count();
    let services = size.services().count();
    if full == services { String::new() } else { format!("{full} of {services} services have {wanted} backends") }
}

/// What the agent has taken.
async fn usage(mesh: &Mesh) -> Result<Agent, BenchError> {
    let pid = mesh.control().pid(AGENT).await?.ok_or("the agent has ended")?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let cpu = processor_time(&stat).ok_or("`/proc/<pid>/stat` has no times")?;
    let kib = |name| super::usage::field(&status, name).unwrap_or(0) * super::usage::KIB;
    Ok(Agent { resident: kib("VmRSS:"), peak: kib("VmHWM:"), cpu })
}

/// User and system time of a process (proc_pid_stat(5)).
fn processor_time(stat: &str) -> Option<Duration> {
    /// Place of `utime` behind the name of the program, which may hold blanks; `stime` follows.
    const UTIME: usize = 11;
    /// `sysconf(_SC_CLK_TCK)`, the same on all architectures.
    const TICK: Duration = Duration::from_millis(10);
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = |place: usize| fields.get(place)?.parse::<u32>().ok();
    Some(TICK * (ticks(UTIME)? + ticks(UTIME + 1)?))
}

/// Work that blocks, on a thread where it may.
async fn blocking<T: Send + 'static>(
    interrupt: &CancellationToken,
    work: impl FnOnce(&CancellationToken) -> Result<T, BenchError> + Send + 'static,
) -> Result<T, BenchError> {
    let interrupt = interrupt.clone();
    let result = tokio::task::spawn_blocking(move || work(&interrupt).map(|value| (value, interrupt.is_cancelled())));
    match result.await?? {
        (_, true) => Err("interrupted".into()),
        (value, false) => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topology_is_one() {
        let topology = Topology::parse(TOPOLOGY, "topology of one agent").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(topology.clusters().len(), 1);
    }

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 1 0 100 0 0";
        assert_eq!(processor_time(stat), Some(Duration::from_secs(2)));
    }
}
