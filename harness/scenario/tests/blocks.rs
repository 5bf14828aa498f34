//! Blocks, parameters, and what becomes of them.

use std::{collections::BTreeMap, path::Path};

use meshbed_scenario::{FileKind, Finding, Level, MapLimits, Profile, Settle, lint, lint_text};
use test_case::test_case;

use crate::language::{Scenario, Small};

const FILE: &str = "tests/blocks/scenario.yaml";

fn given(parameters: &[(&str, &str)]) -> BTreeMap<String, String> {
    parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn blocks_become_steps() {
    let scenario = Scenario::load(FILE).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    insta::assert_snapshot!(scenario.plan());
}

#[test]
fn the_head_is_typed() {
    let scenario = Scenario::load(FILE).expect("it is valid");
    assert_eq!((scenario.seed(), scenario.description()), (Some(7), Some("Only read, never run.")));
    let half = std::time::Duration::from_millis(500);
    let limits = MapLimits { stale_max: Some(half), missing_max: None };
    assert_eq!(scenario.maps(), limits);
    let two = std::time::Duration::from_secs(2);
    let round = scenario.steps().iter().find(|step| step.name.starts_with("round")).expect("it is there");
    assert_eq!(round.maps, Some(MapLimits { missing_max: Some(two), ..limits }), "what a step does not say stays");
    assert_eq!(round.settle, Settle::No);
    let conformance = scenario.conformance().expect("it is a case");
    assert_eq!(conformance.profiles, [Profile::Core, Profile::Affinity]);
    assert_eq!((conformance.level, conformance.issue.as_deref()), (Level::Optional, Some("cilium#19217")));
    let y_wing = scenario.probe("y-wing").expect("it is there");
    let asks = |cluster: &str| y_wing.asks_from(&cluster.parse().expect("a name"));
    assert_eq!((asks("alpha"), asks("beta")), (false, true));
}

#[test]
fn parameters_can_be_given() {
    let scenario = Scenario::load_with(FILE, &given(&[("rate", "5"), ("mesh", "three-clusters")])).expect("valid");
    assert_eq!(scenario.probe("y-wing").expect("it is there").rate.get(), 5);
    assert_eq!(scenario.topology().clusters().len(), 3);
    assert_eq!(scenario.parameters()["service"], "rebel-base", "the others are as in the file");
}

#[test_case(&[("rat", "5")] => "unknown parameter `rat` was given" ; "unknown")]
#[test_case(&[("rate", "many")] => "expected a whole number, found the text `many0`" ; "of the wrong type")]
#[test_case(&[("mesh", "no-clusters")] => "file `tests/blocks/../../../../fixtures/topologies/no-clusters.yaml` does not exist" ; "no file")]
fn parameters_that_are_no_good(parameters: &[(&str, &str)]) -> String {
    let diagnostics = Scenario::load_with(FILE, &given(parameters)).expect_err("it is no good");
    diagnostics.findings[0].message.clone()
}

#[test]
fn broken_blocks() {
    let diagnostics = Scenario::load("tests/broken/blocks.yaml").expect_err("it is broken");
    insta::assert_snapshot!(diagnostics);
}

#[test]
fn parameters_in_braces_want_quotes() {
    let text = "apiVersion: meshbed.dev/v1alpha1\nsteps:\n- do: [{scale: {replicas: ${replicas}}}]\n";
    let diagnostics = Scenario::parse(text, "t.yaml").expect_err("it is no YAML");
    insta::assert_snapshot!(diagnostics, @r#"
    error: invalid scenario `t.yaml`
      --> 3:28  not YAML: while parsing a flow mapping, did not find expected ',' or '}'
                hint: inside of `{…}` and `[…]`, YAML wants quotes: `"${name}"`
    "#);
}

/// A scenario with these steps.
fn findings(steps: &str) -> Vec<Finding> {
    let head = "apiVersion: meshbed.dev/v1alpha1\nkind: Scenario\nname: t\nquestion: q?\n\
                topology: ../../../../fixtures/topologies/two-clusters.yaml\n";
    match Scenario::parse(&format!("{head}{steps}"), "tests/broken/inline.yaml") {
        Ok(_) => Vec::new(),
        Err(diagnostics) => diagnostics.findings,
    }
}

#[test]
fn what_is_repeated_is_told_once() {
    let found = findings("steps: [{repeat: {times: 50, steps: [{do: [{startProbe: nobody}]}]}}]");
    let messages: Vec<_> = found.iter().map(|finding| (finding.path.as_str(), finding.message.as_str())).collect();
    assert_eq!(messages, [("steps[0].repeat.steps[0].do[0].startProbe", "unknown probe `nobody`")]);
}

#[test_case("steps: [{repeat: {times: 1000, steps: [{repeat: {times: 1000, steps: [{expect: [{endpoints: {in: alpha, service: a, from: []}}]}]}}]}}]"
    => "there are more than 5000 steps" ; "too many steps")]
#[test_case(&nested(8) => "the steps are too large once all blocks are expanded" ; "nothing, very often")]
#[test_case("parameters: {x: \"${x}\"}\nsteps: [{name: \"${x}\", expect: [{endpoints: {in: alpha, service: a, from: []}}]}]"
    => "" ; "values are not looked into")]
#[test_case(&format!("parameters: {{x: \"{}\"}}\nsteps: [{{name: \"{}\", expect: [{{endpoints: {{in: alpha, service: a, from: []}}}}]}}]", "x".repeat(1_000), "${x}".repeat(100))
    => "the text has 100000 bytes, at most 65536 are allowed" ; "text that grows")]
fn limits(steps: &str) -> String {
    findings(steps).first().map(|finding| finding.message.clone()).unwrap_or_default()
}

/// Repetitions in repetitions of a matrix all of whose cases are excluded.
fn nested(levels: usize) -> String {
    let mut steps = "{matrix: {axes: {a: [1, 2]}, exclude: [{a: 1}, {a: 2}], steps: [{}]}}".to_owned();
    for _ in 0..levels {
        steps = format!("{{repeat: {{times: 1000, steps: [{steps}]}}}}");
    }
    format!("steps: [{steps}]")
}

#[test_case("tests/blocks/scenario.yaml" => Ok(FileKind::Scenario))]
#[test_case("tests/blocks/fail.yaml" => Ok(FileKind::Steps) ; "steps with a parameter that has no value")]
#[test_case("../../fixtures/topologies/two-clusters.yaml" => Ok(FileKind::Topology))]
#[test_case("../../fixtures/agents/mesh-agent.yaml" => Ok(FileKind::Agent))]
#[test_case("tests/broken/agent.yaml" => Err(FileKind::Agent))]
#[test_case("../../fixtures/kernels.yaml" => Ok(FileKind::Kernels))]
#[test_case("tests/broken/kernels.yaml" => Err(FileKind::Kernels))]
#[test_case("tests/broken/topology.yaml" => Err(FileKind::Scenario) ; "a kind that there is not")]
#[test_case("tests/broken/include-itself.yaml" => Err(FileKind::Steps))]
fn linted(file: &str) -> Result<FileKind, FileKind> {
    lint::<Small>(file).map_err(|diagnostics| diagnostics.kind)
}

#[test_case("# Question: Q?\n" => "" ; "the same")]
#[test_case("" => "4:11 the file does not open with its question as a comment" ; "without")]
#[test_case("# Question: who?\n" => "5:11 the comment at the top asks something else: `who?`" ; "another one")]
fn the_opening_comment(comment: &str) -> String {
    let text = format!(
        "{comment}apiVersion: meshbed.dev/v1alpha1\nkind: Scenario\nname: t\nquestion: q?\n\
         topology: ../../../../fixtures/topologies/two-clusters.yaml\n\
         steps: [{{expect: [{{endpoints: {{in: alpha, service: a, from: []}}}}]}}]\n"
    );
    match lint_text::<Small>(&text, Path::new("tests/broken/inline.yaml")) {
        Ok(_) => String::new(),
        Err(diagnostics) => {
            let finding = &diagnostics.findings[0];
            format!("{}:{} {}", finding.line, finding.column, finding.message)
        }
    }
}

#[test]
fn steps_by_themselves_are_checked_as_far_as_they_can_be() {
    let text = "apiVersion: meshbed.dev/v1alpha1\nkind: Steps\nsteps:\n\
                - do: [{heal: of-the-scenario}, {startProbe: of-the-scenario}, {scale: {clusters: [any], deployment: a}}]\n";
    let diagnostics = lint_text::<Small>(text, "steps.yaml").expect_err("a key is missing");
    insta::assert_snapshot!(diagnostics, @"
    error: invalid steps `steps.yaml`
      --> 4:72  steps[0].do[2].scale: key `replicas` is missing
    ");
}
