//! What the Kubernetes APIs say, and whether they have done all that was asked of them.

use std::collections::BTreeSet;

use mesh_types::ClusterName;
use meshbed_events::{Event, Micros};

use super::World;
use crate::{
    kubernetes::Changed,
    watch::{Kind, Seen},
};

impl World {
    /// An action changed this object: the mesh has not settled before our own watch has seen it.
    pub(crate) fn must_see(&mut self, cluster: &ClusterName, changed: Changed) {
        let watched = Kind::ALL.iter().any(|kind| kind.as_str() == changed.kind);
        if watched {
            self.must_see.push((cluster.clone(), changed));
        }
    }

    pub(crate) fn seen(&mut self, seen: Seen) {
        let at = self.clock.now();
        match seen {
            Seen::Listed { cluster, kind } => {
                self.listed.insert((cluster, kind));
            }
            Seen::Object { cluster, kind, name, version, object, deleted } => {
                self.object(at, &cluster, kind, &name, version, object, deleted);
            }
        }
        self.bump();
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one watch event")]
    fn object(
        &mut self,
        at: Micros,
        cluster: &ClusterName,
        kind: Kind,
        name: &str,
        version: u64,
        object: serde_json::Value,
        deleted: bool,
    ) {
        let told = match kind {
            Kind::Service => self.oracle.service(at, cluster, &object, deleted),
            Kind::EndpointSlice => self.oracle.slice(at, cluster, &object, deleted),
            Kind::Pod | Kind::Deployment | Kind::Node => Ok(()),
        };
        if let Err(error) = told {
            let text = format!("the oracle cannot read {} `{name}` of {cluster}: {error}", kind.as_str());
            self.recorder.push(at, Event::Violation { step: self.step(), message: text });
            self.count_violation();
        }
        self.versions.insert((cluster.clone(), kind.as_str().to_owned(), name.to_owned()), version);
        self.propagation.object(at, cluster.as_str(), kind, name, version, &object);
        let change = describe(kind, &object, deleted);
        self.recorder.push(
            at,
            Event::ObjectChanged {
                cluster: cluster.to_string(),
                kind: kind.as_str().to_owned(),
                name: name.to_owned(),
                change,
            },
        );
        let Some(objects) = self.objects.get_mut(cluster) else { return };
        let by_name = objects.of_mut(kind);
        if deleted {
            by_name.remove(name);
        } else {
            by_name.insert(name.to_owned(), object);
        }
        if matches!(kind, Kind::Service | Kind::EndpointSlice) {
            self.refresh_truth(at);
        }
    }

    /// What the Kubernetes API has not done yet; empty when it has settled.
    pub(crate) fn unsettled_objects(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        for (cluster, objects) in &self.objects {
            if self.missing.silent.contains(cluster) {
                continue;
            }
            for kind in Kind::ALL {
                if !self.listed.contains(&(cluster.clone(), kind)) {
                    reasons.push(format!("{cluster}: no complete list of {} yet", kind.as_str()));
                }
            }
            reasons.extend(
                objects.unsettled(cluster, &self.missing).into_iter().map(|reason| format!("{cluster}: {reason}")),
            );
        }
        for (cluster, changed) in self.must_see.iter().filter(|(cluster, _)| !self.missing.silent.contains(cluster)) {
            let key = (cluster.clone(), changed.kind.clone(), changed.name.clone());
            if self.versions.get(&key).is_none_or(|seen| *seen < changed.resource_version) {
                reasons.push(format!(
                    "{cluster}: {} `{}` at resource version {} not seen yet",
                    changed.kind, changed.name, changed.resource_version
                ));
            }
        }
        reasons.extend(self.not_looked_at());
        reasons
    }

    /// Kinds of objects of which a cluster that is not in `silent` has given no complete list yet.
    pub(crate) fn unlisted(&self, silent: &BTreeSet<ClusterName>) -> Vec<String> {
        let speaking = self.objects.keys().filter(|cluster| !silent.contains(*cluster));
        let kinds = speaking.flat_map(|cluster| Kind::ALL.map(|kind| (cluster.clone(), kind)));
        let missing = kinds.filter(|wanted| !self.listed.contains(wanted));
        missing.map(|(cluster, kind)| format!("{cluster}: no complete list of {} yet", kind.as_str())).collect()
    }

    /// Clusters whose Kubernetes API is silent because of faults in force.
    pub(crate) fn silent(&self) -> &BTreeSet<ClusterName> {
        &self.missing.silent
    }

    /// What keeps an object that should be gone; empty when our watch no longer has it.
    pub(crate) fn still_there(&self, (cluster, kind, name): &(ClusterName, &str, String)) -> Vec<String> {
        let Some(objects) = self.objects.get(cluster) else { return Vec::new() };
        let by_name = Kind::ALL.iter().find(|one| one.as_str() == *kind).map(|kind| objects.of(*kind));
        let there = by_name.is_some_and(|objects| objects.contains_key(name));
        if there { vec![format!("{cluster}: {kind} `{name}` is still there")] } else { Vec::new() }
    }

    /// Whether the Kubernetes API of `cluster` says that `node` is ready.
    pub(crate) fn node_is_ready(&self, cluster: &ClusterName, node: &str) -> bool {
        self.objects.get(cluster).is_some_and(|objects| objects.node_is_ready(node))
    }
}

/// What is worth telling of a change.
fn describe(kind: Kind, object: &serde_json::Value, deleted: bool) -> String {
    if deleted {
        return "deleted".to_owned();
    }
    match kind {
        Kind::EndpointSlice => {
            let ready = object["endpoints"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|endpoint| endpoint["conditions"]["ready"].as_bool().unwrap_or(true))
                .count();
            format!("applied, {ready} ready endpoints")
        }
        Kind::Deployment => {
            let number = |pointer: &str| object.pointer(pointer).and_then(serde_json::Value::as_i64).unwrap_or(0);
            format!("applied, {} of {} ready", number("/status/readyReplicas"), number("/spec/replicas"))
        }
        Kind::Pod => format!("applied, {}", object["status"]["phase"].as_str().unwrap_or("Pending")),
        Kind::Node => {
            let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
            let ready =
                conditions.filter(|condition| condition["type"] == "Ready").find_map(|is| is["status"].as_str());
            format!("applied, ready: {}", ready.unwrap_or("Unknown"))
        }
        Kind::Service => {
            format!("applied, at {}", object["spec"]["clusterIP"].as_str().unwrap_or("no address"))
        }
    }
}
