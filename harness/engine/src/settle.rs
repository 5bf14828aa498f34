//! When a mesh has settled, as seen from its Kubernetes objects: pure functions over the watched objects.

use std::collections::{BTreeMap, BTreeSet};

use mesh_types::ClusterName;
use serde_json::Value;

use crate::{watch::Kind, world::Missing};

/// Watched objects of one cluster, by `namespace/name`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Objects {
    pub(crate) services: BTreeMap<String, Value>,
    pub(crate) slices: BTreeMap<String, Value>,
    pub(crate) pods: BTreeMap<String, Value>,
    pub(crate) deployments: BTreeMap<String, Value>,
    /// By `/name`: nodes have no namespace.
    pub(crate) nodes: BTreeMap<String, Value>,
}

impl Objects {
    /// All objects of a kind.
    pub(crate) fn of(&self, kind: Kind) -> &BTreeMap<String, Value> {
        match kind {
            Kind::Service => &self.services,
            Kind::EndpointSlice => &self.slices,
            Kind::Pod => &self.pods,
            Kind::Deployment => &self.deployments,
            Kind::Node => &self.nodes,
        }
    }

    /// All objects of a kind, to change them.
    pub(crate) fn of_mut(&mut self, kind: Kind) -> &mut BTreeMap<String, Value> {
        match kind {
            Kind::Service => &mut self.services,
            Kind::EndpointSlice => &mut self.slices,
            Kind::Pod => &mut self.pods,
            Kind::Deployment => &mut self.deployments,
            Kind::Node => &mut self.nodes,
        }
    }

    /// Whether the API says that a node is ready.
    pub(crate) fn node_is_ready(&self, node: &str) -> bool {
        self.nodes.get(&format!("/{node}")).is_some_and(is_ready_condition)
    }

    /// What is not settled yet, one sentence each; empty when all is. Nodes of `cluster` that are `missing` because of a
    /// fault are settled when Kubernetes has noticed; pods may be ready or not, as their probes say.
    pub(crate) fn unsettled(&self, cluster: &ClusterName, missing: &Missing) -> Vec<String> {
        let mut reasons = Vec::new();
        let lost = |name: &str, pod: &Value| {
            let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
            missing.pods.contains(&(cluster.clone(), name.to_owned()))
                || missing.nodes.contains(&(cluster.clone(), node.to_owned()))
        };
        for (name, object) in &self.deployments {
            let pods = self.pods_of(name, object, &lost);
            reasons.extend(deployment_unsettled(name, object, pods));
        }
        for (name, pod) in &self.pods {
            if !lost(name, pod) && !pod["metadata"]["deletionTimestamp"].is_null() {
                reasons.push(format!("pod `{name}` is terminating"));
            }
        }
        for (_, name) in missing.nodes.iter().filter(|(of, _)| of == cluster) {
            if self.node_is_ready(name) {
                reasons.push(format!("node `{name}` is lost and still counts as ready"));
            }
        }
        for (name, service) in &self.services {
            reasons.extend(self.service_unsettled(name, service));
        }
        reasons
    }

    /// The ready pods that a selector chooses, by name, with their addresses.
    pub(crate) fn ready_pods(&self, namespace: &str, selector: &Value) -> BTreeMap<String, String> {
        self.pods
            .iter()
            .filter(|(_, pod)| pod["metadata"]["namespace"] == namespace && selects(selector, pod) && is_ready(pod))
            .map(|(name, pod)| (name.clone(), pod["status"]["podIP"].as_str().unwrap_or_default().to_owned()))
            .collect()
    }

    /// How many pods a deployment's selector chooses. Each kind is watched on its own, so the deployment may be known to
    /// be ready while its pods are not yet, or to have no replicas while its pods still look alive.
    fn pods_of(&self, deployment: &str, object: &Value, lost: &impl Fn(&str, &Value) -> bool) -> PodCount {
        let namespace = deployment.split('/').next().unwrap_or_default();
        let selector = &object["spec"]["selector"]["matchLabels"];
        let chosen = |pod: &Value| pod["metadata"]["namespace"] == namespace && selects(selector, pod);
        let all = self.pods.values().filter(|pod| chosen(pod)).count();
        let lost = self.pods.iter().filter(|(name, pod)| chosen(pod) && lost(name, pod) && !is_ready(pod)).count();
        PodCount { all, ready: self.ready_pods(namespace, selector).len(), lost }
    }

    /// The ready pods of a deployment.
    pub(crate) fn deployment_pods(&self, deployment: &str) -> BTreeMap<String, String> {
        let Some(object) = self.deployments.get(deployment) else { return BTreeMap::new() };
        let namespace = deployment.split('/').next().unwrap_or_default();
        self.ready_pods(namespace, &object["spec"]["selector"]["matchLabels"])
    }

    fn service_unsettled(&self, name: &str, service: &Value) -> Option<String> {
        let selector = &service["spec"]["selector"];
        if selector.as_object().is_none_or(serde_json::Map::is_empty) {
            return None;
        }
        let (namespace, short) = name.split_once('/')?;
        let ready: BTreeSet<String> = self.ready_pods(namespace, selector).into_values().collect();
        let endpoints: Vec<&Value> = self
            .slices
            .values()
            .filter(|slice| {
                slice["metadata"]["namespace"] == namespace
                    && slice["metadata"]["labels"]["kubernetes.io/service-name"] == short
            })
            .flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten())
            .collect();
        let is_ready = |endpoint: &&&Value| endpoint["conditions"]["ready"].as_bool().unwrap_or(true);
        let listed = addresses(endpoints.iter().filter(is_ready));
        if ready != listed {
            return Some(format!("endpoint slices of service `{name}` list {listed:?}, its ready pods have {ready:?}"));
        }
        // An endpoint of a pod that is lost stays listed; what counts is that it is not ready.
        let known: BTreeSet<&str> = self.pods.values().filter_map(|pod| pod["status"]["podIP"].as_str()).collect();
        let gone = addresses(endpoints.iter()).into_iter().find(|address| !known.contains(address.as_str()))?;
        Some(format!("endpoint slices of service `{name}` list {gone}, whose pod is gone"))
    }
}

fn addresses<'a>(endpoints: impl Iterator<Item = &'a &'a Value>) -> BTreeSet<String> {
    endpoints
        .flat_map(|endpoint| endpoint["addresses"].as_array().into_iter().flatten())
        .filter_map(|address| address.as_str().map(str::to_owned))
        .collect()
}

/// Pods of a deployment.
#[derive(Clone, Copy)]
struct PodCount {
    /// All that exist.
    all: usize,
    /// Those that are ready.
    ready: usize,
    /// Those that cannot be ready because of a fault.
    lost: usize,
}

fn deployment_unsettled(name: &str, object: &Value, pods: PodCount) -> Option<String> {
    let number = |pointer: &str, default: i64| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(default);
    let wanted = number("/spec/replicas", 1);
    let (observed, generation) = (number("/status/observedGeneration", 0), number("/metadata/generation", 0));
    let (ready, total) = (number("/status/readyReplicas", 0), number("/status/replicas", 0));
    let updated = number("/status/updatedReplicas", 0);
    let lost = i64::try_from(pods.lost).unwrap_or(i64::MAX);
    if observed < generation {
        Some(format!("deployment `{name}`: generation {generation} not yet observed, last is {observed}"))
    } else if ready != wanted - lost || total != wanted || updated != wanted {
        Some(format!("deployment `{name}`: {ready} of {wanted} replicas ready, {updated} updated, {total} in all"))
    } else if i64::try_from(pods.all) != Ok(wanted) || pods.ready + pods.lost != pods.all {
        Some(format!("deployment `{name}`: of {} pods {} are ready, {wanted} are wanted", pods.all, pods.ready))
    } else {
        None
    }
}

fn selects(selector: &Value, pod: &Value) -> bool {
    let labels = &pod["metadata"]["labels"];
    selector
        .as_object()
        .is_some_and(|wanted| !wanted.is_empty() && wanted.iter().all(|(key, value)| labels.get(key) == Some(value)))
}

pub(crate) fn is_ready(pod: &Value) -> bool {
    pod["metadata"]["deletionTimestamp"].is_null() && is_ready_condition(pod)
}

/// Whether a pod or a node has the condition `Ready`.
fn is_ready_condition(object: &Value) -> bool {
    object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn objects(ready: &str, listed: &[&str]) -> Objects {
        let mut objects = Objects::default();
        objects.services.insert(
            "default/web".into(),
            json!({"metadata": {"name": "web", "namespace": "default"}, "spec": {"selector": {"name": "web"}}}),
        );
        objects.pods.insert(
            "default/web-1".into(),
            json!({"metadata": {"namespace": "default", "labels": {"name": "web"}},
                   "status": {"podIP": "10.1.1.2", "conditions": [{"type": "Ready", "status": ready}]}}),
        );
        let endpoints: Vec<_> = listed.iter().map(|ip| json!({"addresses": [ip], "conditions": {}})).collect();
        objects.slices.insert(
            "default/web-x".into(),
            json!({"metadata": {"namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
                   "endpoints": endpoints}),
        );
        objects
    }

    fn unsettled(objects: &Objects) -> Vec<String> {
        objects.unsettled(&"alpha".parse().expect("valid"), &Missing::default())
    }

    #[test]
    fn slices_that_list_the_ready_pods_are_settled() {
        assert_eq!(unsettled(&objects("True", &["10.1.1.2"])), Vec::<String>::new());
    }

    #[test]
    fn a_slice_that_still_lists_a_pod_that_is_not_ready_is_not_settled() {
        let reasons = unsettled(&objects("False", &["10.1.1.2"]));
        assert_eq!(reasons, ["endpoint slices of service `default/web` list {\"10.1.1.2\"}, its ready pods have {}"]);
    }

    #[test]
    fn a_lost_node_is_settled_when_it_no_longer_counts_as_ready() {
        let cluster: ClusterName = "alpha".parse().expect("valid");
        let mut missing = Missing::default();
        missing.nodes.insert((cluster.clone(), "alpha-1".to_owned()));
        let mut objects = objects("True", &["10.1.1.2"]);
        let node = |ready: &str| json!({"status": {"conditions": [{"type": "Ready", "status": ready}]}});
        objects.nodes.insert("/alpha-1".to_owned(), node("True"));
        assert_eq!(objects.unsettled(&cluster, &missing), ["node `alpha-1` is lost and still counts as ready"]);
        objects.nodes.insert("/alpha-1".to_owned(), node("Unknown"));
        assert_eq!(objects.unsettled(&cluster, &missing), Vec::<String>::new());
    }

    #[test]
    fn a_deployment_is_settled_when_all_replicas_are_ready_and_observed() {
        let deployment = |ready: i64, observed: i64| {
            json!({"metadata": {"generation": 2}, "spec": {"replicas": 2},
                   "status": {"observedGeneration": observed, "replicas": 2, "readyReplicas": ready, "updatedReplicas": 2}})
        };
        let unsettled = |deployment: &Value, all, ready| {
            deployment_unsettled("default/a", deployment, PodCount { all, ready, lost: 0 }).unwrap_or_default()
        };
        assert_eq!(unsettled(&deployment(2, 2), 2, 2), "");
        assert!(unsettled(&deployment(1, 2), 2, 2).contains("1 of 2"));
        assert!(unsettled(&deployment(2, 1), 2, 2).contains("generation 2"));
        assert!(unsettled(&deployment(2, 2), 3, 3).contains("of 3 pods 3 are ready"), "one is still to go");
        assert!(unsettled(&deployment(2, 2), 2, 1).contains("of 2 pods 1 are ready"), "the pods' watch is behind");
    }
}
