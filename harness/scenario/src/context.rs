//! What a value may refer to while it is read.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    path::{Path, PathBuf},
};

use mesh_types::ClusterName;

use crate::{Clusters, Cursor, Topology, manifests, suggest, walk::Findings};

/// What a scenario is read against: its topology, its probes, and what earlier steps did. Collects the findings.
#[derive(Debug)]
pub struct Context<'a> {
    findings: &'a mut Findings,
    /// `None` when it could not be read: then no cluster and no node is called unknown.
    topology: Option<&'a Topology>,
    /// `None` when they could not be read: then no probe is called unknown.
    probes: Option<BTreeSet<String>>,
    running: BTreeSet<String>,
    /// Faults so far by name.
    faults: BTreeMap<String, FaultState>,
    /// What the fault that is being read takes for itself.
    claims: Vec<Claim>,
    /// Faults of the `parallel` that is being read.
    parallel: Option<BTreeSet<String>>,
    /// The clusters that the record that is being read names.
    clusters: Option<Clusters>,
    /// Whether faults may have been injected elsewhere.
    lenient: bool,
    /// What is wrong with manifest files that were looked at.
    manifests: BTreeMap<PathBuf, Option<String>>,
}

#[derive(Debug)]
struct FaultState {
    claims: Vec<Claim>,
    in_force: bool,
}

/// Something that only one fault at a time can have.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Claim {
    verb: &'static str,
    what: String,
}

impl<'a> Context<'a> {
    pub(crate) fn new(findings: &'a mut Findings, topology: Option<&'a Topology>) -> Self {
        Self {
            findings,
            topology,
            probes: None,
            running: BTreeSet::new(),
            faults: BTreeMap::new(),
            claims: Vec::new(),
            parallel: None,
            clusters: None,
            lenient: false,
            manifests: BTreeMap::new(),
        }
    }

    /// Reports that something is wrong with the value at `at`: what was found and what was expected, and what to do.
    pub fn report(&mut self, at: &Cursor<'_>, message: impl Into<String>, hint: Option<String>) {
        self.findings.report(at, message, hint);
    }

    /// What was found so far, for readers of [`Cursor`].
    pub fn findings(&mut self) -> &mut Findings {
        self.findings
    }

    /// The topology; `None` when it could not be read, which has been reported.
    pub fn topology(&self) -> Option<&'a Topology> {
        self.topology
    }

    /// The clusters that the record which is being read names, in a field before this one.
    pub fn clusters(&self) -> Option<&Clusters> {
        self.clusters.as_ref()
    }

    /// For the `check` of a fault: while it is in force, nobody else can have `what` done to it. Two kills of the same pods
    /// could not be healed one by one. `verb` is the participle, such as `killed`.
    pub fn claim(&mut self, verb: &'static str, what: impl Into<String>) {
        self.claims.push(Claim { verb, what: what.into() });
    }

    /// Reports when the file is not there or holds no Kubernetes objects.
    pub fn check_manifest(&mut self, at: &Cursor<'_>, path: &Path) {
        let wrong = self.manifests.entry(path.to_path_buf()).or_insert_with(|| wrong_manifest(path)).clone();
        if let Some(wrong) = wrong {
            self.report(at, wrong, None);
        }
    }

    /// Takes every fault that is healed for one that the surrounding scenario injected.
    pub(crate) fn set_lenient(&mut self) {
        self.lenient = true;
    }

    // ---- records ----

    /// Forgets what the outer record said; returns it for [`Self::leave_record`].
    pub(crate) fn enter_record(&mut self) -> Option<Clusters> {
        self.clusters.take()
    }

    pub(crate) fn leave_record(&mut self, outer: Option<Clusters>) {
        self.clusters = outer;
    }

    pub(crate) fn names_clusters(&mut self, clusters: &[ClusterName]) {
        self.clusters = Some(clusters.iter().cloned().collect());
    }

    // ---- probes ----

    pub(crate) fn set_probes(&mut self, probes: Option<BTreeSet<String>>) {
        self.probes = probes;
    }

    /// The probe that `at` names.
    pub(crate) fn probe(&mut self, at: &Cursor<'_>) -> Option<String> {
        let text = at.text(self.findings)?;
        if let Some(probes) = &self.probes
            && !probes.contains(text)
        {
            let hint = suggest::hint(text, probes.iter().map(String::as_str), "probes");
            self.report(at, format!("unknown probe `{text}`"), Some(hint));
            return None;
        }
        Some(text.to_owned())
    }

    pub(crate) fn start_probe(&mut self, at: &Cursor<'_>) -> Option<String> {
        let Some(name) = self.probe(at) else {
            // Some probe was meant to run: what looks at probes later is not to blame.
            self.running.insert(String::new());
            return None;
        };
        if !self.running.insert(name.clone()) {
            self.report(at, format!("probe `{name}` is already running here"), None);
        }
        Some(name)
    }

    pub(crate) fn stop_probe(&mut self, at: &Cursor<'_>) -> Option<String> {
        let name = self.probe(at)?;
        if !self.running.remove(&name) && self.probes.is_some() {
            self.report(at, format!("probe `{name}` is not running here"), None);
        }
        Some(name)
    }

    /// Whether requests can be looked at; `true` when that is not known.
    pub(crate) fn has_requests(&self) -> bool {
        !self.running.is_empty() || self.probes.is_none()
    }

    // ---- faults ----

    /// Notes that a fault is in force from here on. `at` is the fault, `name_at` its name.
    pub(crate) fn inject(&mut self, at: &Cursor<'_>, name_at: &Cursor<'_>, name: &str) {
        let claims = std::mem::take(&mut self.claims);
        let mut messages = Vec::new();
        for (holder, state) in self.faults.iter().filter(|(_, state)| state.in_force) {
            for claim in claims.iter().filter(|claim| state.claims.contains(claim)) {
                messages.push(format!("{} is already {} by `{holder}`", claim.what, claim.verb));
            }
        }
        for message in messages {
            self.report(at, message, None);
        }
        if self.faults.get(name).is_some_and(|state| state.in_force) {
            self.report(name_at, format!("fault name `{name}` is already used"), None);
            return;
        }
        self.faults.insert(name.to_owned(), FaultState { claims, in_force: true });
        if let Some(parallel) = &mut self.parallel {
            parallel.insert(name.to_owned());
        }
    }

    pub(crate) fn heal(&mut self, at: &Cursor<'_>) -> Option<String> {
        let name = at.text(self.findings)?;
        if self.parallel.as_ref().is_some_and(|parallel| parallel.contains(name)) {
            let message = format!("fault `{name}` is injected and healed by the same `parallel`");
            self.report(at, message, Some("heal it after the `parallel`".to_owned()));
        }
        match self.faults.get_mut(name) {
            Some(state) if !state.in_force => {
                self.report(at, format!("fault `{name}` is already healed here"), None);
            }
            Some(state) => state.in_force = false,
            None if self.lenient => {}
            None => {
                let hint = suggest::hint(name, self.faults.keys().map(String::as_str), "faults injected");
                self.report(at, format!("fault `{name}` was not injected before"), Some(hint));
            }
        }
        Some(name.to_owned())
    }

    /// Reads a `parallel` with `read`.
    pub(crate) fn in_parallel<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let outer = self.parallel.take();
        self.parallel = Some(outer.clone().unwrap_or_default());
        let value = read(self);
        let inner = self.parallel.take().unwrap_or_default();
        self.parallel = outer.map(|mut outer| {
            outer.extend(inner);
            outer
        });
        value
    }
}

/// What is wrong with a manifest file.
fn wrong_manifest(path: &Path) -> Option<String> {
    let shown = path.display();
    if !path.is_file() {
        return Some(format!("file `{shown}` does not exist"));
    }
    match std::fs::read_to_string(path).map(|text| manifests(&text)) {
        Err(error) => Some(format!("file `{shown}` cannot be read: {error}")),
        Ok(Err(error)) => {
            let reason = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            Some(format!("file `{shown}` is no manifest: {error}{reason}"))
        }
        Ok(Ok(_)) => None,
    }
}
