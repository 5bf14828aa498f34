//! Annotations of a Service and of its Namespace: their names, legacy names and meaning.

use std::collections::BTreeMap;

use mesh_planted::{Defect, planted};
use mesh_types::{Affinity, Algorithm};

use crate::ServiceKind;

/// An annotation and the name that it had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// Name that wins when both are there.
    pub canonical: &'static str,
    /// Name of older Cilium versions, still read.
    pub legacy: &'static str,
}

/// Whether a service is one with its namesakes in other clusters.
pub const GLOBAL: Annotation = Annotation { canonical: "service.cilium.io/global", legacy: "io.cilium/global-service" };

/// Whether a global service's backends are exported.
pub const SHARED: Annotation = Annotation { canonical: "service.cilium.io/shared", legacy: "io.cilium/shared-service" };

/// Which side of the mesh a global service prefers.
pub const AFFINITY: Annotation =
    Annotation { canonical: "service.cilium.io/affinity", legacy: "io.cilium/service-affinity" };

/// Annotation of a Namespace: whether its services can be global. Without it, that is a matter of configuration.
pub const GLOBAL_NAMESPACE: &str = "clustermesh.cilium.io/global";

/// Annotation of a Service: only frontends of this type are installed.
const TYPE: &str = "service.cilium.io/type";

/// Annotation of a Service: how one of several backends is chosen.
const ALGORITHM: &str = "service.cilium.io/lb-algorithm";

impl Annotation {
    /// The value, under the canonical name if it is there.
    pub fn value(self, annotations: &BTreeMap<String, String>) -> Option<&str> {
        let canonical = annotations.get(self.canonical);
        let legacy = annotations.get(self.legacy).filter(|_| !planted(Defect::LegacyAnnotationIgnored));
        let value = if planted(Defect::LegacyAnnotationWins) { legacy.or(canonical) } else { canonical.or(legacy) };
        value.map(String::as_str)
    }

    /// The value as a boolean: lower-cased equal to `true`, anything else is false.
    fn boolean(self, annotations: &BTreeMap<String, String>) -> Option<bool> {
        self.value(annotations).map(is_true)
    }
}

fn is_true(value: &str) -> bool {
    value.to_lowercase() == "true"
}

/// Whether the service is global. Absent means no.
pub fn is_global(annotations: &BTreeMap<String, String>) -> bool {
    GLOBAL.boolean(annotations).unwrap_or(false)
}

/// Whether the backends of the service are exported: it must be global, and `shared` absent or true.
pub fn is_shared(annotations: &BTreeMap<String, String>) -> bool {
    is_global(annotations) && SHARED.boolean(annotations).unwrap_or(true)
}

/// The affinity of the service; none for a service that is not global.
///
/// `none`, the empty text and every unknown value mean no preference, as from Cilium 1.20 on. (1.18.10 to
/// 1.19.x drop all remote backends for the literal `none`: cilium/cilium issue 46623.)
pub fn affinity(annotations: &BTreeMap<String, String>) -> Affinity {
    match known_affinity(annotations).unwrap_or_default() {
        Affinity::Local if planted(Defect::AffinityInverted) => Affinity::Remote,
        Affinity::Remote if planted(Defect::AffinityInverted) => Affinity::Local,
        affinity => affinity,
    }
}

/// Whether the services of a namespace with these annotations can be global; `None` if they do not say.
pub(crate) fn namespace_is_global(annotations: &BTreeMap<String, String>) -> Option<bool> {
    annotations.get(GLOBAL_NAMESPACE).map(|value| is_true(value))
}

/// The only type of frontends that the service gets, if it says so. A service's own type still limits which there are.
pub(crate) fn exposed_type(annotations: &BTreeMap<String, String>) -> Option<ServiceKind> {
    known_type(annotations).unwrap_or_default()
}

/// The algorithm that the service asks for.
pub(crate) fn algorithm(annotations: &BTreeMap<String, String>) -> Option<Algorithm> {
    known_algorithm(annotations).unwrap_or_default()
}

/// The annotations, with their values, that mean nothing and are ignored: worth a warning.
pub(crate) fn unknown_values(annotations: &BTreeMap<String, String>) -> Vec<(&'static str, &str)> {
    let affinity = known_affinity(annotations).err().map(|value| (AFFINITY.canonical, value));
    let exposed = known_type(annotations).err().map(|value| (TYPE, value));
    let algorithm = known_algorithm(annotations).err().map(|value| (ALGORITHM, value));
    affinity.into_iter().chain(exposed).chain(algorithm).collect()
}

/// Unlike the other values, types are compared as they are written.
fn known_type(annotations: &BTreeMap<String, String>) -> Result<Option<ServiceKind>, &str> {
    match annotations.get(TYPE).map(String::as_str) {
        None => Ok(None),
        Some("ClusterIP") => Ok(Some(ServiceKind::ClusterIp)),
        Some("NodePort") => Ok(Some(ServiceKind::NodePort)),
        Some("LoadBalancer") => Ok(Some(ServiceKind::LoadBalancer)),
        Some(value) => Err(value),
    }
}

fn known_algorithm(annotations: &BTreeMap<String, String>) -> Result<Option<Algorithm>, &str> {
    let Some(value) = annotations.get(ALGORITHM) else { return Ok(None) };
    match value.to_lowercase().as_str() {
        "random" => Ok(Some(Algorithm::Random)),
        "maglev" => Ok(Some(Algorithm::Maglev)),
        _ => Err(value),
    }
}

fn known_affinity(annotations: &BTreeMap<String, String>) -> Result<Affinity, &str> {
    let value = AFFINITY.value(annotations).filter(|_| is_global(annotations)).unwrap_or_default();
    match value.to_lowercase().as_str() {
        "local" => Ok(Affinity::Local),
        "remote" => Ok(Affinity::Remote),
        "" | "none" => Ok(Affinity::None),
        _ => Err(value),
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    const GLOBAL_TRUE: (&str, &str) = ("service.cilium.io/global", "true");

    #[test]
    fn unknown_values_are_told() {
        let nearby = ("service.cilium.io/affinity", "Nearby");
        let told = |pairs: &[(&str, &str)]| {
            let annotations = annotations(pairs);
            let values = unknown_values(&annotations);
            values.into_iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>()
        };
        assert_eq!(told(&[GLOBAL_TRUE, nearby]), ["service.cilium.io/affinity: Nearby"]);
        assert!(told(&[nearby]).is_empty(), "ignored if not global");
        assert!(told(&[GLOBAL_TRUE, ("service.cilium.io/affinity", "NONE")]).is_empty());
        assert_eq!(
            told(&[(TYPE, "clusterip"), (ALGORITHM, "rendezvous")]),
            ["service.cilium.io/type: clusterip", "service.cilium.io/lb-algorithm: rendezvous"]
        );
        assert!(told(&[(TYPE, "ClusterIP"), (ALGORITHM, "MAGLEV")]).is_empty());
    }

    #[test_case(&[] => None ; "absent")]
    #[test_case(&[(ALGORITHM, "random")] => Some(Algorithm::Random) ; "random")]
    #[test_case(&[(ALGORITHM, "Maglev")] => Some(Algorithm::Maglev) ; "maglev in any case")]
    #[test_case(&[(ALGORITHM, "")] => None ; "empty")]
    fn algorithms(pairs: &[(&str, &str)]) -> Option<Algorithm> {
        algorithm(&annotations(pairs))
    }

    #[test_case(&[] => None ; "absent")]
    #[test_case(&[(GLOBAL_NAMESPACE, "True")] => Some(true) ; "true in any case")]
    #[test_case(&[(GLOBAL_NAMESPACE, "false")] => Some(false) ; "false")]
    #[test_case(&[(GLOBAL_NAMESPACE, "")] => Some(false) ; "empty is not true")]
    #[test_case(&[("service.cilium.io/global", "true")] => None ; "a service's annotation")]
    fn namespaces(pairs: &[(&str, &str)]) -> Option<bool> {
        namespace_is_global(&annotations(pairs))
    }

    #[test_case(&[] => false ; "absent")]
    #[test_case(&[GLOBAL_TRUE] => true ; "canonical")]
    #[test_case(&[("io.cilium/global-service", "true")] => true ; "legacy")]
    #[test_case(&[("service.cilium.io/global", "TrUe")] => true ; "any case")]
    #[test_case(&[("service.cilium.io/global", "false")] => false ; "false")]
    #[test_case(&[("service.cilium.io/global", "yes")] => false ; "not true")]
    #[test_case(&[("service.cilium.io/global", " true")] => false ; "not trimmed")]
    #[test_case(&[("service.cilium.io/global", "false"), ("io.cilium/global-service", "true")] => false ; "canonical false wins")]
    #[test_case(&[GLOBAL_TRUE, ("io.cilium/global-service", "false")] => true ; "canonical true wins")]
    fn global(pairs: &[(&str, &str)]) -> bool {
        is_global(&annotations(pairs))
    }

    #[test_case(&[] => false ; "not global")]
    #[test_case(&[("service.cilium.io/shared", "true")] => false ; "ignored if not global")]
    #[test_case(&[GLOBAL_TRUE] => true ; "default of a global service")]
    #[test_case(&[GLOBAL_TRUE, ("service.cilium.io/shared", "true")] => true ; "true")]
    #[test_case(&[GLOBAL_TRUE, ("service.cilium.io/shared", "False")] => false ; "false")]
    #[test_case(&[GLOBAL_TRUE, ("service.cilium.io/shared", "")] => false ; "empty is not true")]
    #[test_case(&[GLOBAL_TRUE, ("io.cilium/shared-service", "false")] => false ; "legacy")]
    #[test_case(&[GLOBAL_TRUE, ("service.cilium.io/shared", "true"), ("io.cilium/shared-service", "false")] => true ; "canonical wins")]
    fn shared(pairs: &[(&str, &str)]) -> bool {
        is_shared(&annotations(pairs))
    }

    #[test_case(&[GLOBAL_TRUE] => Affinity::None ; "absent")]
    #[test_case(&[GLOBAL_TRUE, ("service.cilium.io/affinity", "local")] => Affinity::Local ; "local")]
    #[test_case(&[GLOBAL_TRUE, ("service.cilium.io/affinity", "Remote")] => Affinity::Remote ; "remote in any case")]
    #[test_case(&[GLOBAL_TRUE, ("service.cilium.io/affinity", "none")] => Affinity::None ; "the literal none")]
    #[test_case(&[GLOBAL_TRUE, ("service.cilium.io/affinity", "")] => Affinity::None ; "empty")]
    #[test_case(&[GLOBAL_TRUE, ("service.cilium.io/affinity", "nearby")] => Affinity::None ; "unknown")]
    #[test_case(&[GLOBAL_TRUE, ("io.cilium/service-affinity", "local")] => Affinity::Local ; "legacy")]
    #[test_case(&[GLOBAL_TRUE, ("service.cilium.io/affinity", "remote"), ("io.cilium/service-affinity", "local")] => Affinity::Remote ; "canonical wins")]
    #[test_case(&[("service.cilium.io/affinity", "local")] => Affinity::None ; "ignored if not global")]
    fn affinities(pairs: &[(&str, &str)]) -> Affinity {
        affinity(&annotations(pairs))
    }
}
