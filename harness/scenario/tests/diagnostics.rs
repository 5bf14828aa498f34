//! Everything that is wrong with a file is told at once.

use std::path::Path;

use meshbed_scenario::Topology;
use test_case::test_case;

use crate::language::Scenario;

#[test]
fn broken_topology() {
    let diagnostics = Topology::load("tests/broken/topology.yaml").expect_err("it is broken");
    insta::assert_snapshot!(diagnostics);
}

#[test]
fn broken_scenario() {
    let diagnostics = Scenario::load("tests/broken/scenario.yaml").expect_err("it is broken");
    insta::assert_snapshot!(diagnostics);
}

#[test]
fn findings_of_the_topology_are_told_with_those_of_the_scenario() {
    let text = "
apiVersion: meshbed.dev/v1alpha1
kind: Scenario
name: two-files
question: What if both files are broken?
topology: topology.yaml
steps:
- do: [{apply: {clusters: [anything], files: [nowhere.yaml]}}]
";
    let diagnostics = Scenario::parse(text, "tests/broken/inline.yaml").expect_err("both are broken");
    let files: Vec<_> = diagnostics.findings.iter().map(|finding| finding.file.as_path()).collect();
    assert_eq!(files[0], Path::new("tests/broken/inline.yaml"), "the file that was asked for comes first");
    assert!(files[1..].iter().all(|file| *file == Path::new("tests/broken/topology.yaml")), "{files:?}");
    assert_eq!(diagnostics.findings[0].path, "steps[0].do[0].apply.files[0]", "no cluster is called unknown");
}

/// A topology in which only the given lines are wrong.
fn with(cluster: &str) -> String {
    let text = format!(
        "apiVersion: meshbed.dev/v1alpha1
kind: Topology
name: t
clusters:
- name: alpha
  id: 1
  nodeCIDR: 172.18.1.0/24
  podCIDR: 10.1.0.0/16
  serviceCIDR: 10.101.0.0/16
  nodes: [{{name: alpha-1}}]
{cluster}"
    );
    match Topology::parse(&text, "t.yaml") {
        Ok(_) => String::new(),
        Err(diagnostics) => {
            let findings = diagnostics.findings.iter();
            let lines = findings.map(|one| format!("{}:{} {}: {}", one.line, one.column, one.path, one.message));
            lines.collect::<Vec<_>>().join("\n")
        }
    }
}

const REST: &str = "nodeCIDR: 172.18.2.0/24, serviceCIDR: 10.102.0.0/16, nodes: [{name: beta-1}]";

#[test_case("{name: beta, id: 2, podCIDR: 10.2.0.0/16, " => "" ; "valid")]
#[test_case("{name: beta, id: 255, podCIDR: 10.2.0.0/23, " => "" ; "largest ID, smallest pod CIDR")]
#[test_case("{name: beta, id: 1, podCIDR: 10.2.0.0/16, "
    => "11:20 clusters[1].id: cluster ID 1 is already used by `alpha`" ; "equal IDs")]
#[test_case("{name: alpha, id: 2, podCIDR: 10.2.0.0/16, "
    => "11:10 clusters[1].name: cluster name `alpha` is already used at clusters[0].name" ; "equal names")]
#[test_case("{name: beta, id: 2, podCIDR: 10.0.0.0/8, "
    => "11:32 clusters[1].podCIDR: 10.0.0.0/8 overlaps podCIDR 10.1.0.0/16 of `alpha`\n\
        11:32 clusters[1].podCIDR: 10.0.0.0/8 overlaps serviceCIDR 10.101.0.0/16 of `alpha`\n\
        11:82 clusters[1].serviceCIDR: 10.102.0.0/16 overlaps podCIDR 10.0.0.0/8 of `beta`" ; "overlaps within and between clusters")]
#[test_case("{name: beta, id: 2, podCIDR: 10.2.0.0/24, "
    => "11:32 clusters[1].podCIDR: 10.2.0.0/24 is too small: 1 nodes need a /24 each and the first one stays free, \
        there is room for 0" ; "no room for pods")]
#[test_case("{name: beta, id: -1, podCIDR: 10.2.0.0/16, "
    => "11:20 clusters[1].id: expected a number from 0 to 65535, found -1" ; "negative ID")]
#[test_case("{name: beta, id: 2, podCIDR: 10.2.0.0/16, kernel: '5.10', " => "" ; "a kernel")]
#[test_case("{name: beta, id: 2, podCIDR: 10.2.0.0/16, kernel: 5.10, "
    => "11:53 clusters[1].kernel: expected text, found the number `5.10`" ; "a kernel that is a number")]
#[test_case("{name: beta, id: 2, podCIDR: 10.2.0.0/16, kernel: '', "
    => "11:53 clusters[1].kernel: expected text, found nothing" ; "a kernel without a name")]
fn second_cluster(start: &str) -> String {
    with(&format!("- {start}{REST}}}\n"))
}

#[test_case("kind: Topology\n- x" ; "no YAML at all")]
#[test_case("" ; "empty")]
#[test_case("text" ; "a scalar")]
#[test_case("clusters: []" ; "no clusters, no header")]
fn nonsense_has_findings(text: &str) {
    let diagnostics = Topology::parse(text, "t.yaml").expect_err("it is nonsense");
    assert!(!diagnostics.findings.is_empty(), "an error without a finding helps nobody");
    assert!(diagnostics.to_string().starts_with("error: invalid topology `t.yaml`\n  --> "), "{diagnostics}");
}

#[test]
fn a_file_that_is_not_there() {
    let diagnostics = Scenario::load("tests/nowhere.yaml").expect_err("it is not there");
    insta::assert_snapshot!(diagnostics, @"
    error: invalid scenario `tests/nowhere.yaml`
      --> 1:1  cannot be read: No such file or directory (os error 2)
    ");
}

#[test]
fn a_manifest_that_is_none() {
    let text = "
apiVersion: meshbed.dev/v1alpha1
kind: Scenario
name: t
question: What if a manifest is no manifest?
topology: ../../../../fixtures/topologies/two-clusters.yaml
steps:
- do: [{apply: {clusters: [alpha], files: [no-manifest.yaml]}}]
";
    let diagnostics = Scenario::parse(text, "tests/broken/inline.yaml").expect_err("the manifest is none");
    insta::assert_snapshot!(diagnostics, @"
    error: invalid scenario `tests/broken/inline.yaml`
      --> 8:44  steps[0].do[0].apply.files[0]: file `tests/broken/no-manifest.yaml` is no manifest: document 2 has no `kind`
    ");
}
