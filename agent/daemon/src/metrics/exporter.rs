//! What whoever writes to our own etcd tells.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use mesh_types::ClusterName;
use mesh_wire::{Key, Layout};

use super::Gauges;

/// What the exporter has done so far. Clones tell of the same one.
#[derive(Clone, Debug)]
pub(crate) struct ExporterMetrics {
    cluster: ClusterName,
    begun: Instant,
    done: Arc<Mutex<Done>>,
}

#[derive(Debug, Default)]
struct Done {
    /// How long it took until everything was written for the first time.
    bootstrap: Option<Duration>,
    /// Kinds of objects, as their prefixes name them, and whether all of them were written at least once.
    synced: BTreeMap<String, bool>,
}

impl ExporterMetrics {
    /// One that begins now and will announce these scopes, such as `nodes/v1`.
    pub(crate) fn new(cluster: ClusterName, scopes: impl IntoIterator<Item = String>) -> Self {
        let synced = scopes.into_iter().map(|scope| (scope, false)).collect();
        let done = Done { bootstrap: None, synced };
        Self { cluster, begun: Instant::now(), done: Arc::new(Mutex::new(done)) }
    }

    /// Everything wanted at the start is written.
    pub(crate) fn ready(&self) {
        let took = self.begun.elapsed();
        self.change(|done| {
            done.bootstrap.get_or_insert(took);
        });
    }

    /// A key was written. That of a canary says that its kind is complete.
    pub(crate) fn written(&self, key: &Key) {
        if let Key::Synced { layout: Layout::State, resource, .. } = key {
            self.change(|done| {
                done.synced.insert(resource.path().to_owned(), true);
            });
        }
    }

    fn change(&self, change: impl FnOnce(&mut Done)) {
        // No panic can come in the middle of a change.
        change(&mut self.done.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The text of the metrics.
    pub(crate) fn text(&self) -> anyhow::Result<String> {
        const PREFIX: &str = "cilium_clustermesh_apiserver";
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let gauges = Gauges::new(vec![("source_cluster", self.cluster.to_string())]);
        let help = "Whether the initial synchronization from/to the kvstore has completed";
        let synced =
            done.synced.iter().map(|(scope, synced)| (vec![scope.as_str(), "write"], f64::from(u8::from(*synced))));
        gauges.add(&format!("{PREFIX}_kvstore_initial_sync_completed"), help, &["scope", "action"], synced)?;
        let bootstrap = done.bootstrap.map(|took| (vec![], took.as_secs_f64()));
        let help = "Duration in seconds to complete bootstrap";
        gauges.add(&format!("{PREFIX}_bootstrap_seconds"), help, &[], bootstrap)?;
        gauges.text()
    }
}

#[cfg(test)]
mod tests {
    use mesh_wire::Resource;

    use super::*;

    #[test]
    fn a_canary_completes_its_kind() {
        let cluster: ClusterName = "alpha".parse().expect("a name");
        let scopes = [Resource::Nodes, Resource::Ip].map(|resource| resource.path().to_owned());
        let metrics = ExporterMetrics::new(cluster.clone(), scopes);
        metrics.written(&Key::synced(Layout::State, &cluster, Resource::Nodes));
        metrics.written(&Key::ClusterConfig(cluster));
        let text = metrics.text().expect("a text");
        let line = |scope: &str, value: u8| {
            format!(
                "cilium_clustermesh_apiserver_kvstore_initial_sync_completed{{action=\"write\",scope=\"{scope}\",source_cluster=\"alpha\"}} {value}"
            )
        };
        for line in [line("nodes/v1", 1), line("ip/v1", 0)] {
            assert!(text.lines().any(|found| found == line), "no `{line}` in:\n{text}");
        }
        assert!(!text.contains("bootstrap_seconds"), "not before it is over: {text}");
        metrics.ready();
        assert!(
            metrics
                .text()
                .expect("a text")
                .contains("cilium_clustermesh_apiserver_bootstrap_seconds{source_cluster=\"alpha\"} ")
        );
    }
}
