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

use api::{Api, Misbehaviour};
use etcd::Etcd;
use hyper::StatusCode;
use node::Node;
use process::{Process, output};
use serde_json::Value;

/// Far above anything that happens here; only reached when something is broken.
const DEADLINE: Duration = Duration::from_secs(30);
/// Long enough for what would come to have come: it takes milliseconds.
const A_WHILE: Duration = Duration::from_millis(500);
/// The only service that is exported here.
const WEB: &str = "cilium/state/services/v1/alpha/default/web";
/// Updates of the latency measurement.
const UPDATES: usize = 200;
/// How often a map is looked at; maps cannot be waited for.
const GLANCE: Duration = Duration::from_micros(100);

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

/// `mesh-agent apiserver` of cluster `alpha`, ready.
async fn exporter(folder: &Path, api: &Api, etcd: &Etcd) -> Process {
    let arguments = exporter_arguments(folder, api, etcd);
    Process::start(folder, &texts(&arguments)).await
}

fn exporter_arguments(folder: &Path, api: &Api, etcd: &Etcd) -> Vec<String> {
    let kubeconfig = folder.join("kubeconfig");
    api.write_kubeconfig(&kubeconfig);
    let etcd = format!("etcd.config={}", etcd.config().display());
    let cluster = ["apiserver", "--cluster-name", "alpha", "--cluster-id", "1", "--k8s-kubeconfig-path"];
    [&cluster[..], &[text(&kubeconfig), "--kvstore-opt", &etcd]].concat().into_iter().map(str::to_owned).collect()
}

fn texts(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// Waits until `web` is exported with backend `ip` alone.
async fn exported_is(watch: &mut etcd::KeyWatch, ip: &str) {
    let seen = tokio::time::timeout(DEADLINE, async {
        loop {
            let value = watch.next().await.expect("a put");
            let service = mesh_wire::ClusterService::decode(&value).expect("valid");
            if service.backends.keys().map(ToString::to_string).eq([ip]) {
                return;
            }
        }
    });
    seen.await.unwrap_or_else(|_| panic!("deadline: backend {ip} exported"));
}

#[tokio::test]
async fn etcd_apiserver_exports_and_follows_changes() {
    let Some(etcd) = Etcd::start().await else { return };
    let folder = tempfile::tempdir().expect("temporary folder");
    let api = Api::start().await;
    api.apply_service("10.101.0.10");
    api.apply_slice(&["10.1.1.2"]);
    let mut arguments = exporter_arguments(folder.path(), &api, &etcd);
    arguments.extend(["--trace-file".to_owned(), text(&folder.path().join("trace")).to_owned()]);
    let exporter = Process::start(folder.path(), &texts(&arguments)).await;
    let keys: Vec<String> = etcd.keys().await.iter().map(|entry| entry.key_str().expect("text").to_owned()).collect();
    assert_eq!(keys.len(), 7, "heartbeat, configuration, service and four canaries: {keys:?}");

    let mut watch = etcd.watch(WEB).await;
    api.apply_slice(&["10.1.1.3"]);
    let value = tokio::time::timeout(DEADLINE, watch.next()).await.expect("deadline: the new value").expect("a put");
    let service = mesh_wire::ClusterService::decode(&value).expect("valid");
    assert_eq!(service.key, ServiceKey::new("default", "web"));
    let backends: Vec<String> = service.backends.keys().map(ToString::to_string).collect();
    assert_eq!(backends, ["10.1.1.3"]);

    let revision = etcd.client().await.get(WEB, None).await.expect("read").kvs()[0].mod_revision();
    let lines = traced(&folder.path().join("trace"), &revision.to_string()).await;
    let about = |line: &Value| line["service"] == "default/web" && line["cluster"] == "alpha";
    assert!(lines.iter().all(about), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line["stage"] == "k8s").count(), 3, "{lines:?}");
    exporter.terminate();
    assert_eq!(etcd.keys().await.len(), 7, "the keys stay");
}

/// The lines of a trace, once the put of `revision` is among them.
async fn traced(path: &Path, revision: &str) -> Vec<Value> {
    let mut glance = tokio::time::interval(GLANCE);
    let seen = tokio::time::timeout(DEADLINE, async {
        loop {
            let text = std::fs::read_to_string(path).expect("written");
            let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
            if lines.iter().any(|line| line["stage"] == "etcd-put" && line["rv"] == revision) {
                return lines;
            }
            glance.tick().await;
        }
    });
    seen.await.expect("deadline: the put in the trace")
}

#[tokio::test]
async fn etcd_apiserver_gets_over_an_api_that_misbehaves() {
    let Some(etcd) = Etcd::start().await else { return };
    let folder = tempfile::tempdir().expect("temporary folder");
    let api = Api::start().await;
    api.apply_service("10.101.0.10");
    api.apply_slice(&["10.1.1.2"]);
    let _exporter = exporter(folder.path(), &api, &etcd).await;
    let mut watch = etcd.watch(WEB).await;
    // Those that leave lists alone need not stop for a change to be seen: a new list tells it.
    let refused = [StatusCode::TOO_MANY_REQUESTS, StatusCode::INTERNAL_SERVER_ERROR, StatusCode::SERVICE_UNAVAILABLE];
    for (number, status) in refused.into_iter().enumerate() {
        api.misbehave(Misbehaviour::Refuses(status));
        let ip = format!("10.1.2.{number}");
        api.apply_slice(&[&ip]);
        assert!(tokio::time::timeout(A_WHILE, watch.next()).await.is_err(), "{status}: nobody can know");
        api.misbehave(None);
        exported_is(&mut watch, &ip).await;
    }
    for (number, way) in [Misbehaviour::WatchesGone, Misbehaviour::WatchesExpire].into_iter().enumerate() {
        api.misbehave(way);
        let ip = format!("10.1.3.{number}");
        api.apply_slice(&[&ip]);
        exported_is(&mut watch, &ip).await;
        api.misbehave(None);
        let ip = format!("10.1.4.{number}");
        api.apply_slice(&[&ip]);
        exported_is(&mut watch, &ip).await;
    }
    api.misbehave(Misbehaviour::WatchesEnd);
    api.misbehave(None);
    api.apply_slice(&["10.1.5.1"]);
    exported_is(&mut watch, "10.1.5.1").await;
}

#[cfg(feature = "planted-defects")]
#[tokio::test]
async fn etcd_a_planted_exporter_never_lists_again_after_410() {
    let Some(etcd) = Etcd::start().await else { return };
    let folder = tempfile::tempdir().expect("temporary folder");
    let api = Api::start().await;
    api.apply_service("10.101.0.10");
    api.apply_slice(&["10.1.1.2"]);
    let arguments = exporter_arguments(folder.path(), &api, &etcd);
    let exporter = Process::start_planted(folder.path(), &texts(&arguments), "api-410-ignored").await;
    let mut watch = etcd.watch(WEB).await;
    api.apply_slice(&["10.1.1.3"]);
    exported_is(&mut watch, "10.1.1.3").await;
    api.misbehave(Misbehaviour::WatchesExpire);
    api.apply_slice(&["10.1.1.4"]);
    assert!(tokio::time::timeout(A_WHILE, watch.next()).await.is_err(), "no list any more");
    exporter.terminate();
}

#[cfg(feature = "planted-defects")]
#[test]
fn the_planted_binary_lists_its_defects() {
    let planted = env!("CARGO_BIN_EXE_mesh-agent-planted");
    let output = std::process::Command::new(planted).arg("--list-defects").output().expect("started");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success() && text.lines().count() >= 30, "{text}");
    let line = "shared-ignored\tThe exporter exports services that say `shared: \"false\"`.\t";
    assert!(text.lines().any(|found| found == line), "{text}");
    let output = std::process::Command::new(planted).env("MESH_AGENT_DEFECT", "typo").output().expect("started");
    let error = String::from_utf8(output.stderr).expect("text");
    assert_eq!(error, "error: unknown defect `typo`, `--list-defects` lists those that there are\n");
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

#[cfg(feature = "planted-defects")]
#[tokio::test]
async fn root_a_planted_agent_detaches_its_programs_when_it_ends() {
    let api = Api::start().await;
    api.apply_service("10.101.0.10");
    let mut node = Node::new();
    node.start_planted_agent(&api, "restart-detaches").await;
    assert!(node.links() > 0 && !listing(&node).is_empty());
    node.stop_agent();
    assert_eq!(node.links(), 0);
    assert!(!listing(&node).is_empty(), "maps stay");
    node.clean_up();
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
