//! Annotations of a Service: their names, legacy names and meaning.

use std::collections::BTreeMap;

use mesh_planted::{Defect, planted};
use mesh_types::Affinity;

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
        self.value(annotations).map(|value| value.to_lowercase() == "true")
    }
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

/// The value of the affinity annotation if a global service has one that means nothing: worth a warning.
pub(crate) fn unknown_affinity(annotations: &BTreeMap<String, String>) -> Option<&str> {
    known_affinity(annotations).err()
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
    fn unknown_affinities_are_told() {
        let nearby = ("service.cilium.io/affinity", "Nearby");
        assert_eq!(unknown_affinity(&annotations(&[GLOBAL_TRUE, nearby])), Some("Nearby"));
        assert_eq!(unknown_affinity(&annotations(&[nearby])), None, "ignored if not global");
        assert_eq!(unknown_affinity(&annotations(&[GLOBAL_TRUE, ("service.cilium.io/affinity", "NONE")])), None);
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
