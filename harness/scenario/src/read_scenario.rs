//! A scenario file to a [`Scenario`].

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    Conformance, Context, Cursor, Diagnostics, FileKind, Language, MapLimits, Probe, Scenario, Term, Topology,
    conformance::ConformanceRecord,
    expand::{Expanded, Expander, Parameters, Scope},
    header,
    map_limits::MapLimitsRecord,
    probe::ProbeRecord,
    read_step,
    walk::{Fields, Findings},
};

/// Keys of a scenario file.
pub(crate) const KEYS: [&str; 14] = [
    "apiVersion",
    "kind",
    "name",
    "question",
    "description",
    "topology",
    "conformance",
    "grace",
    "deadline",
    "seed",
    "maps",
    "parameters",
    "probes",
    "steps",
];
/// Probes of a scenario.
const PROBES_MAX: usize = 100;

const GRACE_DEFAULT: Duration = Duration::from_secs(1);
const DEADLINE_DEFAULT: Duration = Duration::from_secs(30);
/// Shortest time that a step can be given to settle.
const DEADLINE_MIN: Duration = Duration::from_millis(1);

pub(crate) fn load<L: Language>(file: &Path, given: &BTreeMap<String, String>) -> Result<Scenario<L>, Diagnostics> {
    header::load(FileKind::Scenario, file, |findings, text| read(findings, text, given))
}

pub(crate) fn parse<L: Language>(
    text: &str,
    file: &Path,
    given: &BTreeMap<String, String>,
) -> Result<Scenario<L>, Diagnostics> {
    header::parse(FileKind::Scenario, text, file, |findings, text| read(findings, text, given))
}

/// `None` only after a finding.
pub(crate) fn read<L: Language>(
    findings: &mut Findings,
    text: &str,
    given: &BTreeMap<String, String>,
) -> Option<Scenario<L>> {
    let tree = findings.tree(text)?;
    let root = Cursor::root(&tree);
    let parameters = Parameters::read(findings, root.peek("parameters").as_ref());
    let values = values(findings, &root, &parameters, given);
    let mut scope = Scope::default();
    for (name, value) in &values {
        scope.bind(name, value);
    }
    let mut expander = Expander::new(findings, &header::text);
    let filled = expander.arguments(&root, &scope, &["parameters", "steps"]);
    let steps = root.peek("steps").map(|at| expander.steps(&at, &values)).unwrap_or_default();
    let used = expander.used().clone();
    parameters.report_unused(findings, &used);

    let fields = Cursor::root(&filled).fields(findings, &KEYS)?;
    header::check(findings, &fields, FileKind::Scenario);
    read_filled(findings, &fields, &steps, values)
}

/// The values of the parameters; those without one get an empty one after a finding.
fn values(
    findings: &mut Findings,
    root: &Cursor<'_>,
    parameters: &Parameters<'_>,
    given: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let (mut unknown, mut missing) = (Vec::new(), Vec::new());
    let mut values = parameters.values(
        given,
        |name, hint| unknown.push((name.to_owned(), hint)),
        |name, at| missing.push((name.to_owned(), at.clone())),
    );
    let at = root.peek("parameters").unwrap_or_else(|| root.clone());
    for (name, hint) in unknown {
        findings.report(&at, format!("unknown parameter `{name}` was given"), Some(hint));
    }
    for (name, at) in missing {
        let hint = Some("give it a value here, or from outside".to_owned());
        findings.report(&at, format!("parameter `{name}` has no value"), hint);
        values.insert(name, String::new());
    }
    values
}

/// The scenario from its fields and steps, with parameters filled in.
fn read_filled<L: Language>(
    findings: &mut Findings,
    fields: &Fields<'_>,
    steps: &[Expanded],
    parameters: BTreeMap<String, String>,
) -> Option<Scenario<L>> {
    let name = fields.required(findings, "name").and_then(|at| at.name(findings));
    let question = fields.required(findings, "question").and_then(|at| at.text(findings));
    let description = fields.optional("description").map(|at| at.text(findings).unwrap_or_default().to_owned());
    let topology = fields.required(findings, "topology").and_then(|at| read_topology(findings, &at));
    let mut duration = |key, min, default| match fields.optional(key) {
        Some(at) => at.duration(findings, min),
        None => Some(default),
    };
    let grace = duration("grace", Duration::ZERO, GRACE_DEFAULT);
    let deadline = duration("deadline", DEADLINE_MIN, DEADLINE_DEFAULT);
    fields.required(findings, "steps");

    let file = findings.file().to_path_buf();
    let mut context = Context::new(findings, topology.as_ref().map(|(_, topology)| topology));
    let seed = fields.optional("seed").map(|at| u64::read(&at, &mut context));
    let maps = fields.optional("maps").map(|at| MapLimitsRecord::read(&at, &mut context));
    let maps = maps.flatten().map_or_else(MapLimits::default, |maps| maps.within(MapLimits::default()));
    let conformance = fields.optional("conformance").map(|at| ConformanceRecord::read(&at, &mut context));
    let probes = fields.optional("probes").map_or(Some(Vec::new()), |at| read_probes(&at, &mut context));
    if probes.is_some() && fields.optional("probes").is_none() {
        context.set_probes(Some(BTreeSet::new()));
    }
    let steps = read_step::steps(steps, &mut context, maps);

    let (topology_file, topology) = topology?;
    Some(Scenario {
        file,
        name: name?.to_owned(),
        question: question?.trim_end().to_owned(),
        description,
        topology_file,
        topology,
        grace: grace?,
        deadline: deadline?,
        seed: seed.flatten(),
        slowness: 1.0,
        maps,
        conformance: conformance.flatten().map(Conformance::from),
        parameters,
        probes: probes?,
        steps,
    })
}

/// The topology that `at` names; its findings become ours.
fn read_topology(findings: &mut Findings, at: &Cursor<'_>) -> Option<(PathBuf, Topology)> {
    let file = at.folder().join(at.text(findings)?);
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

/// `None` when the list as a whole cannot be read; a probe that cannot be read is left out, but known by its name.
fn read_probes(list: &Cursor<'_>, context: &mut Context<'_>) -> Option<Vec<Probe>> {
    let items = list.items(context.findings())?;
    if items.len() > PROBES_MAX {
        context.report(list, format!("there are {} probes, at most {PROBES_MAX} can be", items.len()), None);
        return None;
    }
    let mut probes: Vec<Probe> = Vec::new();
    let mut names = BTreeSet::new();
    for item in &items {
        if let Some(name) = item.peek("name").and_then(|name| name.scalar())
            && !names.insert(name.to_owned())
        {
            context.report(item, format!("probe name `{name}` is already used"), None);
        }
        probes.extend(ProbeRecord::read(item, context).map(|probe| probe.into_probe(item.located(()))));
    }
    context.set_probes(Some(names));
    Some(probes)
}
