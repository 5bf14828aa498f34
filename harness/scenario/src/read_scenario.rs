//! A scenario file to a [`Scenario`].

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use mesh_types::ServiceKey;

use crate::{
    DeploymentKey, Diagnostics, FileKind, Probe, Scenario, Topology, header,
    read_step::StepReader,
    suggest,
    walk::{Cursor, Findings},
};

/// Requests a second of one client: what one core can send on fresh connections.
const RATE_MAX: u64 = 10_000;
/// Probes of a scenario.
const PROBES_MAX: usize = 100;
/// Steps of a scenario.
const STEPS_MAX: usize = 1_000;

const GRACE_DEFAULT: Duration = Duration::from_secs(1);
const DEADLINE_DEFAULT: Duration = Duration::from_secs(30);
const RATE_DEFAULT: u64 = 200;
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(1);
/// The smallest time that can be told from zero here.
const TINY: Duration = Duration::from_millis(1);

pub(crate) fn load(file: &Path) -> Result<Scenario, Diagnostics> {
    let mut findings = Findings::new(file);
    let scenario = header::read(&mut findings, file).and_then(|text| read(&mut findings, &text, file));
    finish(file, findings, scenario)
}

pub(crate) fn parse(text: &str, file: &Path) -> Result<Scenario, Diagnostics> {
    let mut findings = Findings::new(file);
    let scenario = read(&mut findings, text, file);
    finish(file, findings, scenario)
}

fn finish(file: &Path, findings: Findings, scenario: Option<Scenario>) -> Result<Scenario, Diagnostics> {
    match scenario {
        Some(scenario) if findings.is_empty() => Ok(scenario),
        _ => Err(Diagnostics::new(FileKind::Scenario, file, findings.into_list())),
    }
}

/// `None` only after a finding.
fn read(findings: &mut Findings, text: &str, file: &Path) -> Option<Scenario> {
    let tree = findings.tree(text)?;
    let keys = ["apiVersion", "kind", "name", "question", "topology", "grace", "deadline", "probes", "steps"];
    let fields = Cursor::root(&tree).fields(findings, &keys)?;
    header::check(findings, &fields, FileKind::Scenario);
    let folder = file.parent().unwrap_or(Path::new(""));

    let name = fields.required(findings, "name").and_then(|at| at.name(findings));
    let question = fields.required(findings, "question").and_then(|at| at.text(findings));
    let topology = fields.required(findings, "topology").and_then(|at| read_topology(findings, &at, folder));
    let mut duration = |key, min, default| match fields.optional(key) {
        Some(at) => at.duration(findings, min),
        None => Some(default),
    };
    let grace = duration("grace", Duration::ZERO, GRACE_DEFAULT);
    let deadline = duration("deadline", TINY, DEADLINE_DEFAULT);
    let probes = fields.optional("probes").map_or(Some(Vec::new()), |at| read_probes(findings, &at));

    let list = fields.required(findings, "steps")?;
    let items = list.items(findings)?;
    if items.is_empty() {
        findings.report(&list, "there is no step, at least one is needed", None);
    }
    if items.len() > STEPS_MAX {
        findings.report(&list, format!("there are {} steps, at most {STEPS_MAX} can be", items.len()), None);
        return None;
    }
    let mut reader = StepReader::new(topology.as_ref().map(|(_, topology)| topology), probes.as_deref(), folder);
    let steps: Vec<_> = items.iter().filter_map(|item| reader.step(findings, item)).collect();

    let (topology_file, topology) = topology?;
    Some(Scenario {
        file: file.to_path_buf(),
        name: name?.to_owned(),
        question: question?.to_owned(),
        topology_file,
        topology,
        grace: grace?,
        deadline: deadline?,
        probes: probes?,
        steps,
    })
}

/// The topology that `at` names; its findings become ours.
fn read_topology(findings: &mut Findings, at: &Cursor<'_>, folder: &Path) -> Option<(PathBuf, Topology)> {
    let file = folder.join(at.text(findings)?);
    if !file.is_file() {
        findings.report(at, format!("file `{}` does not exist", file.display()), None);
        return None;
    }
    match Topology::load(&file) {
        Ok(topology) => Some((file, topology)),
        Err(diagnostics) => {
            findings.add(diagnostics.findings);
            None
        }
    }
}

/// `None` when the list as a whole cannot be read; a probe that cannot be read is left out.
fn read_probes(findings: &mut Findings, list: &Cursor<'_>) -> Option<Vec<Probe>> {
    let items = list.items(findings)?;
    if items.len() > PROBES_MAX {
        findings.report(list, format!("there are {} probes, at most {PROBES_MAX} can be", items.len()), None);
        return None;
    }
    let mut probes: Vec<Probe> = Vec::new();
    for item in &items {
        let Some(probe) = read_probe(findings, item) else { continue };
        if probes.iter().any(|other| other.name == probe.name) {
            findings.report(item, format!("probe name `{}` is already used", probe.name), None);
        }
        probes.push(probe);
    }
    Some(probes)
}

/// `None` only without a name: with one, steps may refer to it, whatever else is wrong.
fn read_probe(findings: &mut Findings, item: &Cursor<'_>) -> Option<Probe> {
    let fields = item.fields(findings, &["name", "from", "to", "rate", "timeout"])?;
    let name = fields.required(findings, "name").and_then(|at| at.name(findings));
    let from = fields.required(findings, "from").and_then(|at| {
        let from = at.fields(findings, &["deployment"])?;
        let name = from.required(findings, "deployment")?;
        deployment(findings, &name)
    });
    let to = fields.required(findings, "to").and_then(|at| {
        let to = at.fields(findings, &["service", "port"])?;
        let target = to.required(findings, "service").and_then(|at| service(findings, &at));
        let port = to.required(findings, "port").and_then(|at| at.number(findings, 1, u16::MAX.into()));
        target.zip(port)
    });
    let rate = fields.optional("rate").map_or(Some(RATE_DEFAULT), |at| at.number(findings, 1, RATE_MAX));
    let timeout = fields.optional("timeout").map_or(Some(TIMEOUT_DEFAULT), |at| at.duration(findings, TINY));

    // Values that could not be read have been reported: what stands in for them is never seen.
    let (service, port) = to.unwrap_or_else(|| (ServiceKey::new("", ""), 0));
    let rate = u32::try_from(rate.unwrap_or(RATE_DEFAULT)).ok().and_then(NonZeroU32::new);
    Some(Probe {
        name: name?.to_owned(),
        from: from.unwrap_or_else(|| DeploymentKey { namespace: String::new(), name: String::new() }),
        service,
        port: u16::try_from(port).expect("the range was checked"),
        rate: rate.expect("the range was checked"),
        timeout: timeout.unwrap_or(TIMEOUT_DEFAULT),
        position: item.position(),
    })
}

/// `name` or `namespace/name`.
pub(crate) fn service(findings: &mut Findings, at: &Cursor<'_>) -> Option<ServiceKey> {
    let (namespace, name) = namespaced(findings, at)?;
    Some(ServiceKey { namespace, name })
}

/// `name` or `namespace/name`.
pub(crate) fn deployment(findings: &mut Findings, at: &Cursor<'_>) -> Option<DeploymentKey> {
    let (namespace, name) = namespaced(findings, at)?;
    Some(DeploymentKey { namespace, name })
}

fn namespaced(findings: &mut Findings, at: &Cursor<'_>) -> Option<(String, String)> {
    let text = at.text(findings)?;
    let (namespace, name) = text.split_once('/').unwrap_or(("default", text));
    let label = |part: &str| {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !part.is_empty() && part.chars().all(allowed) && !part.starts_with('-') && !part.ends_with('-')
    };
    if !label(namespace) || !label(name) {
        let hint = "write `name` or `namespace/name`, of lower-case letters, digits and `-`".to_owned();
        findings.report(at, format!("`{text}` is no name of a Kubernetes object"), Some(hint));
        return None;
    }
    Some((namespace.to_owned(), name.to_owned()))
}

/// One of the words `known`.
pub(crate) fn word<'a, T: Copy>(
    findings: &mut Findings,
    at: &Cursor<'_>,
    known: impl Iterator<Item = (&'a str, T)>,
    one: &str,
) -> Option<T> {
    let text = at.text(findings)?;
    let known: Vec<(&str, T)> = known.collect();
    if let Some((_, value)) = known.iter().find(|(word, _)| *word == text) {
        return Some(*value);
    }
    let hint = suggest::hint(text, known.iter().map(|(word, _)| *word), &format!("{one}s"));
    findings.report(at, format!("unknown {one} `{text}`"), Some(hint));
    None
}
