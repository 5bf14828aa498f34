//! A small language for these tests: the elements that old scenarios are made of, in words only. The engine has the real
//! one.
#![expect(unreachable_pub, reason = "the macros that make elements say `pub`")]

use std::{fmt, sync::Arc, time::Duration};

use meshbed_scenario::{
    ClusterName, ClusterSet, Clusters, Count, DeploymentKey, Element, ErrorKinds, Language, LinkChange, ManifestFiles,
    Nodes, Number, PodRef, Ratio, ServiceKey, StringMap, Strings, element, record, words,
};

/// Anything that can say what it is.
pub trait Words: fmt::Debug + fmt::Display + Send + Sync {}
impl Words for Apply {}
impl Words for Annotate {}
impl Words for Scale {}
impl Words for PodKill {}
impl Words for Everything {}
impl Words for Answers {}
impl Words for Errors {}
impl Words for Failures {}
impl Words for Endpoints {}

/// Any element.
#[derive(Clone, Debug)]
pub struct Any(Arc<dyn Words>);

impl<T: Words + 'static> From<T> for Any {
    fn from(element: T) -> Self {
        Self(Arc::new(element))
    }
}

impl fmt::Display for Any {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Small;

impl Language for Small {
    type Action = Any;
    type Fault = Any;
    type Expect = Any;

    fn actions() -> &'static [Element<Self::Action>] {
        static ACTIONS: &[Element<Any>] =
            &[element!("apply", Apply), element!("annotate", Annotate), element!("scale", Scale)];
        ACTIONS
    }

    fn faults() -> &'static [Element<Self::Fault>] {
        static FAULTS: &[Element<Any>] = &[element!("podKill", PodKill), element!("everything", Everything)];
        FAULTS
    }

    fn expectations() -> &'static [Element<Self::Expect>] {
        static EXPECTATIONS: &[Element<Any>] = &[
            element!("answers", Answers, requests),
            element!("errors", Errors, requests),
            element!("failures", Failures, requests),
            element!("endpoints", Endpoints),
        ];
        EXPECTATIONS
    }
}

pub type Scenario = meshbed_scenario::Scenario<Small>;

record! {
    /// Apply manifests.
    pub struct Apply {
        /// Where.
        pub clusters: Clusters,
        /// What.
        pub files: ManifestFiles,
    }
}

impl fmt::Display for Apply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "apply {} in {}", self.files, self.clusters)
    }
}

record! {
    /// Change annotations.
    pub struct Annotate {
        /// Where.
        pub clusters: Clusters,
        /// Which service.
        pub service: ServiceKey,
        /// To set.
        pub set: Option<StringMap>,
        /// To remove.
        pub remove: Option<Strings>,
    }
    check |record, at, context| {
        if record.set.is_none() && record.remove.is_none() {
            context.report(at, "nothing to annotate: expected `set`, `remove` or both", None);
        }
    }
}

impl fmt::Display for Annotate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "annotate {} in {}:", self.service, self.clusters)?;
        for (key, value) in self.set.iter().flatten() {
            write!(f, " {key}={value}")?;
        }
        self.remove.iter().flatten().try_for_each(|key| write!(f, " {key}-"))
    }
}

record! {
    /// Change the number of replicas.
    pub struct Scale {
        /// Where.
        pub clusters: Clusters,
        /// Which deployment.
        pub deployment: DeploymentKey,
        /// How many.
        pub replicas: Number<0, 250>,
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "scale {} to {} in {}", self.deployment, self.replicas, self.clusters)
    }
}

record! {
    /// Kill pods and keep them away.
    pub struct PodKill {
        /// Where.
        pub clusters: Clusters,
        /// Whose pods.
        pub deployment: DeploymentKey,
    }
    check |record, _at, context| {
        for cluster in &record.clusters {
            context.claim("killed", format!("`{}` of `{cluster}`", record.deployment));
        }
    }
}

impl fmt::Display for PodKill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kill pods of {} in {}", self.deployment, self.clusters)
    }
}

words! {
    /// Which side.
    pub enum Side {
        /// This one.
        Local = "local",
        /// The other one.
        Remote = "remote",
    }
}

record! {
    /// Every type of field that there is, with two words in its key.
    pub struct Everything {
        /// A word.
        pub side: Option<Side>,
        /// Nodes.
        pub nodes: Option<Nodes>,
        /// Pods.
        pub some_pods: Option<PodRef>,
        /// A share.
        pub share: Option<Ratio>,
        /// How many.
        pub count: Option<Count>,
        /// How long.
        pub how_long: Option<Duration>,
        /// Conditions of a link.
        pub conditions: Option<LinkChange>,
        /// Records in records.
        pub parts: Option<Vec<Part>>,
        /// Whether.
        pub loud: Option<bool>,
    }
}

record! {
    /// A part.
    pub struct Part {
        /// Its cluster.
        pub in_: ClusterName,
    }
}

impl fmt::Display for Everything {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("everything")
    }
}

record! {
    /// Who answered.
    pub struct Answers {
        /// Where the clients are.
        pub in_: ClusterName,
        /// Who answered.
        pub from: Clusters,
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "answers: {{in: {}, from: [{}]}}", self.in_, self.from)
    }
}

record! {
    /// How many may fail.
    pub struct Errors {
        /// At most.
        pub max: u64,
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "errors: {{max: {}}}", self.max)
    }
}

record! {
    /// All fail.
    pub struct Failures {
        /// Where the clients are.
        pub in_: ClusterName,
        /// In which ways.
        pub kinds: ErrorKinds,
        /// How soon.
        pub within: Duration,
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let within = humantime::format_duration(self.within);
        write!(f, "failures: {{in: {}, kinds: [{}], within: {within}}}", self.in_, self.kinds)
    }
}

record! {
    /// What an API lists.
    pub struct Endpoints {
        /// Whose API.
        pub in_: ClusterName,
        /// Which service.
        pub service: ServiceKey,
        /// Where they belong.
        pub from: ClusterSet,
    }
}

impl fmt::Display for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "endpoints: {{in: {}, service: {}, from: [{}]}}", self.in_, self.service, self.from)
    }
}
