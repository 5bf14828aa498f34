//! What client libraries rely on: lists that lead into watches, conflicts, and being told when history is gone.

use std::time::{Duration, Instant};

use super::server::{DEADLINE, TestServer, next, object};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt as _};
use meshbed_apiserver::Limits;
use serde_json::{Value, json};

fn config_map(name: &str) -> ConfigMap {
    object(json!({"metadata": {"name": name}, "data": {"a": "b"}}))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_sees_what_is_there_and_what_happens() {
    let server = TestServer::start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    api.create(&PostParams::default(), &config_map("first")).await.unwrap();
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let mut events = Box::pin(watcher(api.clone(), config));
        assert!(matches!(next(&mut events).await, Ok(Event::Init)));
        assert!(matches!(next(&mut events).await, Ok(Event::InitApply(map)) if map.name_any() == "first"));
        assert!(matches!(next(&mut events).await, Ok(Event::InitDone)));
        api.create(&PostParams::default(), &config_map("second")).await.unwrap();
        assert!(matches!(next(&mut events).await, Ok(Event::Apply(map)) if map.name_any() == "second"));
        let patch = Patch::Merge(json!({"data": {"a": null, "c": "d"}}));
        api.patch("second", &PatchParams::default(), &patch).await.unwrap();
        let changed = next(&mut events).await.unwrap();
        assert!(matches!(changed, Event::Apply(map) if map.data.as_ref().unwrap().keys().eq(["c"])));
        api.delete("second", &DeleteParams::default()).await.unwrap();
        assert!(matches!(next(&mut events).await, Ok(Event::Delete(map)) if map.name_any() == "second"));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_from_a_revision_replays_what_came_after_it() {
    let server = TestServer::start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    let first = api.create(&PostParams::default(), &config_map("first")).await.unwrap();
    api.create(&PostParams::default(), &config_map("second")).await.unwrap();
    api.delete("first", &DeleteParams::default()).await.unwrap();
    let revision = first.resource_version().unwrap();
    let mut events = api.watch(&WatchParams::default(), &revision).await.unwrap().boxed();
    assert!(matches!(next(&mut events).await, Ok(WatchEvent::Added(map)) if map.name_any() == "second"));
    assert!(matches!(next(&mut events).await, Ok(WatchEvent::Deleted(map)) if map.name_any() == "first"));
    // A watch that is over says how far it came, and then ends.
    let params = WatchParams::default().timeout(1);
    let events = api.watch(&params, &revision).await.unwrap();
    let all: Vec<_> = tokio::time::timeout(DEADLINE, events.try_collect()).await.unwrap().unwrap();
    assert!(
        matches!(all.as_slice(), [WatchEvent::Added(_), WatchEvent::Deleted(_), WatchEvent::Bookmark(_)]),
        "{all:?}"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forgotten_history_is_gone() {
    let limits = Limits { watch_history: 4, ..Limits::default() };
    let server = TestServer::with(limits).await;
    let api: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    let first = api.create(&PostParams::default(), &config_map("first")).await.unwrap();
    for number in 0..6 {
        api.create(&PostParams::default(), &config_map(&format!("c{number}"))).await.unwrap();
    }
    for revision in [first.resource_version().unwrap(), "999999".to_owned()] {
        let mut events = api.watch(&WatchParams::default(), &revision).await.unwrap().boxed();
        match next(&mut events).await.unwrap() {
            WatchEvent::Error(status) => assert_eq!((status.code, status.reason.as_str()), (410, "Expired")),
            other => panic!("{other:?}"),
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn selectors_turn_changes_into_coming_and_going() {
    let server = TestServer::start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    let params = WatchParams::default().labels("side in (light)");
    let mut events = api.watch(&params, "0").await.unwrap().boxed();
    api.create(&PostParams::default(), &config_map("leia")).await.unwrap();
    let label = |side: &str| Patch::Merge(json!({"metadata": {"labels": {"side": side}}}));
    api.patch("leia", &PatchParams::default(), &label("light")).await.unwrap();
    assert!(matches!(next(&mut events).await, Ok(WatchEvent::Added(_))));
    api.patch("leia", &PatchParams::default(), &label("dark")).await.unwrap();
    assert!(matches!(next(&mut events).await, Ok(WatchEvent::Deleted(_))));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_write_is_a_conflict() {
    let server = TestServer::start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    let first = api.create(&PostParams::default(), &config_map("first")).await.unwrap();
    let changed = ConfigMap { data: None, ..first.clone() };
    let changed = api.replace("first", &PostParams::default(), &changed).await.unwrap();
    assert_ne!(changed.resource_version(), first.resource_version());
    let error = api.replace("first", &PostParams::default(), &first).await.unwrap_err();
    assert!(
        matches!(&error, kube::Error::Api(status) if status.code == 409 && status.reason == "Conflict"),
        "{error:?}"
    );
    let again = api.replace("first", &PostParams::default(), &changed).await.unwrap();
    assert_eq!(again.resource_version(), changed.resource_version(), "a write that changes nothing is none");
    let error = api.create(&PostParams::default(), &first).await.unwrap_err();
    assert!(matches!(&error, kube::Error::Api(status) if status.code == 400), "{error:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages() {
    let server = TestServer::start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    for number in 0..7 {
        api.create(&PostParams::default(), &config_map(&format!("c{number}"))).await.unwrap();
    }
    let mut names = Vec::new();
    let mut params = ListParams::default().limit(3);
    let mut pages = 0;
    loop {
        let page = api.list(&params).await.unwrap();
        names.extend(page.items.iter().map(|map| map.name_any()));
        pages += 1;
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => break,
        }
    }
    assert_eq!(pages, 3);
    assert_eq!(names, ["c0", "c1", "c2", "c3", "c4", "c5", "c6"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_those_with_credentials_are_let_in() {
    let server = TestServer::start().await;
    let certified = server.client_of("kubeconfig.certificate").await.unwrap();
    assert_eq!(Api::<Namespace>::all(certified).list(&ListParams::default()).await.unwrap().items.len(), 4);
    let text = std::fs::read_to_string(server.path("kubeconfig")).unwrap();
    std::fs::write(server.path("kubeconfig.wrong"), text.replace("token: ", "token: not-")).unwrap();
    let stranger = server.client_of("kubeconfig.wrong").await.unwrap();
    let error = Api::<Namespace>::all(stranger).list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(&error, kube::Error::Api(status) if status.code == 401), "{error:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inherited_listener_is_served_as_well() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = TestServer::inheriting(listener).await;
    let version = server.client().await.apiserver_version().await.unwrap();
    assert_eq!((version.major.as_str(), version.minor.as_str()), ("1", "32"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_side_apply_creates_and_takes_back() {
    let server = TestServer::start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    let params = PatchParams::apply("one");
    let config = |data: Value| Patch::Apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data}));
    let made = api.patch("a", &params, &config(json!({"x": "1", "y": "1"}))).await.unwrap();
    assert_eq!(made.name_any(), "a");
    let changed = api.patch("a", &params, &config(json!({"x": "2"}))).await.unwrap();
    assert_eq!(changed.data.unwrap().into_iter().collect::<Vec<_>>(), [("x".to_owned(), "2".to_owned())]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn finalizers_hold_what_is_deleted() {
    let server = TestServer::start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    let held: ConfigMap = object(json!({"metadata": {"name": "a", "finalizers": ["meshbed.dev/hold"]}}));
    api.create(&PostParams::default(), &held).await.unwrap();
    let going = api.delete("a", &DeleteParams::default()).await.unwrap().left().unwrap();
    assert!(going.metadata.deletion_timestamp.is_some());
    assert!(api.get_opt("a").await.unwrap().is_some());
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    api.patch("a", &PatchParams::default(), &release).await.unwrap();
    assert!(api.get_opt("a").await.unwrap().is_none());
    server.stop().await;
}

fn node() -> Node {
    object(json!({"metadata": {"name": "alpha-1"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}))
}

pub(crate) fn running(ip: &str, ready: &str) -> Patch<Value> {
    Patch::Merge(json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
        "conditions": [{"type": "Ready", "status": ready}]}}))
}

pub(crate) fn deployment(replicas: i32) -> Deployment {
    object(
        json!({"metadata": {"name": "web"}, "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [
            {"name": "web", "image": "web:1", "ports": [{"name": "http", "containerPort": 8080}]}]}}}}),
    )
}

fn endpoints(slice: &EndpointSlice) -> Vec<Endpoint> {
    slice.endpoints.clone().unwrap_or_default()
}

fn ready_addresses(slice: &EndpointSlice) -> Vec<String> {
    let ready =
        endpoints(slice).into_iter().filter(|endpoint| endpoint.conditions.as_ref().unwrap().ready == Some(true));
    ready.flat_map(|endpoint| endpoint.addresses).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_come_and_go_in_endpoint_slices() {
    let server = TestServer::start().await;
    let client = server.client().await;
    Api::<Node>::all(client.clone()).create(&PostParams::default(), &node()).await.unwrap();
    let service: Service = object(
        json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}}),
    );
    Api::<Service>::default_namespaced(client.clone()).create(&PostParams::default(), &service).await.unwrap();
    let slices: Api<EndpointSlice> = Api::default_namespaced(client.clone());
    let params = WatchParams::default().labels("kubernetes.io/service-name=web");
    let mut events = slices.watch(&params, "0").await.unwrap().boxed();
    let mut slice = async || match next(&mut events).await.unwrap() {
        WatchEvent::Added(slice) | WatchEvent::Modified(slice) => slice,
        other => panic!("{other:?}"),
    };
    assert!(endpoints(&slice().await).is_empty(), "a service without pods has an empty slice");

    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    deployments.create(&PostParams::default(), &deployment(1)).await.unwrap();
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let pod = pods.list(&ListParams::default()).await.unwrap().items[0].name_any();
    pods.patch_status(&pod, &PatchParams::default(), &running("10.1.1.2", "False")).await.unwrap();
    let seen = slice().await;
    assert_eq!(endpoints(&seen)[0].conditions.as_ref().unwrap().ready, Some(false));
    assert_eq!(seen.ports.as_ref().unwrap()[0].port, Some(8080), "the port is named in the pod");
    pods.patch_status(&pod, &PatchParams::default(), &running("10.1.1.2", "True")).await.unwrap();
    let seen = slice().await;
    assert_eq!(ready_addresses(&seen), ["10.1.1.2"]);
    assert_eq!(endpoints(&seen)[0].node_name.as_deref(), Some("alpha-1"));
    assert_eq!(endpoints(&seen)[0].target_ref.as_ref().unwrap().name.as_deref(), Some(pod.as_str()));

    // Graceful deletion: the endpoint terminates, and goes with the pod's last deletion.
    let deleted = pods.delete(&pod, &DeleteParams::default()).await.unwrap().left().unwrap();
    assert_eq!(deleted.metadata.deletion_grace_period_seconds, Some(30));
    let conditions = endpoints(&slice().await)[0].conditions.clone().unwrap();
    assert_eq!((conditions.ready, conditions.serving, conditions.terminating), (Some(false), Some(true), Some(true)));
    pods.delete(&pod, &DeleteParams::default().grace_period(0)).await.unwrap();
    assert!(endpoints(&slice().await).is_empty());

    // A failed pod is replaced, and no endpoint.
    let pod = pods.list(&ListParams::default()).await.unwrap().items[0].name_any();
    pods.patch_status(&pod, &PatchParams::default(), &running("10.1.1.3", "True")).await.unwrap();
    assert_eq!(ready_addresses(&slice().await), ["10.1.1.3"]);
    let failed = Patch::Merge(json!({"status": {"phase": "Failed"}}));
    pods.patch_status(&pod, &PatchParams::default(), &failed).await.unwrap();
    assert!(endpoints(&slice().await).is_empty());
    assert_eq!(pods.list(&ListParams::default().fields("status.phase=Pending")).await.unwrap().items.len(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scaling_down_spares_the_ready() {
    let server = TestServer::start().await;
    let client = server.client().await;
    Api::<Node>::all(client.clone()).create(&PostParams::default(), &node()).await.unwrap();
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    deployments.create(&PostParams::default(), &deployment(3)).await.unwrap();
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let listed = pods.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(listed.len(), 3);
    let ready = listed[1].name_any();
    pods.patch_status(&ready, &PatchParams::default(), &running("10.1.1.2", "True")).await.unwrap();
    let scale = Patch::Merge(json!({"spec": {"replicas": 1}}));
    let scaled = deployments.patch_scale("web", &PatchParams::default(), &scale).await.unwrap();
    assert_eq!(scaled.spec.unwrap().replicas, Some(1));
    let kept = pods.list(&ListParams::default()).await.unwrap().items;
    let kept = kept.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    assert_eq!(kept.map(|pod| pod.name_any()).collect::<Vec<_>>(), [ready]);
    let status = deployments.get("web").await.unwrap().status.unwrap();
    assert_eq!((status.observed_generation, status.ready_replicas), (Some(2), Some(1)));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_a_limit() {
    let server = TestServer::with(Limits { body_bytes: 1000, ..Limits::default() }).await;
    let api: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    let large: ConfigMap = object(json!({"metadata": {"name": "large"}, "data": {"a": "b".repeat(2000)}}));
    let error = api.create(&PostParams::default(), &large).await.unwrap_err();
    assert!(matches!(&error, kube::Error::Api(status) if status.code == 413), "{error:?}");
    server.stop().await;
}

/// Not a test of time, but what is printed is what the stopwatch of a run rests on.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stderr, reason = "the figure is the point")]
async fn from_a_pods_status_to_its_slice() {
    let server = TestServer::start().await;
    let client = server.client().await;
    Api::<Node>::all(client.clone()).create(&PostParams::default(), &node()).await.unwrap();
    let service: Service =
        object(json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}));
    Api::<Service>::default_namespaced(client.clone()).create(&PostParams::default(), &service).await.unwrap();
    Api::<Deployment>::default_namespaced(client.clone())
        .create(&PostParams::default(), &deployment(20))
        .await
        .unwrap();
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let slices: Api<EndpointSlice> = Api::default_namespaced(server.client().await);
    let params = WatchParams::default().labels("kubernetes.io/service-name=web");
    let mut events = slices.watch(&params, "0").await.unwrap().boxed();
    next(&mut events).await.unwrap();
    let mut times = Vec::new();
    for (number, pod) in pods.list(&ListParams::default()).await.unwrap().items.iter().enumerate() {
        let began = Instant::now();
        let (name, params) = (pod.name_any(), PatchParams::default());
        let patch = running(&format!("10.1.1.{number}"), "True");
        let (patched, seen) = tokio::join!(pods.patch_status(&name, &params, &patch), async {
            next(&mut events).await.unwrap();
            began.elapsed()
        });
        patched.unwrap();
        times.push(seen);
    }
    times.sort_unstable();
    eprintln!("pod status to slice event: p50 {:?}, slowest {:?}", times[10], times[19]);
    assert!(times[10] < Duration::from_secs(1), "something waits: {:?}", times[10]);
    server.stop().await;
}
