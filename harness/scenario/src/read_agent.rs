//! An agent file to an [`AgentSpec`].

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path, PathBuf},
    time::Duration,
};

use crate::{
    AgentSpec, Capability, Diagnostics, FileKind, Placeholder, StopSignal,
    agent::{AgentFile, NeededCrds, Needs, Ready, Role},
    header, suggest,
    template::{Template, TemplateError},
    walk::{Cursor, Fields, Findings},
};

/// How long a program may take to become ready when its description does not say so.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// Shortest time that a program can be given.
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// Where Cilium pins its maps, and whoever follows it.
const PINS_DEFAULT: &str = "tc/globals";
/// Arguments of a command; ten times what the longest known one has.
const COMMAND_MAX: usize = 500;
/// Files, variables and other entries of one list.
const ENTRIES_MAX: usize = 100;

pub(crate) fn load(file: &Path) -> Result<AgentSpec, Diagnostics> {
    header::load(FileKind::Agent, file, read)
}

pub(crate) fn parse(text: &str, file: &Path) -> Result<AgentSpec, Diagnostics> {
    header::parse(FileKind::Agent, text, file, read)
}

/// `None` only after a finding.
fn read(findings: &mut Findings, text: &str) -> Option<AgentSpec> {
    let tree = findings.tree(text)?;
    let keys = ["apiVersion", "kind", "name", "description", "roles", "pins", "capabilities", "signals", "needs"];
    let fields = Cursor::root(&tree).fields(findings, &keys)?;
    header::check(findings, &fields, FileKind::Agent);
    let name = fields.required(findings, "name").and_then(|at| at.name(findings).map(str::to_owned));
    let description = fields.required(findings, "description").and_then(|at| at.text(findings).map(str::to_owned));
    let pins = match fields.optional("pins") {
        Some(at) => read_pins(findings, &at),
        None => Some(PathBuf::from(PINS_DEFAULT)),
    };
    let capabilities = fields.required(findings, "capabilities").map(|at| read_capabilities(findings, &at));
    let stop = read_stop(findings, &fields);
    let needs = fields.optional("needs").map_or_else(Needs::default, |at| read_needs(findings, &at));

    let roles = fields.required(findings, "roles")?.fields(findings, &["setup", "node", "exporter", "kvstoremesh"])?;
    let node = roles.required(findings, "node").and_then(|at| read_role(findings, &at, Place::Node));
    let exporter = roles.optional("exporter").map(|at| read_role(findings, &at, Place::Cluster));
    let kvstoremesh = roles.optional("kvstoremesh").map(|at| read_role(findings, &at, Place::KvstoreMesh));
    let setup = roles.optional("setup").map(|at| read_setup(findings, &at));
    Some(AgentSpec {
        name: name?,
        description: description?.trim_end().to_owned(),
        setup: transpose(setup)?,
        node: node?,
        exporter: transpose(exporter)?,
        kvstoremesh: transpose(kvstoremesh)?,
        pins: pins?,
        capabilities: capabilities?,
        stop: stop?,
        needs,
    })
}

/// `None` for one that was there and could not be read.
fn transpose<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        Some(None) => None,
        other => Some(other.flatten()),
    }
}

/// Where a program runs, which decides what placeholders mean something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// On a node.
    Node,
    /// Beside a cluster's control plane.
    Cluster,
    /// Beside a cluster's control plane, with an eye on remote clusters.
    KvstoreMesh,
    /// Nowhere yet: what the machine must have.
    Machine,
}

impl Place {
    fn has(self, placeholder: Placeholder) -> bool {
        match self {
            Self::Node => true,
            Self::Cluster => !placeholder.is_of_node(),
            Self::KvstoreMesh => !placeholder.is_of_node() || placeholder == Placeholder::Clustermesh,
            Self::Machine => placeholder == Placeholder::BinDir,
        }
    }
}

fn read_role(findings: &mut Findings, at: &Cursor<'_>, place: Place) -> Option<Role> {
    let fields = at.fields(findings, &["command", "env", "files", "ready", "timeout", "trace", "status"])?;
    let ready = fields.required(findings, "ready").and_then(|at| read_ready(findings, &at, place));
    let (command, env, files, timeout) = read_program(findings, &fields, place);
    let trace = fields.optional("trace").map(|at| read_path(findings, &at, place));
    let status = fields.optional("status").map(|at| read_command(findings, &at, place));
    Some(Role {
        command: command?,
        env,
        files,
        ready: ready?,
        timeout: timeout?,
        trace: transpose(trace)?,
        status: transpose(status)?,
    })
}

fn read_setup(findings: &mut Findings, at: &Cursor<'_>) -> Option<Role> {
    let fields = at.fields(findings, &["command", "env", "files", "timeout"])?;
    let (command, env, files, timeout) = read_program(findings, &fields, Place::Cluster);
    Some(Role { command: command?, env, files, ready: Ready::Ended, timeout: timeout?, trace: None, status: None })
}

/// What every role has: command, environment, files, time-out.
type Program = (Option<Vec<Template>>, BTreeMap<String, Template>, Vec<AgentFile>, Option<Duration>);

fn read_program(findings: &mut Findings, fields: &Fields<'_>, place: Place) -> Program {
    let command = fields.required(findings, "command").and_then(|at| read_command(findings, &at, place));
    let env = fields.optional("env").map(|at| read_env(findings, &at, place)).unwrap_or_default();
    let files = fields.optional("files").map(|at| read_files(findings, &at, place)).unwrap_or_default();
    let timeout = match fields.optional("timeout") {
        Some(at) => at.duration(findings, TIMEOUT_MIN),
        None => Some(TIMEOUT_DEFAULT),
    };
    (command, env, files, timeout)
}

fn read_command(findings: &mut Findings, at: &Cursor<'_>, place: Place) -> Option<Vec<Template>> {
    let items = limited(findings, at, COMMAND_MAX)?;
    if items.is_empty() {
        findings.report(
            at,
            "there is no program",
            Some("a command is like `[my-agent, --node, \"{node}\"]`".to_owned()),
        );
        return None;
    }
    // All of them are read, so that all findings are told.
    let read: Vec<_> = items.iter().map(|item| read_template(findings, item, place)).collect();
    read.into_iter().collect()
}

/// The items of a list that has at most `max`.
fn limited<'a>(findings: &mut Findings, at: &Cursor<'a>, max: usize) -> Option<Vec<Cursor<'a>>> {
    let items = at.items(findings)?;
    if items.len() > max {
        findings.report(at, format!("there are {} items, at most {max} can be", items.len()), None);
        return None;
    }
    Some(items)
}

fn read_env(findings: &mut Findings, at: &Cursor<'_>, place: Place) -> BTreeMap<String, Template> {
    let Some(entries) = at.entries(findings) else { return BTreeMap::new() };
    let mut env = BTreeMap::new();
    for (name, (position, value)) in entries {
        if name.is_empty() || name.contains(['=', '\0']) {
            findings.report_at(&value, position, format!("`{name}` is no name of a variable"), None);
        } else if let Some(value) = read_template(findings, &value, place) {
            env.insert(name, value);
        }
    }
    env
}

fn read_files(findings: &mut Findings, at: &Cursor<'_>, place: Place) -> Vec<AgentFile> {
    let items = limited(findings, at, ENTRIES_MAX).unwrap_or_default();
    items.iter().filter_map(|item| read_file(findings, item, place)).collect()
}

fn read_file(findings: &mut Findings, at: &Cursor<'_>, place: Place) -> Option<AgentFile> {
    let fields = at.fields(findings, &["path", "content"])?;
    let content = fields.required(findings, "content").and_then(|at| read_template(findings, &at, place));
    let path = fields.required(findings, "path").and_then(|at| read_path(findings, &at, place))?;
    Some(AgentFile { path, content: content? })
}

/// A path below the run's folder.
fn read_path(findings: &mut Findings, at: &Cursor<'_>, place: Place) -> Option<Template> {
    let path = read_template(findings, at, place)?;
    let text = at.text(findings)?;
    let below = text.strip_prefix("{state}/").or_else(|| text.strip_prefix("{runDir}/"));
    if below.is_none_or(|below| Path::new(below).components().any(|part| !matches!(part, Component::Normal(_)))) {
        let hint = "everything that belongs to a run is removed with its folder".to_owned();
        findings.report(at, format!("`{text}` is not below `{{state}}/` or `{{runDir}}/`"), Some(hint));
        return None;
    }
    Some(path)
}

fn read_ready(findings: &mut Findings, at: &Cursor<'_>, place: Place) -> Option<Ready> {
    let (kind, value) = at.variant(findings, &["notify", "http", "exec", "exists"], "ways to be ready")?;
    match kind.as_str() {
        "notify" => {
            if value.boolean(findings)? {
                return Some(Ready::Notify);
            }
            findings.report(&value, "`notify: false` says nothing about readiness", None);
            None
        }
        "http" => read_url(findings, &value, place).map(Ready::Http),
        "exec" => read_command(findings, &value, place).map(Ready::Exec),
        _ => read_template(findings, &value, place).map(Ready::Exists),
    }
}

fn read_url(findings: &mut Findings, at: &Cursor<'_>, place: Place) -> Option<Template> {
    let text = at.text(findings)?;
    if !text.starts_with("http://") {
        let hint = "an address with port, such as `http://127.0.0.1:9879/healthz`".to_owned();
        findings.report(at, format!("`{text}` is no `http://` URL"), Some(hint));
        return None;
    }
    read_template(findings, at, place)
}

fn read_template(findings: &mut Findings, at: &Cursor<'_>, place: Place) -> Option<Template> {
    let text = at.text(findings)?;
    let known = || Placeholder::ALL.into_iter().filter(|placeholder| place.has(*placeholder));
    let hint = |name: &str| suggest::hint(name, known().map(Placeholder::name), "placeholders");
    let foreign = |template: &Template| template.placeholders().find(|placeholder| !place.has(*placeholder));
    let (message, hint) = match Template::parse(text).map(|template| (foreign(&template), template)) {
        Ok((None, template)) => return Some(template),
        Ok((Some(other), _)) => (format!("`{other}` means nothing here"), hint(other.name())),
        Err(TemplateError::Unknown(name)) => (format!("unknown placeholder `{{{name}}}`"), hint(&name)),
        Err(TemplateError::Unclosed) => ("`{` without `}`".to_owned(), "write `{{` for a brace".to_owned()),
        Err(TemplateError::Unopened) => ("`}` without `{`".to_owned(), "write `}}` for a brace".to_owned()),
    };
    findings.report(at, message, Some(hint));
    None
}

fn read_pins(findings: &mut Findings, at: &Cursor<'_>) -> Option<PathBuf> {
    let text = at.text(findings)?;
    let path = PathBuf::from(text);
    if path.components().any(|part| !matches!(part, Component::Normal(_))) {
        let hint = format!("a folder of the node's bpffs is like `{PINS_DEFAULT}`");
        findings.report(at, format!("`{text}` is no path below a bpffs"), Some(hint));
        return None;
    }
    Some(path)
}

fn read_capabilities(findings: &mut Findings, at: &Cursor<'_>) -> BTreeSet<Capability> {
    let mut capabilities = BTreeSet::new();
    for item in limited(findings, at, ENTRIES_MAX).unwrap_or_default() {
        let Some(name) = item.text(findings) else { continue };
        match Capability::parse(name) {
            Some(capability) if capabilities.insert(capability) => {}
            Some(_) => findings.report(&item, format!("capability `{name}` is here twice"), None),
            None => {
                let hint = suggest::hint(name, Capability::ALL.map(Capability::name), "capabilities");
                findings.report(&item, format!("unknown capability `{name}`"), Some(hint));
            }
        }
    }
    capabilities
}

/// `None` only after a finding.
fn read_stop(findings: &mut Findings, fields: &Fields<'_>) -> Option<StopSignal> {
    let Some(signals) = fields.optional("signals") else { return Some(StopSignal::default()) };
    let fields = signals.fields(findings, &["stop"])?;
    let at = fields.required(findings, "stop")?;
    let text = at.text(findings)?;
    let found = StopSignal::ALL.into_iter().find(|(name, _)| *name == text).map(|(_, signal)| signal);
    if found.is_none() {
        let hint = suggest::hint(text, StopSignal::ALL.map(|(name, _)| name), "signals");
        findings.report(&at, format!("unknown signal `{text}`"), Some(hint));
    }
    found
}

fn read_needs(findings: &mut Findings, at: &Cursor<'_>) -> Needs {
    let mut needs = Needs::default();
    let Some(fields) = at.fields(findings, &["cgroupNamespace", "programs", "files", "crds"]) else { return needs };
    if let Some(at) = fields.optional("cgroupNamespace") {
        needs.cgroup_namespace = at.boolean(findings).unwrap_or_default();
    }
    if let Some(at) = fields.optional("programs") {
        needs.programs = read_texts(findings, &at);
    }
    for item in fields.optional("files").and_then(|at| limited(findings, &at, ENTRIES_MAX)).unwrap_or_default() {
        needs.files.extend(read_template(findings, &item, Place::Machine));
    }
    needs.crds = fields.optional("crds").and_then(|at| read_crds(findings, &at));
    needs
}

fn read_crds(findings: &mut Findings, at: &Cursor<'_>) -> Option<NeededCrds> {
    let fields = at.fields(findings, &["folder", "names"])?;
    let folder = fields.required(findings, "folder").and_then(|at| read_template(findings, &at, Place::Machine));
    let names = fields.required(findings, "names").map(|at| read_texts(findings, &at));
    Some(NeededCrds { folder: folder?, names: names? })
}

fn read_texts(findings: &mut Findings, at: &Cursor<'_>) -> Vec<String> {
    let items = limited(findings, at, ENTRIES_MAX).unwrap_or_default();
    items.iter().filter_map(|item| item.text(findings).map(str::to_owned)).collect()
}
