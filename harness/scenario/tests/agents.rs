//! Descriptions of agents: those that come with the project, and what is wrong with others.

use std::time::Duration;

use meshbed_scenario::{AgentSpec, Capability, Placeholder, Ready, StopSignal};
use test_case::test_case;

const FOLDER: &str = "../../fixtures/agents";

#[test_case("mesh-agent" => (true, 19) ; "our own")]
#[test_case("cilium" => (true, 19) ; "Cilium")]
#[test_case("static" => (false, 4) ; "the stupid one")]
fn descriptions_of_the_project(name: &str) -> (bool, usize) {
    let agent = AgentSpec::load(format!("{FOLDER}/{name}.yaml")).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    assert_eq!(agent.name(), name);
    (agent.exporter().is_some(), agent.capabilities().len())
}

#[test]
fn the_one_that_is_built_in_is_the_file() {
    assert_eq!(AgentSpec::default(), AgentSpec::load(format!("{FOLDER}/mesh-agent.yaml")).expect("valid"));
}

#[test]
fn broken_agent() {
    let diagnostics = AgentSpec::load("tests/broken/agent.yaml").expect_err("it is broken");
    insta::assert_snapshot!(diagnostics);
}

const SMALLEST: &str = "
apiVersion: meshbed.dev/v1alpha1
kind: Agent
name: small
description: The least that can be said.
roles:
  node: {command: [\"{binDir}/agent\"], ready: {exists: \"{state}/ready\"}}
capabilities: []
";

#[test]
fn what_is_not_said_has_defaults() {
    let agent = AgentSpec::parse(SMALLEST, "small.yaml").expect("valid");
    assert_eq!(agent.pins().to_str(), Some("tc/globals"));
    assert_eq!(agent.stop(), StopSignal::Term);
    assert_eq!(agent.node().timeout(), Duration::from_secs(30));
    assert!(agent.exporter().is_none() && agent.setup().is_none() && !agent.needs().cgroup_namespace);
    let Ready::Exists(path) = agent.node().ready() else { panic!("{:?}", agent.node().ready()) };
    assert_eq!(path.placeholders().collect::<Vec<_>>(), [Placeholder::State]);
}

#[test]
fn another_program_takes_the_place_of_both() {
    let agent = AgentSpec::default().with_program("/opt/other {x}");
    let program = |role: &meshbed_scenario::Role| role.command()[0].render(|_| unreachable!("it is literal"));
    assert_eq!(program(agent.node()), "/opt/other {x}");
    assert_eq!(program(agent.exporter().expect("it has one")), "/opt/other {x}");
    assert_eq!(agent.node().command()[1..], AgentSpec::default().node().command()[1..]);
}

#[test]
fn capabilities_have_unique_names() {
    for capability in Capability::ALL {
        assert_eq!(Capability::parse(capability.name()), Some(capability));
    }
}
