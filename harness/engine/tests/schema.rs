//! The language that this engine speaks: every scenario of the repository is in it, and so is the schema that is checked
//! in.

use std::path::{Path, PathBuf};

use meshbed_engine::{Mesh, Scenario};
use meshbed_scenario::{FileKind, Json, lint, schema, steps_schema};

/// Scenarios, their parts, and what they run on.
const FOLDERS: [&str; 2] = ["../../scenarios", "../../fixtures"];

/// All YAML files of the project below the folders.
fn files() -> Vec<(PathBuf, String)> {
    let mut waiting: Vec<PathBuf> = FOLDERS.iter().map(PathBuf::from).collect();
    let mut files = Vec::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()));
            waiting.extend(entries.map(|entry| entry.expect("an entry can be read").path()));
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path).expect("it is there");
            if meshbed_scenario::is_ours(&text) {
                files.push((path, text));
            }
        }
    }
    files.sort();
    assert!(files.len() > 10, "there are more files: {files:?}");
    files
}

#[test]
fn every_file_is_without_findings() {
    let findings: Vec<String> =
        files().iter().filter_map(|(path, _)| lint::<Mesh>(path).err()).map(|found| found.to_string()).collect();
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

#[test]
fn every_scenario_is_called_like_its_file() {
    for (path, _) in files().iter().filter(|(path, _)| lint::<Mesh>(path) == Ok(FileKind::Scenario)) {
        let scenario = Scenario::load(path).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
        assert_eq!(Some(scenario.name()), path.file_stem().and_then(|stem| stem.to_str()), "`{}`", path.display());
    }
}

#[test]
fn every_file_is_valid_by_the_schema() {
    let schema_of = |schema: &Json| jsonschema::validator_for(schema).expect("the schema is one");
    let (scenario, steps) = (schema_of(&schema::<Mesh>()), schema_of(&steps_schema::<Mesh>()));
    let (topology, agent) =
        (schema_of(&meshbed_scenario::topology_schema()), schema_of(&meshbed_scenario::agent_schema()));
    let kernels = schema_of(&meshbed_scenario::kernels_schema());
    for (path, text) in files() {
        let value: Json = serde_saphyr::from_str(&text).expect("it is YAML");
        let validator = match value["kind"].as_str() {
            Some("Scenario") => &scenario,
            Some("Steps") => &steps,
            Some("Topology") => &topology,
            Some("Agent") => &agent,
            Some("Kernels") => &kernels,
            other => panic!("`{}`: unknown kind {other:?}", path.display()),
        };
        let errors: Vec<String> =
            validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "`{}`: {errors:#?}", path.display());
    }
}

#[test]
fn the_checked_in_schemas_are_those_of_the_code() {
    for (kind, schema) in [("scenario", schema::<Mesh>()), ("steps", steps_schema::<Mesh>())] {
        let file = format!("../scenario/schema/{kind}.json");
        let checked_in = std::fs::read_to_string(Path::new(&file)).unwrap_or_default();
        let current = serde_json::to_string_pretty(&schema).expect("it is JSON") + "\n";
        let command = format!("`meshbed schema {kind} > harness/scenario/schema/{kind}.json`");
        assert!(checked_in == current, "`{kind}.json` is out of date; {command} makes it new");
    }
}
