//! JSON Schemas say what the readers say: about the files of the repository, about broken ones, and about keys.

use std::path::Path;

use meshbed_scenario::{
    AgentSpec, Diagnostics, Json, Kernels, Topology, agent_schema, kernels_schema, schema, steps_schema,
    topology_schema,
};
use test_case::test_case;

use crate::language::{Scenario, Small};

fn yaml(file: &str) -> Json {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("`{file}`: {error}"));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("`{file}`: {error}"))
}

fn errors(schema: &Json, value: &Json) -> Vec<String> {
    let validator = jsonschema::validator_for(schema).expect("the schema is one");
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test_case("topology", &topology_schema())]
#[test_case("agent", &agent_schema())]
#[test_case("kernels", &kernels_schema())]
fn the_checked_in_schema_is_that_of_the_code(kind: &str, schema: &Json) {
    let file = format!("schema/{kind}.json");
    let checked_in = std::fs::read_to_string(&file).unwrap_or_default();
    let current = serde_json::to_string_pretty(schema).expect("it is JSON") + "\n";
    let command = format!("`meshbed schema {kind} > harness/scenario/{file}`");
    assert!(checked_in == current, "`{file}` is out of date; {command} makes it new");
}

#[test_case("../../fixtures/topologies/two-clusters.yaml", &topology_schema())]
#[test_case("../../fixtures/topologies/three-clusters.yaml", &topology_schema())]
#[test_case("../../fixtures/topologies/mixed-kernels.yaml", &topology_schema())]
#[test_case("../../fixtures/agents/mesh-agent.yaml", &agent_schema())]
#[test_case("../../fixtures/agents/cilium.yaml", &agent_schema())]
#[test_case("../../fixtures/agents/static.yaml", &agent_schema())]
#[test_case("../../fixtures/kernels.yaml", &kernels_schema())]
#[test_case("../../scenarios/failover.yaml", &schema::<Small>())]
#[test_case("tests/blocks/scenario.yaml", &schema::<Small>())]
#[test_case("tests/blocks/fail.yaml", &steps_schema::<Small>())]
fn valid_files_are_valid(file: &str, schema: &Json) {
    assert_eq!(errors(schema, &yaml(file)), Vec::<String>::new());
}

#[test_case("tests/broken/topology.yaml", &topology_schema(), 10)]
#[test_case("tests/broken/agent.yaml", &agent_schema(), 8)]
#[test_case("tests/broken/kernels.yaml", &kernels_schema(), 4)]
#[test_case("tests/broken/scenario.yaml", &schema::<Small>(), 8)]
#[test_case("tests/broken/blocks.yaml", &schema::<Small>(), 8)]
fn broken_files_are_broken(file: &str, schema: &Json, at_least: usize) {
    // Keys that stand twice are no matter of schemas, and cannot be read without an error.
    let text = std::fs::read_to_string(file).expect("it is there");
    let mut keys = std::collections::BTreeSet::new();
    let text: Vec<&str> = text
        .lines()
        .filter(|line| {
            let new_item = line.trim_start().starts_with("- ");
            if new_item {
                keys.clear();
            }
            new_item || keys.insert(line.split(": ").next().unwrap_or(line).to_owned())
        })
        .collect();
    let value: Json = serde_saphyr::from_str(&text.join("\n")).expect("it is YAML");
    let errors = errors(schema, &value);
    assert!(errors.len() >= at_least, "{}: {errors:#?}", errors.len());
}

/// The keys that a reader knows at the top, from what it says about one that it does not.
fn known_keys(read: impl FnOnce(&str) -> Option<Diagnostics>) -> Vec<String> {
    let diagnostics = read("no-such-key-anywhere: 1\n").expect("a key is unknown");
    let hint = diagnostics.findings.iter().find_map(|finding| finding.hint.as_deref()?.strip_prefix("keys here: "));
    let keys = hint.expect("all keys are told").split(", ");
    keys.map(|key| key.trim_matches('`').to_owned()).collect()
}

fn properties(schema: &Json) -> Vec<String> {
    schema["properties"].as_object().expect("it is a mapping").keys().cloned().collect()
}

#[test_case(&topology_schema(), &known_keys(|text| Topology::parse(text, "t.yaml").err()))]
#[test_case(&agent_schema(), &known_keys(|text| AgentSpec::parse(text, "t.yaml").err()))]
#[test_case(&kernels_schema(), &known_keys(|text| Kernels::parse(text, "t.yaml").err()))]
#[test_case(&schema::<Small>(), &known_keys(|text| Scenario::parse(text, "t.yaml").err()))]
fn readers_and_schemas_know_the_same_keys(schema: &Json, known: &[String]) {
    let (mut properties, mut known) = (properties(schema), known.to_vec());
    properties.sort();
    known.sort();
    assert_eq!(properties, known);
}

/// What readers of other languages would do with a schema: every description is a sentence, every key has one.
#[test_case(&topology_schema())]
#[test_case(&agent_schema())]
#[test_case(&kernels_schema())]
#[test_case(&schema::<Small>())]
#[test_case(&steps_schema::<Small>())]
fn everything_is_described(schema: &Json) {
    fn check(schema: &Json, path: &str) {
        if let Some(properties) = schema.get("properties").and_then(Json::as_object) {
            for (key, property) in properties {
                let path = format!("{path}.{key}");
                let doc = property["description"].as_str().unwrap_or_else(|| panic!("{path} has no description"));
                assert!(doc.ends_with(['.', '`']) && !doc.contains('\n'), "{path}: {doc}");
            }
        }
        match schema {
            Json::Object(fields) => fields.iter().for_each(|(key, value)| check(value, &format!("{path}.{key}"))),
            Json::Array(items) => items.iter().for_each(|item| check(item, path)),
            _ => {}
        }
    }
    check(schema, "");
    assert!(Path::new("schema").is_dir());
}
