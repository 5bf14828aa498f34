//! The agent with maps in memory, without an API server and without a remote etcd that answers.

use std::{net::Ipv4Addr, path::Path};

use mesh_core::{
    AddressType, Config, LocalEndpoint, LocalService, LocalSlice, ServiceKind, ServicePort, SlicePort, TargetPort,
};
use mesh_datapath::{Balancer, RecordingDatapath, memory::MemoryMaps};
use mesh_types::{ClusterId, MaxConnectedClusters, Protocol, ServiceKey};
use tempfile::TempDir;
use tokio::time::timeout;

use super::*;

const DEADLINE: Duration = Duration::from_secs(10);

fn name(name: &str) -> ClusterName {
    ClusterName::new(name).expect("valid")
}

fn agent() -> Agent<RecordingDatapath> {
    let id = ClusterId::new(1, MaxConnectedClusters::N255).expect("valid");
    let config = Config {
        cluster_name: name("alpha"),
        cluster_id: id,
        node_name: "alpha-1".to_owned(),
        restored: false,
        #[cfg(feature = "planted-defects")]
        defect: None,
    };
    Agent::new(State::new(config), RecordingDatapath::empty(), ClusterIds::new(id, MaxConnectedClusters::N255))
}

/// The ends of a running agent.
struct Ends {
    local: mpsc::Sender<LocalEvent>,
    status: mpsc::Sender<StatusRequest>,
}

fn inputs(directory: Option<&Path>) -> (Ends, Inputs) {
    let (local, local_receiver) = mpsc::channel(8);
    let (status, status_receiver) = mpsc::channel(8);
    let directory = directory.map(|path| MeshDirectory::open(path, &name("alpha")).expect("watched"));
    (Ends { local, status }, Inputs { local: local_receiver, directory, status: status_receiver })
}

impl Ends {
    async fn ask(&self) -> AgentStatus {
        let (sender, receiver) = oneshot::channel();
        self.status.send(sender).await.expect("the agent runs");
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
        key: key.clone(),
        cluster_ips: vec![Ipv4Addr::new(10, 101, 0, 10)],
        ports: vec![port],
        session_affinity: None,
        annotations: [("service.cilium.io/global".to_owned(), "true".to_owned())].into(),
        labels: BTreeMap::new(),
        selector: BTreeMap::new(),
        kind: ServiceKind::ClusterIp,
    };
    LocalEvent::Service { key, service: Some(service) }
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
    };
    LocalEvent::Slice { namespace: "default".to_owned(), name: "web-1".to_owned(), slice: Some(slice) }
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
        agent.step(local::event(event));
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
