//! Nodes that are emptied, and budgets that limit it.

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, PatchParams, WatchEvent, WatchParams};
use kube::{Api, Client, ResourceExt as _};
use tokio::task::AbortHandle;

use super::client::running;
use super::server::{TestServer, next, node};

const DEPLOYMENT: &str = indoc::indoc! {"
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web}
    spec:
      replicas: 2
      selector: {matchLabels: {app: web}}
      template:
        metadata: {labels: {app: web}}
        spec: {containers: [{name: web, image: 'web:1'}]}
"};

/// A kubelet of all nodes: says that pods run, and ends those that are deleted.
fn kubelet(client: Client) -> AbortHandle {
    let pods: Api<Pod> = Api::default_namespaced(client);
    let work = async move {
        let mut events = pods.watch(&WatchParams::default().timeout(290), "0").await.unwrap().boxed();
        let mut addresses = 2..;
        loop {
            let (WatchEvent::Added(pod) | WatchEvent::Modified(pod)) = next(&mut events).await.unwrap() else {
                continue;
            };
            let bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
            let address = pod.status.as_ref().and_then(|status| status.pod_ip.clone());
            if pod.metadata.deletion_timestamp.is_some() {
                // It may be gone already: deleted while it had no node.
                drop(pods.delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await);
            } else if bound && address.is_none() {
                let address = format!("10.1.1.{}", addresses.next().unwrap());
                pods.patch_status(&pod.name_any(), &PatchParams::default(), &running(&address, "True")).await.unwrap();
            }
        }
    };
    tokio::spawn(work).abort_handle()
}

/// Pods by node.
async fn nodes_of_pods(client: &Client) -> Vec<String> {
    let pods = Api::<Pod>::default_namespaced(client.clone()).list(&ListParams::default()).await.unwrap();
    let node = |pod: &Pod| pod.spec.as_ref().unwrap().node_name.clone().unwrap_or_default();
    let mut nodes: Vec<String> = pods.items.iter().map(node).collect();
    nodes.sort();
    nodes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_is_empty_until_it_is_uncordoned() {
    if !TestServer::has_kubectl() {
        return;
    }
    let server = TestServer::start().await;
    let client = server.client().await;
    server.kubectl_with(&["create", "-f", "-"], &node("alpha-1")).await;
    server.kubectl_with(&["create", "-f", "-"], &node("alpha-2")).await;
    let kubelet = kubelet(client.clone());
    server.kubectl_with(&["apply", "-f", "-"], DEPLOYMENT).await;
    server.kubectl(&["rollout", "status", "deployment/web", "--timeout=20s"]).await;
    assert_eq!(nodes_of_pods(&client).await, ["alpha-1", "alpha-2"]);

    let out = server.kubectl(&["drain", "alpha-1", "--timeout=20s"]).await;
    assert!(out.contains("node/alpha-1 cordoned") && out.contains("evicting pod default/web-"), "{out}");
    assert!(out.contains("node/alpha-1 drained"), "{out}");
    assert_eq!(nodes_of_pods(&client).await, ["alpha-2", "alpha-2"]);
    let out = server.kubectl(&["get", "node", "alpha-1"]).await;
    assert!(out.contains("Ready,SchedulingDisabled"), "{out}");
    server.kubectl(&["uncordon", "alpha-1"]).await;
    server.kubectl(&["scale", "deployment/web", "--replicas=3"]).await;
    assert_eq!(nodes_of_pods(&client).await, ["alpha-1", "alpha-2", "alpha-2"]);
    kubelet.abort();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disruption_budget_holds_evictions_up() {
    if !TestServer::has_kubectl() {
        return;
    }
    let server = TestServer::start().await;
    let client = server.client().await;
    server.kubectl_with(&["create", "-f", "-"], &node("alpha-1")).await;
    let kubelet = kubelet(client.clone());
    server.kubectl_with(&["apply", "-f", "-"], DEPLOYMENT).await;
    server.kubectl(&["create", "pdb", "web", "--selector=app=web", "--min-available=2"]).await;
    server.kubectl(&["rollout", "status", "deployment/web", "--timeout=20s"]).await;
    let row = async || {
        let out = server.kubectl(&["get", "pdb", "web", "--no-headers"]).await;
        out.split_whitespace().take(4).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row().await, "web 2 N/A 0");
    let error = server.kubectl_fails(&["drain", "alpha-1", "--timeout=1s"], "").await;
    assert!(error.contains("Cannot evict pod as it would violate the pod's disruption budget."), "{error}");
    assert_eq!(nodes_of_pods(&client).await.len(), 2, "nothing is evicted");

    // Half of the two may go: one at a time.
    server.kubectl(&["delete", "pdb", "web"]).await;
    server.kubectl(&["create", "pdb", "web", "--selector=app=web", "--min-available=50%"]).await;
    assert_eq!(row().await, "web 50% N/A 1");
    let error = server.kubectl_fails(&["drain", "alpha-1", "--timeout=1s"], "").await;
    assert!(error.contains("disruption budget"), "{error}");
    assert_eq!(row().await, "web 50% N/A 0");
    let ready = nodes_of_pods(&client).await.iter().filter(|node| !node.is_empty()).count();
    assert_eq!(ready, 1, "the second stays until the first has a successor");
    // A second node takes the successor, and the drain comes through.
    server.kubectl_with(&["create", "-f", "-"], &node("alpha-2")).await;
    server.kubectl(&["drain", "alpha-1", "--timeout=20s"]).await;
    assert_eq!(nodes_of_pods(&client).await, ["alpha-2", "alpha-2"]);
    kubelet.abort();
    server.stop().await;
}
