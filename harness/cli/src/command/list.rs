//! `meshbed list`.

use std::path::Path;

use meshbed_engine::Scenario;
use meshbed_scenario::AgentSpec;

use super::find;
use crate::{exit::Exit, printer};

pub(super) fn run() -> anyhow::Result<Exit> {
    let mut text = String::new();
    for (title, folder) in [("scenarios", "scenarios"), ("conformance cases", find::CASES)] {
        text.push_str(&format!("{title}:\n"));
        for name in find::names_in(Path::new(folder)) {
            let line = match Scenario::load(Path::new(folder).join(format!("{name}.yaml"))) {
                Ok(scenario) => scenario.question().to_owned(),
                Err(_) => "(has findings; `meshbed lint` shows them)".to_owned(),
            };
            text.push_str(&format!("  {name:<56} {line}\n"));
        }
    }
    text.push_str("topologies:\n");
    for name in find::names_in(Path::new("fixtures/topologies")) {
        text.push_str(&format!("  {name}\n"));
    }
    text.push_str("agents:\n");
    for name in find::names_in(Path::new("fixtures/agents")) {
        let spec = AgentSpec::load(Path::new("fixtures/agents").join(format!("{name}.yaml")));
        let line = spec.map_or_else(|_| "(has findings)".to_owned(), |spec| spec.description().to_owned());
        text.push_str(&format!("  {name:<56} {line}\n"));
    }
    printer::data(&text);
    Ok(Exit::Success)
}
