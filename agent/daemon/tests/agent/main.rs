//! The program as a process, with a real etcd and a small API server; as root also with real maps.

mod api;
#[path = "../../../kvstore/tests/etcd/server.rs"]
#[expect(dead_code, reason = "the etcd of `mesh-kvstore`'s tests can do more than is needed here")]
mod etcd;
mod node;
mod process;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use mesh_datapath::list::{Listing, View};
use mesh_types::ServiceKey;

use api::Api;
use etcd::Etcd;
use node::Node;
use process::{Process, output};

/// Far above anything that happens here; only reached when something is broken.
const DEADLINE: Duration = Duration::from_secs(30);
/// Updates of the latency measurement.
const UPDATES: usize = 200;
/// How often a map is looked at; maps cannot be waited for.
const GLANCE: Duration = Duration::from_micros(100);

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

/// `mesh-agent apiserver` of cluster `alpha`, ready.
async fn exporter(folder: &Path, api: &Api, etcd: &Etcd) -> Process {
    let kubeconfig = folder.join("kubeconfig");
    api.write_kubeconfig(&kubeconfig);
    let etcd = format!("etcd.config={}", etcd.config().display());
    let cluster = ["apiserver", "--cluster-name", "alpha", "--cluster-id", "1"];
    let arguments = [&cluster[..], &["--k8s-kubeconfig-path", text(&kubeconfig), "--kvstore-opt", &etcd]].concat();
    Process::start(folder, &arguments).await
}

#[tokio::test]
async fn etcd_apiserver_exports_and_follows_changes() {
    let Some(etcd) = Etcd::start().await else { return };
    let folder = tempfile::tempdir().expect("temporary folder");
    let api = Api::start().await;
    api.apply_service("10.101.0.10");
    api.apply_slice(&["10.1.1.2"]);
    let exporter = exporter(folder.path(), &api, &etcd).await;
    let keys: Vec<String> = etcd.keys().await.iter().map(|entry| entry.key_str().expect("text").to_owned()).collect();
    assert_eq!(keys.len(), 7, "heartbeat, configuration, service and four canaries: {keys:?}");

    let mut watch = etcd.watch("cilium/state/services/v1/alpha/default/web").await;
    api.apply_slice(&["10.1.1.3"]);
    let value = tokio::time::timeout(DEADLINE, watch.next()).await.expect("deadline: the new value").expect("a put");
    let service = mesh_wire::ClusterService::decode(&value).expect("valid");
    assert_eq!(service.key, ServiceKey::new("default", "web"));
    let backends: Vec<String> = service.backends.keys().map(ToString::to_string).collect();
    assert_eq!(backends, ["10.1.1.3"]);
    exporter.terminate();
    assert_eq!(etcd.keys().await.len(), 7, "the keys stay");
}

#[test]
fn without_an_agent_status_says_so() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let output = output(&["status", "--state-dir", text(folder.path())]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).expect("text");
    assert!(error.contains("error: unable to connect to the agent at"), "{error}");
}

#[test]
fn without_bpffs_run_says_so() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let kubeconfig = folder.path().join("kubeconfig");
    let config = r#"{"apiVersion":"v1","kind":"Config","current-context":"a","clusters":[{"name":"a","cluster":{"server":"http://127.0.0.1:1"}}],"users":[{"name":"a","user":{}}],"contexts":[{"name":"a","context":{"cluster":"a","user":"a"}}]}"#;
    std::fs::write(&kubeconfig, config).expect("written");
    let folder = text(folder.path());
    let cluster = ["run", "--cluster-name", "beta", "--cluster-id", "2", "--node-name", "beta-1"];
    let paths = ["--bpf-root", folder, "--cgroup-root", folder, "--state-dir", folder];
    let kubeconfig = ["--k8s-kubeconfig-path", text(&kubeconfig)];
    let output = output(&[&cluster[..], &paths[..], &kubeconfig[..]].concat());
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).expect("text");
    assert!(error.contains("is not on a bpf file system"), "{error}");
}

/// Waits until the maps of `node` have a slot with backend `ip`, or none.
async fn backend_is(node: &Node, ip: &str, there: bool) {
    let backend = format!("{ip}:80/TCP");
    let mut glance = tokio::time::interval(GLANCE);
    let seen = tokio::time::timeout(DEADLINE, async {
        while listing(node).contains(&backend) != there {
            glance.tick().await;
        }
    });
    if seen.await.is_err() {
        panic!("deadline: backend {ip} there: {there}; the maps hold\n{}\n{}", listing(node), node.log());
    }
}

fn listing(node: &Node) -> String {
    Listing::read(node.bpf_root()).map(|listing| listing.table(View::Services)).unwrap_or_default()
}

#[tokio::test]
async fn root_remote_backends_reach_the_maps() {
    let Some(etcd) = Etcd::start().await else { return };
    let folder = tempfile::tempdir().expect("temporary folder");
    let (alpha, beta) = (Api::start().await, Api::start().await);
    for (api, ip) in [(&alpha, "10.101.0.10"), (&beta, "10.102.0.10")] {
        api.apply_service(ip);
    }
    alpha.apply_slice(&["10.1.1.2"]);
    beta.apply_slice(&["10.2.1.2"]);

    // The agent comes first: it is ready without its remote cluster.
    let mut node = Node::new();
    node.start_agent(&beta).await;
    assert!(listing(&node).contains("10.2.1.2:80/TCP"), "{}", listing(&node));
    let exporter = exporter(folder.path(), &alpha, &etcd).await;
    node.mesh_with(&etcd);
    backend_is(&node, "10.1.1.2", true).await;
    let status = node.status();
    assert!(status.contains("ClusterMesh:   1/1 remote clusters ready"), "{status}");
    assert!(status.contains("alpha: ready, 0 nodes, 0 endpoints, 0 identities, 1 services"), "{status}");

    measure(&alpha, &node).await;
    alpha.apply_slice(&["10.1.1.2"]);
    backend_is(&node, "10.1.1.2", true).await;

    // The exporter's end changes nothing, and neither does the agent's: pins and links stay.
    exporter.terminate();
    node.stop_agent();
    assert!(listing(&node).contains("10.1.1.2:80/TCP") && node.links() > 0, "{}", listing(&node));
    let before = listing(&node);
    node.start_agent(&beta).await;
    assert_eq!(listing(&node), before, "a restart changes nothing");

    // Its configuration file gone, so is the remote cluster.
    node.leave_mesh();
    backend_is(&node, "10.1.1.2", false).await;
    assert!(listing(&node).contains("10.2.1.2:80/TCP"), "{}", listing(&node));
    node.stop_agent();
    node.clean_up();
    assert_eq!(node.links(), 0);
    assert_eq!(listing(&node), "", "no maps any more");
}

/// From a change in the API of `alpha` to the maps of a node of `beta`. Printed, not judged.
#[expect(clippy::print_stderr, reason = "a measurement for whoever runs the test with `--no-capture`")]
async fn measure(alpha: &Api, node: &Node) {
    let mut times = Vec::with_capacity(UPDATES);
    for update in 0..UPDATES {
        let ip = format!("10.1.2.{}", update + 1);
        let start = Instant::now();
        alpha.apply_slice(&[&ip]);
        backend_is(node, &ip, true).await;
        times.push(start.elapsed());
    }
    times.sort();
    let (median, late) = (times[UPDATES / 2], times[UPDATES * 99 / 100]);
    eprintln!("API event to remote map: p50 {median:?}, p99 {late:?}, {UPDATES} updates");
}
