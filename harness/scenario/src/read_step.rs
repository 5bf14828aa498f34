//! Steps: actions and expectations, checked against the topology, the probes and the steps before.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    path::Path,
    time::Duration,
};

use mesh_types::ClusterName;
use meshbed_events::ErrorKind;

use crate::{
    Action, DeploymentKey, Expect, Fault, Located, ManifestFile, Probe, STEADY_REQUESTS_DEFAULT, Step, Topology,
    action::CLUSTER_PLACEHOLDER,
    manifests,
    read_scenario::{deployment, service, word},
    suggest,
    walk::{Cursor, Findings},
};

const ACTIONS: [&str; 7] = ["apply", "annotate", "scale", "startProbe", "stopProbe", "fault", "heal"];
const FAULTS: [&str; 1] = ["podKill"];
const EXPECTATIONS: [&str; 4] = ["answers", "errors", "failures", "endpoints"];
const ERROR_KINDS: [ErrorKind; 7] = [
    ErrorKind::Refused,
    ErrorKind::Unreachable,
    ErrorKind::NotPermitted,
    ErrorKind::Reset,
    ErrorKind::TimedOut,
    ErrorKind::Malformed,
    ErrorKind::Other,
];
/// Replicas of a deployment: what fits in a node's pod CIDR.
const REPLICAS_MAX: u64 = 250;
/// Requests of one steady window of one client.
const STEADY_REQUESTS_MAX: u64 = 1_000_000;
/// Failures allowed by `errors`.
const ERRORS_MAX: u64 = u64::MAX;
/// Shortest time that `within` can ask for.
const WITHIN_MIN: Duration = Duration::from_millis(1);

/// Reads steps in order and remembers what the earlier ones did.
pub(crate) struct StepReader<'a> {
    /// `None` when it could not be read: then no cluster is called unknown.
    clusters: Option<Vec<ClusterName>>,
    /// `None` when they could not be read: then no probe is called unknown.
    probes: Option<&'a [Probe]>,
    /// Where relative file names start.
    folder: &'a Path,
    running: BTreeSet<String>,
    /// All faults so far by name.
    faults: BTreeMap<String, FaultState>,
}

struct FaultState {
    fault: Fault,
    healed: bool,
}

impl<'a> StepReader<'a> {
    pub(crate) fn new(topology: Option<&Topology>, probes: Option<&'a [Probe]>, folder: &'a Path) -> Self {
        let names = |topology: &Topology| topology.clusters().iter().map(|cluster| cluster.name().clone()).collect();
        Self { clusters: topology.map(names), probes, folder, running: BTreeSet::new(), faults: BTreeMap::new() }
    }

    pub(crate) fn step(&mut self, findings: &mut Findings, item: &Cursor<'_>) -> Option<Step> {
        let fields = item.fields(findings, &["name", "do", "steady", "expect"])?;
        let name = fields.optional("name").and_then(|at| at.text(findings));
        let mut actions = Vec::new();
        for at in fields.optional("do").and_then(|at| at.items(findings)).unwrap_or_default() {
            if let Some(value) = self.action(findings, &at) {
                actions.push(Located { position: at.position(), value });
            }
        }
        let steady = fields.optional("steady").and_then(|at| {
            let steady = at.fields(findings, &["requests"])?;
            steady.required(findings, "requests")?.number(findings, 1, STEADY_REQUESTS_MAX)
        });
        let mut expectations = Vec::new();
        for at in fields.optional("expect").and_then(|at| at.items(findings)).unwrap_or_default() {
            if let Some(value) = self.expect(findings, &at) {
                expectations.push(Located { position: at.position(), value });
            }
        }
        let is_empty = |key| {
            let list = fields.optional(key);
            list.is_none_or(|list| list.items(&mut Findings::new(Path::new(""))).is_some_and(|list| list.is_empty()))
        };
        if is_empty("do") && is_empty("expect") {
            findings.report(item, "step is empty: it does nothing and expects nothing", None);
        }
        let name = name.map_or_else(|| default_name(&actions), str::to_owned);
        let steady = steady.and_then(|requests| u32::try_from(requests).ok());
        Some(Step {
            name,
            position: item.position(),
            actions,
            steady_requests: steady.unwrap_or(STEADY_REQUESTS_DEFAULT),
            expectations,
        })
    }

    fn action(&mut self, findings: &mut Findings, item: &Cursor<'_>) -> Option<Action> {
        let (key, at) = item.variant(findings, &ACTIONS, "actions")?;
        match key.as_str() {
            "apply" => self.apply(findings, &at),
            "annotate" => self.annotate(findings, &at),
            "scale" => self.scale(findings, &at),
            "startProbe" => {
                let Some(name) = self.probe(findings, &at) else {
                    // Some probe was meant to run: what looks at probes later is not to blame.
                    self.running.insert(String::new());
                    return None;
                };
                if !self.running.insert(name.clone()) {
                    findings.report(&at, format!("probe `{name}` is already running here"), None);
                }
                Some(Action::StartProbe(name))
            }
            "stopProbe" => {
                let name = self.probe(findings, &at)?;
                if !self.running.remove(&name) {
                    findings.report(&at, format!("probe `{name}` is not running here"), None);
                }
                Some(Action::StopProbe(name))
            }
            "fault" => self.fault(findings, &at),
            "heal" => self.heal(findings, &at),
            other => unreachable!("`{other}` is not one of the known actions"),
        }
    }

    fn apply(&self, findings: &mut Findings, at: &Cursor<'_>) -> Option<Action> {
        let fields = at.fields(findings, &["clusters", "files"])?;
        let clusters = fields.required(findings, "clusters").and_then(|at| self.clusters(findings, &at));
        let mut files = Vec::new();
        let list = fields.required(findings, "files")?;
        let items = list.items(findings)?;
        if items.is_empty() {
            findings.report(&list, "there is no file, at least one is needed", None);
        }
        for at in items {
            let Some(written) = at.text(findings) else { continue };
            let rest = written.replace(CLUSTER_PLACEHOLDER, "");
            if rest.contains(['{', '}']) {
                let hint = Some(format!("`{CLUSTER_PLACEHOLDER}` stands for the name of each cluster"));
                findings.report(&at, format!("`{written}` has an unknown placeholder"), hint);
                continue;
            }
            let file = ManifestFile { written: written.to_owned(), folder: self.folder.to_path_buf() };
            let paths: BTreeSet<_> = clusters.iter().flatten().map(|cluster| file.path(cluster)).collect();
            for path in &paths {
                check_manifest(findings, &at, path);
            }
            files.push(file);
        }
        Some(Action::Apply { clusters: clusters?, files })
    }

    fn annotate(&self, findings: &mut Findings, at: &Cursor<'_>) -> Option<Action> {
        let fields = at.fields(findings, &["clusters", "service", "set", "remove"])?;
        let clusters = fields.required(findings, "clusters").and_then(|at| self.clusters(findings, &at));
        let service = fields.required(findings, "service").and_then(|at| service(findings, &at));
        let mut set = BTreeMap::new();
        for (key, (_, value)) in fields.optional("set").and_then(|at| at.entries(findings)).unwrap_or_default() {
            if let Some(text) = value.text(findings) {
                set.insert(key, text.to_owned());
            }
        }
        let mut remove = BTreeSet::new();
        for at in fields.optional("remove").and_then(|at| at.items(findings)).unwrap_or_default() {
            let Some(key) = at.text(findings) else { continue };
            if set.contains_key(key) {
                findings.report(&at, format!("annotation `{key}` is set and removed by the same action"), None);
            }
            remove.insert(key.to_owned());
        }
        if fields.optional("set").is_none() && remove.is_empty() {
            findings.report(at, "nothing to annotate: expected `set`, `remove` or both", None);
        }
        Some(Action::Annotate { clusters: clusters?, service: service?, set, remove })
    }

    fn scale(&self, findings: &mut Findings, at: &Cursor<'_>) -> Option<Action> {
        let fields = at.fields(findings, &["clusters", "deployment", "replicas"])?;
        let clusters = fields.required(findings, "clusters").and_then(|at| self.clusters(findings, &at));
        let deployment = fields.required(findings, "deployment").and_then(|at| deployment(findings, &at));
        let replicas = fields.required(findings, "replicas")?.number(findings, 0, REPLICAS_MAX)?;
        let replicas = u32::try_from(replicas).expect("the range was checked");
        Some(Action::Scale { clusters: clusters?, deployment: deployment?, replicas })
    }

    fn fault(&mut self, findings: &mut Findings, at: &Cursor<'_>) -> Option<Action> {
        let fields = at.fields(findings, &[FAULTS.as_slice(), &["as"]].concat())?;
        let name = fields.required(findings, "as").and_then(|at| Some((at.clone(), at.name(findings)?.to_owned())));
        let Some(kill) = fields.optional("podKill") else {
            findings.report(at, "kind of fault is missing", Some(suggest::hint("", FAULTS, "faults")));
            return None;
        };
        let kill = kill.fields(findings, &["clusters", "deployment"])?;
        let clusters = kill.required(findings, "clusters").and_then(|at| self.clusters(findings, &at));
        let target = kill.required(findings, "deployment").and_then(|at| deployment(findings, &at));
        let (name_at, name) = name?;
        let fault = clusters.zip(target).map(|(clusters, deployment)| Fault::PodKill { clusters, deployment });
        if let Some(fault) = &fault {
            self.check_not_killed(findings, at, fault);
        }
        if self.faults.contains_key(&name) {
            findings.report(&name_at, format!("fault name `{name}` is already used"), None);
        } else {
            // A fault that could not be read is known by name all the same: its `heal` is not wrong.
            let nothing = DeploymentKey { namespace: String::new(), name: String::new() };
            let fault = fault.clone().unwrap_or(Fault::PodKill { clusters: Vec::new(), deployment: nothing });
            self.faults.insert(name.clone(), FaultState { fault, healed: false });
        }
        Some(Action::Fault { name, fault: fault? })
    }

    /// Two kills of the same pods could not be healed one by one.
    fn check_not_killed(&self, findings: &mut Findings, at: &Cursor<'_>, fault: &Fault) {
        let Fault::PodKill { clusters, deployment } = fault;
        for (name, state) in self.faults.iter().filter(|(_, state)| !state.healed) {
            let Fault::PodKill { clusters: killed, deployment: other } = &state.fault;
            for cluster in clusters.iter().filter(|cluster| other == deployment && killed.contains(cluster)) {
                findings.report(at, format!("`{deployment}` of `{cluster}` is already killed by `{name}`"), None);
            }
        }
    }

    fn heal(&mut self, findings: &mut Findings, at: &Cursor<'_>) -> Option<Action> {
        let name = at.text(findings)?;
        match self.faults.get_mut(name) {
            Some(state) if state.healed => {
                findings.report(at, format!("fault `{name}` is already healed here"), None);
            }
            Some(state) => state.healed = true,
            None => {
                let known = self.faults.keys().map(String::as_str);
                let hint = suggest::hint(name, known, "faults injected");
                findings.report(at, format!("fault `{name}` was not injected before"), Some(hint));
            }
        }
        Some(Action::Heal(name.to_owned()))
    }

    fn expect(&self, findings: &mut Findings, item: &Cursor<'_>) -> Option<Expect> {
        let (key, at) = item.variant(findings, &EXPECTATIONS, "expectations")?;
        if key != "endpoints" && self.running.is_empty() && self.probes.is_some() {
            let hint = Some("start one with `startProbe` in this step or before".to_owned());
            findings.report(item, format!("`{key}` has nothing to look at: no probe is running"), hint);
        }
        match key.as_str() {
            "answers" => {
                let fields = at.fields(findings, &["in", "from"])?;
                let in_ = fields.required(findings, "in").and_then(|at| self.cluster(findings, &at));
                let from = fields.required(findings, "from").and_then(|at| self.clusters(findings, &at));
                Some(Expect::Answers { in_: in_?, from: from?.into_iter().collect() })
            }
            "errors" => {
                let fields = at.fields(findings, &["max"])?;
                let max = fields.required(findings, "max")?.number(findings, 0, ERRORS_MAX)?;
                Some(Expect::Errors { max })
            }
            "failures" => self.failures(findings, &at),
            "endpoints" => {
                let fields = at.fields(findings, &["in", "service", "from"])?;
                let in_ = fields.required(findings, "in").and_then(|at| self.cluster(findings, &at));
                let service = fields.required(findings, "service").and_then(|at| service(findings, &at));
                let from = fields.required(findings, "from").and_then(|at| self.cluster_list(findings, &at));
                Some(Expect::Endpoints { in_: in_?, service: service?, from: from?.into_iter().collect() })
            }
            other => unreachable!("`{other}` is not one of the known expectations"),
        }
    }

    fn failures(&self, findings: &mut Findings, at: &Cursor<'_>) -> Option<Expect> {
        let fields = at.fields(findings, &["in", "kinds", "within"])?;
        let in_ = fields.required(findings, "in").and_then(|at| self.cluster(findings, &at));
        let within = fields.required(findings, "within").and_then(|at| at.duration(findings, WITHIN_MIN));
        let list = fields.required(findings, "kinds")?;
        let items = list.items(findings)?;
        if items.is_empty() {
            findings.report(&list, "there is no kind, at least one is needed", None);
        }
        let known = || ERROR_KINDS.iter().map(|kind| (kind.as_str(), *kind));
        let kinds = items.iter().filter_map(|at| word(findings, at, known(), "kind")).collect();
        Some(Expect::Failures { in_: in_?, kinds, within: within? })
    }

    /// One cluster of the topology.
    fn cluster(&self, findings: &mut Findings, at: &Cursor<'_>) -> Option<ClusterName> {
        let text = at.text(findings)?;
        let Some(known) = &self.clusters else { return ClusterName::new(text).ok() };
        let found = known.iter().find(|name| name.as_str() == text);
        if found.is_none() {
            let hint = suggest::hint(text, known.iter().map(ClusterName::as_str), "clusters");
            findings.report(at, format!("unknown cluster `{text}`"), Some(hint));
        }
        found.cloned()
    }

    /// Clusters of the topology, each once; may be empty.
    fn cluster_list(&self, findings: &mut Findings, at: &Cursor<'_>) -> Option<Vec<ClusterName>> {
        let mut clusters = Vec::new();
        for item in at.items(findings)? {
            let Some(cluster) = self.cluster(findings, &item) else { continue };
            if clusters.contains(&cluster) {
                findings.report(&item, format!("cluster `{cluster}` is here twice"), None);
            } else {
                clusters.push(cluster);
            }
        }
        Some(clusters)
    }

    /// Clusters of the topology, each once, at least one.
    fn clusters(&self, findings: &mut Findings, at: &Cursor<'_>) -> Option<Vec<ClusterName>> {
        let clusters = self.cluster_list(findings, at)?;
        if at.items(findings)?.is_empty() {
            findings.report(at, "there is no cluster, at least one is needed", None);
        }
        Some(clusters)
    }

    fn probe(&self, findings: &mut Findings, at: &Cursor<'_>) -> Option<String> {
        let text = at.text(findings)?;
        if let Some(probes) = self.probes
            && !probes.iter().any(|probe| probe.name == text)
        {
            let hint = suggest::hint(text, probes.iter().map(|probe| probe.name.as_str()), "probes");
            findings.report(at, format!("unknown probe `{text}`"), Some(hint));
            return None;
        }
        Some(text.to_owned())
    }
}

/// Whether the file is there and holds Kubernetes objects.
fn check_manifest(findings: &mut Findings, at: &Cursor<'_>, path: &Path) {
    if !path.is_file() {
        findings.report(at, format!("file `{}` does not exist", path.display()), None);
        return;
    }
    match std::fs::read_to_string(path) {
        Err(error) => findings.report(at, format!("file `{}` cannot be read: {error}", path.display()), None),
        Ok(text) => {
            if let Err(error) = manifests(&text) {
                let reason = error.source().map(|source| format!(": {source}")).unwrap_or_default();
                findings.report(at, format!("file `{}` is no manifest: {error}{reason}", path.display()), None);
            }
        }
    }
}

fn default_name(actions: &[Located<Action>]) -> String {
    if actions.is_empty() {
        return "look".to_owned();
    }
    actions.iter().map(|action| action.value.to_string()).collect::<Vec<_>>().join(", then ")
}
