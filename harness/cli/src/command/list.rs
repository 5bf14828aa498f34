//! `meshbed list`.

use std::path::Path;

use meshbed_engine::Scenario;
use meshbed_scenario::{AgentSpec, Topology};

use super::find;
use crate::{
    exit::{Exit, usage},
    printer,
};

pub(super) fn run() -> anyhow::Result<Exit> {
    let mut text = section("scenarios", find::SCENARIOS, question);
    for name in other_folders() {
        text.push_str(&section(&name, &format!("{}/{name}", find::SCENARIOS), question));
    }
    text.push_str(&section("conformance cases", find::CASES, question));
    text.push_str(&section("topologies", "fixtures/topologies", topology));
    text.push_str(&section("agents", "fixtures/agents", agent));
    if text.is_empty() {
        return Err(usage("there are no scenarios here", "run this below the project's folder"));
    }
    printer::data(&text);
    Ok(Exit::Success)
}

/// Names of the folders of scenarios, but for that of the conformance suite.
fn other_folders() -> Vec<String> {
    let folders = find::folder(find::SCENARIOS).map(|folder| find::folders_in(&folder)).unwrap_or_default();
    let names = folders.iter().filter_map(|folder| Some(folder.file_name()?.to_str()?.to_owned()));
    names.filter(|name| name != find::CASES_NAME).collect()
}

/// All files of a folder, each with what `describe` says of it; nothing when there is no such folder.
fn section(title: &str, folder: &str, describe: impl Fn(&Path) -> Option<String>) -> String {
    let Some(folder) = find::folder(folder) else { return String::new() };
    let mut text = format!("{title}:\n");
    for name in find::names_in(&folder) {
        let line = describe(&folder.join(format!("{name}.yaml")));
        text.push_str(&format!("  {name:<56} {}\n", line.as_deref().unwrap_or(BROKEN)));
    }
    text
}

/// What is said of a file that cannot be used.
const BROKEN: &str = "(has findings; `meshbed lint` shows them)";

fn question(file: &Path) -> Option<String> {
    Scenario::load(file).ok().map(|scenario| scenario.question().to_owned())
}

fn topology(file: &Path) -> Option<String> {
    let topology = Topology::load(file).ok()?;
    let clusters = topology.clusters().iter();
    let words = clusters.map(|cluster| format!("{} ({} nodes)", cluster.name(), cluster.nodes().len()));
    Some(words.collect::<Vec<_>>().join(", "))
}

fn agent(file: &Path) -> Option<String> {
    AgentSpec::load(file).ok().map(|spec| spec.description().to_owned())
}
