//! What the Kubernetes APIs say, and whether they have done all that was asked of them.

use std::collections::BTreeSet;

use mesh_types::ClusterName;
use meshbed_events::{Event, Micros};

use super::World;
use crate::{
    fence::Listed,
    kubernetes::Changed,
    watch::{Kind, Seen, VANISHED},
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

    /// Objects of a list of the API that our watch has not brought yet in that version, or not as deleted.
    pub(crate) fn behind(&self, listed: &Listed) -> Vec<String> {
        let Listed { cluster, kind, revision, versions } = listed;
        let seen = |name: &str| {
            let key = (cluster.clone(), kind.as_str().to_owned(), name.to_owned());
            self.versions.get(&key).copied()
        };
        let late = versions.iter().filter(|(name, version)| match seen(name) {
            // A watch that began anew tells of what it missed in no version.
            Some(VANISHED) => false,
            Some(seen) => seen < **version,
            None => true,
        });
        let late = late.map(|(name, version)| format!("{cluster}: {} `{name}` at {version}", kind.as_str()));
        let known = self.objects.get(cluster).map(|objects| objects.of(*kind)).into_iter().flatten();
        let gone = known.filter(|(name, _)| !versions.contains_key(*name));
        let gone = gone.filter(|(name, _)| seen(name).is_none_or(|seen| seen <= *revision));
        late.chain(gone.map(|(name, _)| format!("{cluster}: {} `{name}` is gone", kind.as_str()))).collect()
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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use serde_json::json;
    use test_case::test_case;

    use super::*;
    use crate::{Recorder, RunClock, expect::testing::two_clusters};

    const WEB: &str = "default/web";

    fn alpha() -> ClusterName {
        "alpha".parse().expect("valid")
    }

    fn world() -> World {
        let recorder = Recorder::new(None, Box::new(|_| ())).expect("no file");
        World::new(&two_clusters(), Duration::ZERO, RunClock::start(), recorder)
    }

    fn web(version: u64, deleted: bool) -> Seen {
        let object = json!({"metadata": {"namespace": "default", "name": "web"}, "spec": {}});
        Seen::Object { cluster: alpha(), kind: Kind::Service, name: WEB.into(), version, object, deleted }
    }

    fn listed(revision: u64, versions: &[u64]) -> Listed {
        let versions: BTreeMap<String, u64> = versions.iter().map(|version| (WEB.to_owned(), *version)).collect();
        Listed { cluster: alpha(), kind: Kind::Service, revision, versions }
    }

    #[test_case(&[], listed(5, &[5]) => true ; "not heard of yet")]
    #[test_case(&[(4, false)], listed(5, &[5]) => true ; "heard of an older one")]
    #[test_case(&[(5, false)], listed(5, &[5]) => false ; "level")]
    #[test_case(&[(6, false)], listed(5, &[5]) => false ; "ahead")]
    #[test_case(&[(5, false)], listed(6, &[]) => true ; "not heard of its end yet")]
    #[test_case(&[(5, false), (6, true)], listed(6, &[]) => false ; "heard of its end")]
    #[test_case(&[(7, false)], listed(6, &[]) => false ; "made after the list")]
    #[test_case(&[(5, false), (6, true)], listed(5, &[5]) => false ; "gone since the list")]
    #[test_case(&[(5, false), (VANISHED, true)], listed(5, &[5]) => false ; "its end was told by its absence")]
    fn watches_are_behind(seen: &[(u64, bool)], list: Listed) -> bool {
        let mut world = world();
        for (version, deleted) in seen {
            world.seen(web(*version, *deleted));
        }
        !world.behind(&list).is_empty()
    }
}
