//! What outlives the process.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, ResourceExt as _};
use meshbed_apiserver::{JournalError, RunError, Server};
use serde_json::{Value, json};

use super::client::deployment;
use super::server::{DEADLINE, TestServer, next, object, prepare, write_kubeconfig};

/// Says where the server of [`serve_until_killed`] has its files.
const DIRECTORY: &str = "MESHBED_TEST_APISERVER_DIRECTORY";

/// Not a test: the server that the next one kills, in a process of its own.
#[tokio::test]
#[ignore = "run by the test that kills it"]
async fn serve_until_killed() {
    let directory = std::env::var_os(DIRECTORY).expect("the test says where");
    let directory = Path::new(&directory);
    let mut options = prepare(directory);
    options.data_dir = Some(directory.join("data"));
    let server = Server::bind(options).await.unwrap();
    write_kubeconfig(directory, &format!("https://{}", server.local_address()));
    std::fs::rename(directory.join("kubeconfig"), directory.join("ready")).unwrap();
    server.serve(std::future::pending()).await.unwrap();
}

/// A server in a process of its own.
struct Process(Child);

impl Process {
    async fn start(directory: &Path) -> (Self, Client) {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "persistence::serve_until_killed", "--nocapture"])
            .env(DIRECTORY, directory)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let process = Self(child);
        let ready = directory.join("ready");
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        let appears = async {
            while !ready.exists() {
                ticks.tick().await;
            }
        };
        tokio::time::timeout(DEADLINE, appears).await.expect("the server starts");
        let kubeconfig = Kubeconfig::read_from(&ready).unwrap();
        std::fs::remove_file(ready).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        (process, Client::try_from(config).unwrap())
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn service(name: &str) -> Service {
    object(json!({"metadata": {"name": name}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}))
}

/// Every object of the kinds that change in these tests, as the API tells it.
async fn everything(client: &Client) -> Vec<Value> {
    let mut all = Vec::new();
    macro_rules! add {
        ($($kind:ty),*) => {$(
            let list = Api::<$kind>::all(client.clone()).list(&ListParams::default()).await.unwrap();
            all.extend(list.items.iter().map(|item| serde_json::to_value(item).unwrap()));
        )*};
    }
    add!(ConfigMap, Service, Pod, Node, k8s_openapi::api::apps::v1::Deployment, k8s_openapi::api::core::v1::Event);
    // The address of the service `kubernetes` is that of the new process.
    let slices = Api::<EndpointSlice>::all(client.clone());
    let ours = slices.list(&ListParams::default().labels("kubernetes.io/service-name!=kubernetes")).await.unwrap();
    all.extend(ours.items.iter().map(|item| serde_json::to_value(item).unwrap()));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_comes_back_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let (process, client) = Process::start(directory.path()).await;
    let params = PostParams::default();
    let node: Node =
        object(json!({"metadata": {"name": "n"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}));
    Api::<Node>::all(client.clone()).create(&params, &node).await.unwrap();
    let services: Api<Service> = Api::default_namespaced(client.clone());
    let kept = services.create(&params, &service("kept")).await.unwrap();
    let gone = services.create(&params, &service("gone")).await.unwrap();
    services.delete("gone", &Default::default()).await.unwrap();
    Api::default_namespaced(client.clone()).create(&params, &deployment(3)).await.unwrap();
    let before = everything(&client).await;
    let revision: u64 = services.get("kept").await.unwrap().resource_version().unwrap().parse().unwrap();
    let newest = services.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    process.kill();

    // The process was killed in the middle of a write.
    let journal = directory.path().join("data/changes.jsonl");
    let mut text = std::fs::read_to_string(&journal).unwrap();
    text.push_str(r#"{"put":{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"torn","names"#);
    std::fs::write(&journal, text).unwrap();

    let (process, client) = Process::start(directory.path()).await;
    let services: Api<Service> = Api::default_namespaced(client.clone());
    assert_eq!(everything(&client).await, before, "objects, UIDs and revisions are the same");
    let again = services.create(&params, &service("again")).await.unwrap();
    assert!(again.resource_version().unwrap().parse::<u64>().unwrap() > newest.parse().unwrap(), "revisions go on");
    let address = |service: &Service| service.spec.as_ref().unwrap().cluster_ip.clone().unwrap();
    let given = [address(&kept), address(&gone)];
    assert!(!given.contains(&address(&again)), "{} is not given again at once", address(&again));
    let uids: Vec<String> = before.iter().map(|value| value["metadata"]["uid"].as_str().unwrap().to_owned()).collect();
    assert!(!uids.contains(&again.uid().unwrap()), "the same seed does not give the same UIDs again");

    // Controllers go on as well.
    let scale = Patch::Merge(json!({"spec": {"replicas": 4}}));
    let deployments: Api<k8s_openapi::api::apps::v1::Deployment> = Api::default_namespaced(client.clone());
    deployments.patch("web", &PatchParams::default(), &scale).await.unwrap();
    assert_eq!(Api::<Pod>::default_namespaced(client).list(&ListParams::default()).await.unwrap().items.len(), 4);

    for old in [revision.to_string(), newest] {
        let mut events = services.watch(&WatchParams::default(), &old).await.unwrap().boxed();
        match next(&mut events).await.unwrap() {
            WatchEvent::Error(status) => assert_eq!((status.code, status.reason.as_str()), (410, "Expired")),
            other => panic!("{other:?}"),
        }
    }
    process.kill();
}

async fn keeping() -> TestServer {
    TestServer::customised(|options, directory| options.data_dir = Some(directory.join("data"))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_grows_is_written_anew() {
    let server = keeping().await;
    let api: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    let map = |number: usize| {
        object(json!({"metadata": {"name": "large"}, "data": {"a": format!("{}{number}", "0".repeat(200_000))}}))
    };
    api.create(&PostParams::default(), &map(0)).await.unwrap();
    let journal = server.path("data/changes.jsonl");
    let mut largest = 0;
    for number in 1..100 {
        api.replace("large", &PostParams::default(), &map(number)).await.unwrap();
        largest = largest.max(std::fs::metadata(&journal).unwrap().len());
    }
    assert!(largest < 5_000_000, "20 MB of changes of a 0.2 MB object made a file of {largest} bytes");
    let server = server.restart().await;
    let api: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    let kept = api.get("large").await.unwrap().data.unwrap();
    assert_eq!(kept["a"].trim_start_matches('0'), "99");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_in_use_is_refused() {
    let server = keeping().await;
    let other = tempfile::tempdir().unwrap();
    let mut options = prepare(other.path());
    options.data_dir = Some(server.path("data"));
    let error = Server::bind(options).await.unwrap_err();
    assert!(matches!(&error, RunError::Data(JournalError::InUse { .. })), "{error:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_data_folder_nothing_is_kept() {
    let server = TestServer::start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    api.create(&PostParams::default(), &object(json!({"metadata": {"name": "a"}}))).await.unwrap();
    let server = server.restart().await;
    let api: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    assert!(api.get_opt("a").await.unwrap().is_none());
    server.stop().await;
}

/// The median time that a patch takes.
async fn patch_latency(server: &TestServer) -> Duration {
    const PATCHES: usize = 1000;
    let api: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    api.create(&PostParams::default(), &object(json!({"metadata": {"name": "a"}}))).await.unwrap();
    let mut times = Vec::with_capacity(PATCHES);
    for number in 0..PATCHES {
        let patch = Patch::Merge(json!({"data": {"number": number.to_string()}}));
        let began = Instant::now();
        api.patch("a", &PatchParams::default(), &patch).await.unwrap();
        times.push(began.elapsed());
    }
    times.sort_unstable();
    times[PATCHES / 2]
}

/// Keeping changes is a copy into the page cache; it must not show beside the HTTP exchange.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stderr, reason = "the figure is the point")]
async fn keeping_changes_costs_little() {
    let (volatile, kept) = (TestServer::start().await, keeping().await);
    let (without, with) = (patch_latency(&volatile).await, patch_latency(&kept).await);
    eprintln!("median patch: {without:?} in memory, {with:?} kept");
    assert!(with < without + Duration::from_millis(1), "{with:?} instead of {without:?}");
    volatile.stop().await;
    kept.stop().await;
}
