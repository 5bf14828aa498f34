//! Which identity a pod has: its labels, and the number that stands for them.

use std::collections::{BTreeMap, btree_map};

use mesh_types::{ClusterId, ClusterName, MaxConnectedClusters, NumericIdentity};
use mesh_wire::{
    IdentityLabels, LABEL_CLUSTER, LABEL_NAMESPACE, LABEL_NAMESPACE_LABELS, LABEL_SERVICE_ACCOUNT, SOURCE_K8S,
};

/// Beginnings of keys of pod labels that make no identity, whatever else they begin with (Cilium's default of
/// `--labels`): they differ between pods that policies treat alike.
const EXCLUDED: [&str; 13] = [
    "io.kubernetes",
    "kubernetes.io",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/job-completion-index",
    "batch.kubernetes.io/controller-uid",
    "k8s.io",
    "pod-template-generation",
    "pod-template-hash",
    "controller-revision-hash",
    "annotation",
    "controller-uid",
    "etcd_node",
];

/// Part of a key that excludes it, as the others do, wherever it stands.
const EXCLUDED_ANYWHERE: &str = "beta.kubernetes.io";

/// Service account of a pod that names none.
const DEFAULT_SERVICE_ACCOUNT: &str = "default";

/// What makes the identity of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodLabels<'a> {
    /// Namespace of the pod.
    pub namespace: &'a str,
    /// Service account of the pod; empty for the default one.
    pub service_account: &'a str,
    /// Labels of the pod.
    pub labels: Option<&'a BTreeMap<String, String>>,
    /// Labels of the namespace.
    pub namespace_labels: Option<&'a BTreeMap<String, String>>,
}

impl PodLabels<'_> {
    /// The labels of the pod's identity in `cluster`. Labels that cannot be written, by characters that Kubernetes does not
    /// allow either, are left out.
    pub fn identity(&self, cluster: &ClusterName) -> IdentityLabels {
        let account = if self.service_account.is_empty() { DEFAULT_SERVICE_ACCOUNT } else { self.service_account };
        let mut labels = IdentityLabels::new();
        let mut add = |key: &str, value: &str| {
            if let Err(error) = labels.insert(SOURCE_K8S, key, value) {
                tracing::debug!(%error, key, "label is no part of an identity");
            }
        };
        add(LABEL_CLUSTER, cluster.as_str());
        add(LABEL_NAMESPACE, self.namespace);
        add(LABEL_SERVICE_ACCOUNT, account);
        for (key, value) in self.namespace_labels.into_iter().flatten() {
            add(&format!("{LABEL_NAMESPACE_LABELS}{key}"), value);
        }
        for (key, value) in self.labels.into_iter().flatten().filter(|(key, _)| is_relevant(key)) {
            add(key, value);
        }
        labels
    }
}

fn is_relevant(key: &str) -> bool {
    !EXCLUDED.iter().any(|excluded| key.starts_with(excluded)) && !key.contains(EXCLUDED_ANYWHERE)
}

/// The identities that a cluster has given out, by number and by labels.
#[derive(Debug, Default)]
pub struct Identities {
    labels: BTreeMap<NumericIdentity, IdentityLabels>,
    numbers: BTreeMap<IdentityLabels, Vec<NumericIdentity>>,
}

impl Identities {
    /// None are known.
    pub fn new() -> Self {
        Self::default()
    }

    /// The newest labels of a number; `None`: it is free again. Says whether anything changed.
    pub fn set(&mut self, number: NumericIdentity, labels: Option<IdentityLabels>) -> bool {
        if self.labels.get(&number) == labels.as_ref() {
            return false;
        }
        if let Some(old) = self.labels.remove(&number)
            && let btree_map::Entry::Occupied(mut numbers) = self.numbers.entry(old)
        {
            numbers.get_mut().retain(|other| *other != number);
            if numbers.get().is_empty() {
                numbers.remove();
            }
        }
        if let Some(labels) = labels {
            let numbers = self.numbers.entry(labels.clone()).or_default();
            numbers.push(number);
            numbers.sort_unstable();
            self.labels.insert(number, labels);
        }
        true
    }

    /// The number that stands for `labels`. Of several, which agents that raced have given out, it is the lowest one for
    /// everybody.
    pub fn number(&self, labels: &IdentityLabels) -> Option<NumericIdentity> {
        self.numbers.get(labels).and_then(|numbers| numbers.first()).copied()
    }

    /// A free number for `labels`; `None` when the cluster has given out all that it has.
    ///
    /// The search begins at a place that the labels alone decide: agents that look for a number for the same labels at the
    /// same time find the same one, and only one of them can create it.
    pub fn free(
        &self,
        labels: &IdentityLabels,
        cluster: ClusterId,
        limit: MaxConnectedClusters,
    ) -> Option<NumericIdentity> {
        let count = (1_u32 << limit.local_bits()) - NumericIdentity::DYNAMIC_FIRST;
        let begin = fnv(&labels.encode()) % count;
        let candidates = (0..count).map(|step| NumericIdentity::DYNAMIC_FIRST + (begin + step) % count);
        let mut numbers = candidates.filter_map(|local| NumericIdentity::of_cluster(cluster, local, limit));
        numbers.find(|number| !self.labels.contains_key(number))
    }
}

/// FNV-1a, 32 bits: the same on every machine and in every version.
fn fnv(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    const LIMIT: MaxConnectedClusters = MaxConnectedClusters::N255;

    fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn alpha() -> ClusterName {
        "alpha".parse().expect("a name")
    }

    fn id(id: u16, limit: MaxConnectedClusters) -> ClusterId {
        ClusterId::new(id, limit).expect("an ID")
    }

    fn of(name: &str) -> IdentityLabels {
        let labels = texts(&[("name", name)]);
        PodLabels { namespace: "default", labels: Some(&labels), ..PodLabels::default() }.identity(&alpha())
    }

    fn written(labels: &IdentityLabels) -> String {
        String::from_utf8(labels.encode()).expect("text")
    }

    /// As the recorded exporter wrote them, and as section 1.4 of the reference says.
    #[test]
    fn a_pod_of_the_recorded_cluster() {
        assert_eq!(
            written(&of("rebel-base")),
            "k8s:io.cilium.k8s.policy.cluster=alpha;k8s:io.cilium.k8s.policy.serviceaccount=default;\
             k8s:io.kubernetes.pod.namespace=default;k8s:name=rebel-base;"
        );
        let labels = texts(&[("app", "web"), ("pod-template-hash", "5d9")]);
        let namespace_labels = texts(&[("kubernetes.io/metadata.name", "shop")]);
        let pod = PodLabels {
            namespace: "shop",
            service_account: "till",
            labels: Some(&labels),
            namespace_labels: Some(&namespace_labels),
        };
        assert_eq!(
            written(&pod.identity(&alpha())),
            "k8s:app=web;k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=shop;\
             k8s:io.cilium.k8s.policy.cluster=alpha;k8s:io.cilium.k8s.policy.serviceaccount=till;\
             k8s:io.kubernetes.pod.namespace=shop;"
        );
    }

    #[test_case("app" => true ; "any")]
    #[test_case("app.kubernetes.io/name" => true ; "recommended label")]
    #[test_case("topology.kubernetes.io/zone" => true ; "another prefix")]
    #[test_case("kubernetes.io/hostname" => false ; "Kubernetes' own")]
    #[test_case("failure-domain.beta.kubernetes.io/zone" => false ; "beta, anywhere")]
    #[test_case("pod-template-hash" => false ; "of a replica set")]
    #[test_case("controller-revision-hash" => false ; "of a daemon set")]
    #[test_case("statefulset.kubernetes.io/pod-name" => false ; "of one pod")]
    fn relevant(key: &str) -> bool {
        is_relevant(key)
    }

    #[test]
    fn the_lowest_number_stands_for_the_labels() {
        let mut identities = Identities::new();
        let [low, high] = [65_800, 70_000].map(NumericIdentity::new);
        assert!(identities.set(high, Some(of("web"))));
        assert_eq!(identities.number(&of("web")), Some(high));
        assert!(identities.set(low, Some(of("web"))) && !identities.set(low, Some(of("web"))));
        assert_eq!(identities.number(&of("web")), Some(low));
        assert!(identities.set(low, Some(of("other"))));
        assert_eq!((identities.number(&of("web")), identities.number(&of("other"))), (Some(high), Some(low)));
        assert!(identities.set(high, None) && identities.number(&of("web")).is_none());
    }

    #[test_case(MaxConnectedClusters::N255, 65_536 + 256, 131_071 ; "255 clusters")]
    #[test_case(MaxConnectedClusters::N511, 32_768 + 256, 65_535 ; "511 clusters")]
    fn free_numbers_are_of_the_cluster(limit: MaxConnectedClusters, first: u32, last: u32) {
        let identities = Identities::new();
        for name in ["a", "b", "c", "d"] {
            let number = identities.free(&of(name), id(1, limit), limit).expect("one is free").get();
            assert!((first..=last).contains(&number), "{number}");
            assert_eq!(identities.free(&of(name), id(1, limit), limit).map(NumericIdentity::get), Some(number));
        }
    }

    #[test]
    fn taken_numbers_are_passed_over_until_none_is_left() {
        let (mut identities, cluster, labels) = (Identities::new(), id(1, LIMIT), of("web"));
        let first = identities.free(&labels, cluster, LIMIT).expect("all are free");
        identities.set(first, Some(of("other")));
        let second = identities.free(&labels, cluster, LIMIT).expect("nearly all are free");
        assert_ne!(first, second);
        for local in NumericIdentity::DYNAMIC_FIRST..65_536 {
            identities.set(NumericIdentity::new(65_536 + local), Some(of("other")));
        }
        assert_eq!(identities.free(&labels, cluster, LIMIT), None);
        identities.set(second, None);
        assert_eq!(identities.free(&labels, cluster, LIMIT), Some(second));
    }
}
