//! When a mesh has settled, as seen from its Kubernetes objects: pure functions over the watched objects.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Watched objects of one cluster, by `namespace/name`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Objects {
    pub(crate) services: BTreeMap<String, Value>,
    pub(crate) slices: BTreeMap<String, Value>,
    pub(crate) pods: BTreeMap<String, Value>,
    pub(crate) deployments: BTreeMap<String, Value>,
}

impl Objects {
    /// What is not settled yet, one sentence each; empty when all is.
    pub(crate) fn unsettled(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        for (name, object) in &self.deployments {
            let pods = self.pods_of(name, object);
            reasons.extend(deployment_unsettled(name, object, pods));
        }
        for (name, pod) in &self.pods {
            if !pod["metadata"]["deletionTimestamp"].is_null() {
                reasons.push(format!("pod `{name}` is terminating"));
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
    fn pods_of(&self, deployment: &str, object: &Value) -> PodCount {
        let namespace = deployment.split('/').next().unwrap_or_default();
        let selector = &object["spec"]["selector"]["matchLabels"];
        let chosen = |pod: &&Value| pod["metadata"]["namespace"] == namespace && selects(selector, pod);
        PodCount { all: self.pods.values().filter(chosen).count(), ready: self.ready_pods(namespace, selector).len() }
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
}

fn deployment_unsettled(name: &str, object: &Value, pods: PodCount) -> Option<String> {
    let number = |pointer: &str, default: i64| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(default);
    let wanted = number("/spec/replicas", 1);
    let (observed, generation) = (number("/status/observedGeneration", 0), number("/metadata/generation", 0));
    let (ready, total) = (number("/status/readyReplicas", 0), number("/status/replicas", 0));
    let updated = number("/status/updatedReplicas", 0);
    if observed < generation {
        Some(format!("deployment `{name}`: generation {generation} not yet observed, last is {observed}"))
    } else if ready != wanted || total != wanted || updated != wanted {
        Some(format!("deployment `{name}`: {ready} of {wanted} replicas ready, {updated} updated, {total} in all"))
    } else if i64::try_from(pods.all) != Ok(wanted) || pods.ready != pods.all {
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

fn is_ready(pod: &Value) -> bool {
    pod["metadata"]["deletionTimestamp"].is_null()
        && pod["status"]["conditions"]
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

    #[test]
    fn slices_that_list_the_ready_pods_are_settled() {
        assert_eq!(objects("True", &["10.1.1.2"]).unsettled(), Vec::<String>::new());
    }

    #[test]
    fn a_slice_that_still_lists_a_pod_that_is_not_ready_is_not_settled() {
        let reasons = objects("False", &["10.1.1.2"]).unsettled();
        assert_eq!(reasons, ["endpoint slices of service `default/web` list {\"10.1.1.2\"}, its ready pods have {}"]);
    }

    #[test]
    fn a_deployment_is_settled_when_all_replicas_are_ready_and_observed() {
        let deployment = |ready: i64, observed: i64| {
            json!({"metadata": {"generation": 2}, "spec": {"replicas": 2},
                   "status": {"observedGeneration": observed, "replicas": 2, "readyReplicas": ready, "updatedReplicas": 2}})
        };
        let unsettled = |deployment: &Value, all, ready| {
            deployment_unsettled("default/a", deployment, PodCount { all, ready }).unwrap_or_default()
        };
        assert_eq!(unsettled(&deployment(2, 2), 2, 2), "");
        assert!(unsettled(&deployment(1, 2), 2, 2).contains("1 of 2"));
        assert!(unsettled(&deployment(2, 1), 2, 2).contains("generation 2"));
        assert!(unsettled(&deployment(2, 2), 3, 3).contains("of 3 pods 3 are ready"), "one is still to go");
        assert!(unsettled(&deployment(2, 2), 2, 1).contains("of 2 pods 1 are ready"), "the pods' watch is behind");
    }
}
