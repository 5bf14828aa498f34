//! What a scenario is as a case of the conformance suite.

use crate::{Capability, Context, Cursor, Json, Term, record, schema, suggest, words};

/// A case of the conformance suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conformance {
    /// Its ID, which stays what it is for ever.
    pub id: String,
    /// The profiles that it belongs to; at least one.
    pub profiles: Vec<Profile>,
    /// Whether an agent that fails it does not conform.
    pub level: Level,
    /// The issue that it comes from, such as `cilium#19217`.
    pub issue: Option<String>,
    /// What an agent must claim to be able to do to be judged by it: names of [`Capability`].
    pub requires: Vec<String>,
}

words! {
    /// A part of the conformance suite.
    pub enum Profile {
        /// The quick subset.
        Core = "core",
        /// Backends come from all clusters that share a service.
        GlobalServices = "global-services",
        /// Which side is preferred.
        Affinity = "affinity",
        /// Backends die and come back.
        Failover = "failover",
        /// A whole cluster or its control plane is gone.
        DeadCluster = "dead-cluster",
        /// The agent, or what it talks to, starts again.
        Restart = "restart",
        /// Somebody made a mistake.
        Misconfiguration = "misconfiguration",
        /// What the pinned maps hold.
        Maps = "maps",
        /// What the etcds hold.
        Kvstore = "kvstore",
    }
}

words! {
    /// What a case means for conformance.
    pub enum Level {
        /// An agent that fails it does not conform.
        Required = "REQUIRED",
        /// It is reported, and no more.
        Optional = "OPTIONAL",
    }
}

record! {
    /// This scenario is a case of the conformance suite.
    pub(crate) struct ConformanceRecord {
        /// Its ID, such as `GS-001`, which stays what it is for ever.
        pub(crate) id: CaseId,
        /// The profiles that it belongs to.
        pub(crate) profiles: Vec<Profile>,
        /// What it means for conformance; `REQUIRED` when it is not given.
        pub(crate) level: Option<Level>,
        /// The issue that it comes from, such as `cilium#19217`.
        pub(crate) issue: Option<Issue>,
        /// What an agent must claim to be able to do to be judged by it.
        pub(crate) requires: Option<Vec<Capability>>,
    }
    check |record, at, context| {
        if record.profiles.is_empty() {
            context.report(at, "there is no profile, at least one is needed", None);
        }
    }
}

impl From<ConformanceRecord> for Conformance {
    fn from(record: ConformanceRecord) -> Self {
        Self {
            id: record.id.0,
            profiles: record.profiles,
            level: record.level.unwrap_or(Level::Required),
            issue: record.issue.map(|issue| issue.0),
            requires: record.requires.iter().flatten().map(ToString::to_string).collect(),
        }
    }
}

/// The ID of a case, such as `GS-001`: letters, digits and `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CaseId(String);

impl Term for CaseId {
    fn schema() -> Json {
        serde_json::json!({ "type": "string", "pattern": "^[A-Za-z0-9-]+$" })
    }

    fn read(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Self> {
        let text = at.text(context.findings())?;
        let valid = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if !valid {
            let hint = Some("an ID is like `GS-001`: letters, digits and `-`".to_owned());
            context.report(at, format!("`{text}` is no ID"), hint);
        }
        valid.then(|| Self(text.to_owned()))
    }
}

/// An issue of a project, such as `cilium#19217`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Issue(String);

impl Term for Issue {
    fn schema() -> Json {
        serde_json::json!({ "type": "string", "pattern": "^[A-Za-z0-9._/-]+#[0-9]+$" })
    }

    fn read(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Self> {
        let text = at.text(context.findings())?;
        let is_project = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
        let valid = text.split_once('#').is_some_and(|(project, number)| {
            !project.is_empty() && project.chars().all(is_project) && number.parse::<u32>().is_ok()
        });
        if !valid {
            let hint = Some("an issue is like `cilium#19217`".to_owned());
            context.report(at, format!("`{text}` is no issue"), hint);
        }
        valid.then(|| Self(text.to_owned()))
    }
}

/// A capability by its name.
impl Term for Capability {
    fn schema() -> Json {
        schema::words(&Self::ALL.map(Self::name))
    }

    fn read(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Self> {
        let text = at.text(context.findings())?;
        let found = Self::parse(text);
        if found.is_none() {
            let hint = suggest::hint(text, Self::ALL.into_iter().map(Self::name), "capabilities");
            context.report(at, format!("unknown capability `{text}`"), Some(hint));
        }
        found
    }
}
