//! The agent with maps in memory, without an API server and without a remote etcd that answers.

use std::{net::Ipv4Addr, path::Path};

use mesh_core::{
    AddressType, Config, LocalEndpoint, LocalService, LocalSlice, Patience, ServicePort, ServiceV2, SlicePort,
    TargetPort,
};
use mesh_datapath::{Balancer, RecordingDatapath, RecordingIpcache, memory::MemoryMaps};
use mesh_types::{ClusterId, MaxConnectedClusters, Protocol, ServiceKey};
use mesh_wire::Resource;
use tempfile::TempDir;
use tokio::{sync::oneshot, time::timeout};

use super::*;

const DEADLINE: Duration = Duration::from_secs(10);

fn name(name: &str) -> ClusterName {
    ClusterName::new(name).expect("valid")
}

fn agent() -> Agent<RecordingDatapath> {
    let id = ClusterId::new(1, MaxConnectedClusters::N255).expect("valid");
    let config = Config::new(name("alpha"), id, "alpha-1");
    let lifecycle = LifecycleConfig {
        cluster_id: id,
        limit: MaxConnectedClusters::N255,
        resources: [Resource::Services].into(),
        service_v2: Some(ServiceV2::default()),
        cache_ttl: None,
        patience: Patience::default(),
    };
    let besides = Besides {
        addresses: Addresses::new(name("alpha"), config.cluster_id, "alpha-1", Box::new(RecordingIpcache::empty())),
        registry: Registry::new(name("alpha"), "alpha-1"),
        describer: None,
    };
    Agent::new(name("alpha"), State::new(config), RecordingDatapath::empty(), lifecycle, besides, Trace::off())
}

/// The ends of a running agent.
struct Ends {
    local: mpsc::Sender<LocalEvent>,
    status: mpsc::Sender<Question>,
}

fn inputs(directory: Option<&Path>) -> (Ends, Inputs) {
    let (local, local_receiver) = mpsc::channel(8);
    let (status, status_receiver) = mpsc::channel(8);
    let directory = directory.map(|path| MeshDirectory::open(path, &name("alpha")).expect("watched"));
    let (_, metrics) = mpsc::channel(1);
    (Ends { local, status }, Inputs { local: local_receiver, directory, status: status_receiver, metrics })
}

impl Ends {
    async fn ask(&self) -> AgentStatus {
        let (sender, receiver) = oneshot::channel();
        self.status.send(Question::Health(sender)).await.expect("the agent runs");
        timeout(DEADLINE, receiver).await.expect("deadline: status").expect("the agent answers")
    }

    /// Asks until the remote clusters are these.
    async fn ask_until(&self, clusters: &[&str]) -> AgentStatus {
        timeout(DEADLINE, async {
            loop {
                let status = self.ask().await;
                let found = &status.cluster_mesh.clusters;
                if found.iter().map(|cluster| cluster.name.as_str()).eq(clusters.iter().copied()) {
                    return status;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("deadline: remote clusters")
    }
}

fn service() -> LocalEvent {
    let key = ServiceKey::new("default", "web");
    let port = ServicePort {
        name: String::new(),
        port: 80,
        protocol: Protocol::Tcp,
        node_port: None,
        target: TargetPort::Number(80),
    };
    let service = LocalService {
        cluster_ips: vec![Ipv4Addr::new(10, 101, 0, 10)],
        ports: vec![port],
        annotations: [("service.cilium.io/global".to_owned(), "true".to_owned())].into(),
        ..LocalService::new(key.clone())
    };
    LocalEvent::Service { key, service: Some(service), version: "7".to_owned() }
}

fn slice() -> LocalEvent {
    let slice = LocalSlice {
        namespace: "default".to_owned(),
        name: "web-1".to_owned(),
        service: Some("web".to_owned()),
        address_type: AddressType::Ipv4,
        ports: vec![SlicePort { name: String::new(), protocol: Protocol::Tcp, port: 80 }],
        endpoints: vec![LocalEndpoint {
            addresses: vec![Ipv4Addr::new(10, 1, 1, 2)],
            ready: Some(true),
            ..LocalEndpoint::default()
        }],
        ..LocalSlice::default()
    };
    LocalEvent::Slice {
        namespace: "default".to_owned(),
        name: "web-1".to_owned(),
        slice: Some(slice),
        service: Some(ServiceKey::new("default", "web")),
        version: "8".to_owned(),
    }
}

fn write(folder: &TempDir, cluster: &str) {
    // Nobody listens on the discard port of the documentation's network.
    let text = "endpoints: [http://192.0.2.1:9]\n";
    std::fs::write(folder.path().join(cluster), text).expect("written");
}

#[tokio::test]
async fn local_services_reach_the_maps_and_the_mesh_follows_its_directory() {
    let folder = tempfile::tempdir().expect("temporary folder");
    write(&folder, "beta");
    let (ends, inputs) = inputs(Some(folder.path()));
    let agent = tokio::spawn(agent().run(inputs));
    for event in [service(), slice(), LocalEvent::Synced] {
        ends.local.send(event).await.expect("the agent runs");
    }
    let status = ends.ask_until(&["beta"]).await;
    assert_eq!(status.cilium.state, "Ok");
    assert_eq!(status.cluster_mesh.num_global_services, 1);
    assert!(!status.cluster_mesh.clusters[0].ready, "nobody answers there");

    write(&folder, "gamma");
    ends.ask_until(&["beta", "gamma"]).await;
    std::fs::remove_file(folder.path().join("beta")).expect("removed");
    ends.ask_until(&["gamma"]).await;
    agent.abort();
}

#[tokio::test]
async fn a_map_that_cannot_be_written_is_written_later() {
    let mut store = MemoryMaps::default();
    store.fail_after(0);
    let datapath = Balancer::open(store).expect("empty maps");
    let mut agent = Agent { datapath, ..agent() };
    for event in [service(), slice(), LocalEvent::Synced] {
        agent.local_event(event);
    }
    assert_eq!(agent.status().cilium.state, "Failure");
    assert!(agent.datapath.contents().services().is_empty());
    agent.retry();
    assert_eq!(agent.status().cilium.state, "Failure", "still full");

    agent.datapath.store_mut().recover();
    agent.retry();
    assert_eq!(agent.status().cilium.state, "Ok");
    assert!(!agent.datapath.contents().services().is_empty());
    assert!(agent.failed.is_empty() && agent.failed_prune.is_none());
}

/// Whether a removed configuration file takes its cluster away.
#[cfg(feature = "planted-defects")]
#[test_case::test_case(None => Vec::<String>::new() ; "right")]
#[test_case::test_case(Some(Defect::ConfigRemovalIgnored) => vec!["beta"] ; "wrong")]
#[tokio::test]
async fn config_removal_ignored(defect: Option<Defect>) -> Vec<String> {
    let _planting = mesh_planted::plant_here(defect);
    let folder = tempfile::tempdir().expect("temporary folder");
    write(&folder, "beta");
    let mut directory = MeshDirectory::open(folder.path(), &name("alpha")).expect("watched");
    let mut agent = agent();
    agent.scan(Some(&mut directory)).expect("readable");
    assert_eq!(agent.clusters.len(), 1);
    std::fs::remove_file(folder.path().join("beta")).expect("removed");
    agent.scan(Some(&mut directory)).expect("readable");
    agent.clusters.keys().map(ToString::to_string).collect()
}

#[tokio::test]
async fn each_step_of_a_change_is_traced() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("trace");
    let (trace, writer) = Trace::open(Some(&path)).expect("opened");
    let mut agent = Agent { trace, ..agent() };
    for event in [service(), LocalEvent::Synced, slice(), slice()] {
        agent.local_event(event);
    }
    let beta = || name("beta");
    agent.step(Event::RemoteAdded { cluster: beta() }, None);
    let id = ClusterId::new(2, MaxConnectedClusters::N255).expect("valid");
    let key = ServiceKey::new("default", "other");
    agent.remote_event(
        beta(),
        RemoteEvent::Object { cluster_id: id, object: RemoteObject::Service(key, None), revision: 42 },
    );
    drop(writer);

    let text = std::fs::read_to_string(path).expect("written");
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let word = |line: &serde_json::Value| {
        let text = |name: &str| line[name].as_str().expect("text").to_owned();
        [text("stage"), text("cluster"), text("service"), text("rv")].join(" ")
    };
    let expected = [
        "k8s alpha default/web 7",
        "map alpha default/web ",
        "k8s alpha default/web 8",
        "map alpha default/web 8",
        "k8s alpha default/web 8",
        "etcd-watch beta default/other 42",
    ];
    assert_eq!(lines.iter().map(word).collect::<Vec<_>>(), expected);
    let times: Vec<u64> = lines.iter().map(|line| line["ts_ns"].as_u64().expect("a time")).collect();
    assert!(times.is_sorted() && times[0] > 0, "{times:?}");
}
