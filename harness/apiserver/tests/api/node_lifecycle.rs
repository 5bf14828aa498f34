//! Nodes that fall silent and come back.

use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::client::{deployment, running};
use super::server::{TestServer, next, object};

const GRACE: Duration = Duration::from_millis(400);

async fn server() -> TestServer {
    TestServer::customised(|options, _| options.node_monitor_grace_period = GRACE).await
}

fn node(name: &str) -> Node {
    object(json!({"metadata": {"name": name}, "status": {"conditions": [
        {"type": "Ready", "status": "True", "reason": "KubeletReady"},
        {"type": "MemoryPressure", "status": "False"}]}}))
}

async fn lease(client: &Client, node: &str, renewed: u32) {
    let leases: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
    let lease: Lease = object(json!({"metadata": {"name": node}, "spec": {"holderIdentity": node,
        "leaseDurationSeconds": 4, "renewTime": format!("2026-01-01T00:00:00.{renewed:06}Z")}}));
    match leases.get_opt(node).await.unwrap() {
        None => drop(leases.create(&PostParams::default(), &lease).await.unwrap()),
        Some(_) => drop(leases.patch(node, &PatchParams::default(), &Patch::Merge(&lease)).await.unwrap()),
    }
}

/// Waits until an object is as wanted.
async fn until<K>(api: &Api<K>, name: &str, wanted: impl Fn(&Value) -> bool) -> Value
where
    K: kube::Resource + Clone + std::fmt::Debug + DeserializeOwned + serde::Serialize,
{
    let params = WatchParams::default().fields(&format!("metadata.name={name}"));
    let mut events = api.watch(&params, "0").await.unwrap().boxed();
    loop {
        if let WatchEvent::Added(found) | WatchEvent::Modified(found) = next(&mut events).await.unwrap() {
            let value = serde_json::to_value(&found).unwrap();
            if wanted(&value) {
                return value;
            }
        }
    }
}

fn condition<'v>(object: &'v Value, kind: &str) -> &'v Value {
    let conditions = object["status"]["conditions"].as_array().unwrap();
    conditions.iter().find(|condition| condition["type"] == kind).unwrap_or(&Value::Null)
}

fn taints(node: &Value) -> Vec<String> {
    let taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
    let words = taints.iter().map(|taint| format!("{}:{}", taint["key"], taint["effect"]).replace('"', ""));
    words.collect()
}

async fn slice_conditions(client: &Client) -> Value {
    let slices: Api<EndpointSlice> = Api::default_namespaced(client.clone());
    let found = slices.list(&ListParams::default().labels("kubernetes.io/service-name=web")).await.unwrap();
    serde_json::to_value(&found.items[0].endpoints.as_ref().unwrap()[0].conditions).unwrap()
}

/// A pod of a deployment behind a service, on the only node, ready.
async fn ready_pod(client: &Client, seconds: Option<i64>) -> String {
    let service: Service =
        object(json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}));
    Api::<Service>::default_namespaced(client.clone()).create(&PostParams::default(), &service).await.unwrap();
    let mut deployment = serde_json::to_value(deployment(1)).unwrap();
    if let Some(seconds) = seconds {
        deployment["spec"]["template"]["spec"]["tolerations"] = json!([{"key": "node.kubernetes.io/unreachable",
            "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}]);
    }
    let deployment: k8s_openapi::api::apps::v1::Deployment = object(deployment);
    Api::default_namespaced(client.clone()).create(&PostParams::default(), &deployment).await.unwrap();
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let pod = pods.list(&ListParams::default()).await.unwrap().items[0].name_any();
    pods.patch_status(&pod, &PatchParams::default(), &running("10.1.1.2", "True")).await.unwrap();
    assert_eq!(slice_conditions(client).await, json!({"ready": true, "serving": true, "terminating": false}));
    pod
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_node_becomes_unknown_and_its_pods_unready() {
    let server = server().await;
    let client = server.client().await;
    let nodes: Api<Node> = Api::all(client.clone());
    nodes.create(&PostParams::default(), &node("silent")).await.unwrap();
    lease(&client, "silent", 0).await;
    let pod = ready_pod(&client, None).await;
    nodes.create(&PostParams::default(), &node("without-lease")).await.unwrap();

    let seen = until(&nodes, "silent", |node| taints(node).len() == 2).await;
    let ready = condition(&seen, "Ready");
    assert_eq!(
        (&ready["status"], &ready["reason"], &ready["message"]),
        (&json!("Unknown"), &json!("NodeStatusUnknown"), &json!("Kubelet stopped posting node status."))
    );
    assert_eq!(condition(&seen, "MemoryPressure")["status"], "Unknown");
    assert_eq!(
        taints(&seen),
        ["node.kubernetes.io/unreachable:NoSchedule", "node.kubernetes.io/unreachable:NoExecute"]
    );
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    until(&pods, &pod, |pod| condition(pod, "Ready")["status"] == "False").await;
    assert_eq!(slice_conditions(&client).await, json!({"ready": false, "serving": false, "terminating": false}));
    let other = serde_json::to_value(nodes.get("without-lease").await.unwrap()).unwrap();
    assert_eq!((condition(&other, "Ready")["status"].clone(), taints(&other).len()), (json!("True"), 0));

    // A lease alone makes no node ready; its kubelet's word does.
    lease(&client, "silent", 1).await;
    assert_eq!(taints(&serde_json::to_value(nodes.get("silent").await.unwrap()).unwrap()).len(), 2);
    let status = serde_json::to_value(node("silent")).unwrap()["status"].clone();
    nodes.patch_status("silent", &PatchParams::default(), &Patch::Merge(json!({"status": status}))).await.unwrap();
    let back = serde_json::to_value(nodes.get("silent").await.unwrap()).unwrap();
    assert_eq!((condition(&back, "Ready")["status"].clone(), taints(&back).len()), (json!("True"), 0));
    assert_eq!(slice_conditions(&client).await["ready"], false, "pods are ready when their kubelet says so");
    pods.patch_status(&pod, &PatchParams::default(), &running("10.1.1.2", "True")).await.unwrap();
    assert_eq!(slice_conditions(&client).await["ready"], true);
    // And it falls silent again.
    until(&nodes, "silent", |node| condition(node, "Ready")["status"] == "Unknown").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_lease_keeps_a_node_ready() {
    let server = server().await;
    let client = server.client().await;
    let nodes: Api<Node> = Api::all(client.clone());
    for name in ["alive", "silent"] {
        nodes.create(&PostParams::default(), &node(name)).await.unwrap();
        lease(&client, name, 0).await;
    }
    let renew = async {
        let mut ticks = tokio::time::interval(GRACE / 8);
        for number in 1.. {
            ticks.tick().await;
            lease(&client, "alive", number).await;
        }
    };
    let watch = async {
        until(&nodes, "silent", |node| condition(node, "Ready")["status"] == "Unknown").await;
        // Another node falls silent later: a whole grace period in which the first one is renewed.
        nodes.create(&PostParams::default(), &node("later")).await.unwrap();
        lease(&client, "later", 0).await;
        until(&nodes, "later", |node| condition(node, "Ready")["status"] == "Unknown").await;
    };
    tokio::select! {
        () = watch => {}
        () = renew => unreachable!("it goes on for ever"),
    }
    let alive = serde_json::to_value(nodes.get("alive").await.unwrap()).unwrap();
    assert_eq!((condition(&alive, "Ready")["status"].clone(), taints(&alive).len()), (json!("True"), 0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_of_an_unreachable_node_are_evicted_and_stay_until_the_node_is_gone() {
    let server = server().await;
    let client = server.client().await;
    let nodes: Api<Node> = Api::all(client.clone());
    nodes.create(&PostParams::default(), &node("silent")).await.unwrap();
    lease(&client, "silent", 0).await;
    let pod = ready_pod(&client, Some(1)).await;
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let tolerations = pods.get(&pod).await.unwrap().spec.unwrap().tolerations.unwrap();
    let seconds: Vec<_> = tolerations.iter().map(|toleration| toleration.toleration_seconds.unwrap()).collect();
    assert_eq!(seconds, [1, 300], "the other toleration is the default one");

    let evicted = until(&pods, &pod, |pod| pod["metadata"].get("deletionTimestamp").is_some()).await;
    assert_eq!(condition(&evicted, "DisruptionTarget")["reason"], "DeletionByTaintManager");
    let all = pods.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(all.len(), 2, "it is replaced, and stays");
    let replacement = all.iter().find(|other| other.name_any() != pod).unwrap();
    assert_eq!(replacement.spec.as_ref().unwrap().node_name, None, "nothing is scheduled to the tainted node");
    nodes.delete("silent", &DeleteParams::default()).await.unwrap();
    assert!(pods.get_opt(&pod).await.unwrap().is_none(), "a node that is deleted takes its pods along");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_back_in_time_keeps_its_pods() {
    let server = server().await;
    let client = server.client().await;
    let nodes: Api<Node> = Api::all(client.clone());
    for name in ["back", "silent"] {
        nodes.create(&PostParams::default(), &node(name)).await.unwrap();
    }
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    for name in ["back", "silent"] {
        let pod: Pod = object(json!({"metadata": {"name": name}, "spec": {"nodeName": name,
            "containers": [{"name": "a", "image": "a"}], "tolerations": [{"operator": "Exists", "effect": "NoExecute",
            "tolerationSeconds": 1}]}}));
        pods.create(&PostParams::default(), &pod).await.unwrap();
        lease(&client, name, 0).await;
    }
    for name in ["back", "silent"] {
        until(&nodes, name, |node| taints(node).len() == 2).await;
    }
    let status = serde_json::to_value(node("back")).unwrap()["status"].clone();
    nodes.patch_status("back", &PatchParams::default(), &Patch::Merge(json!({"status": status}))).await.unwrap();
    // The countdowns of both began at the same time; only one is still running. It outlasts the grace period, in which
    // the node that came back has to go on speaking.
    let renew = async {
        let mut ticks = tokio::time::interval(GRACE / 8);
        for number in 1.. {
            ticks.tick().await;
            lease(&client, "back", number).await;
        }
    };
    tokio::select! {
        _ = until(&pods, "silent", |pod| pod["metadata"].get("deletionTimestamp").is_some()) => {}
        () = renew => unreachable!("it goes on for ever"),
    }
    assert_eq!(pods.get("back").await.unwrap().metadata.deletion_timestamp, None);
    server.stop().await;
}
