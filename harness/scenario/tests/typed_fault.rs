//! Faults that people type.

use meshbed_scenario::{KnownFault, Topology, read_fault};

use crate::language::Small;

fn topology() -> Topology {
    Topology::load("../../fixtures/topologies/two-clusters.yaml").expect("it is valid")
}

const KILL: &str = "podKill: {clusters: [alpha], deployment: web}";

#[test]
fn a_fault_needs_no_name_and_may_have_one() {
    let read = |text| read_fault::<Small>(text, "FAULT", &topology(), &[]).expect("it is right");
    assert_eq!((read(KILL).name, read(KILL).key), (None, "podKill"));
    assert_eq!(read("{podKill: {clusters: [alpha], deployment: web}, as: x}").name.as_deref(), Some("x"));
}

#[test]
fn findings_have_their_place_and_hints() {
    let findings =
        |text: &str| read_fault::<Small>(text, "FAULT", &topology(), &[]).expect_err("it is wrong").to_string();
    let told = findings("podKill: {clusters: [alfa], deployment: web, wen: 1}");
    for part in ["error: invalid fault `FAULT`", "1:22", "clusters here: `alpha`", "1:46", "unknown key `wen`"] {
        assert!(told.contains(part), "`{part}` is missing:\n{told}");
    }
    assert!(findings("podKil: {}").contains("did you mean `podKill`"));
    assert!(findings("podKill: [").contains("not YAML"));
    assert!(findings("").contains("empty"));
}

#[test]
fn what_a_fault_in_force_has_nobody_else_can_have() {
    let known = [KnownFault { name: "first", text: KILL }];
    let told =
        read_fault::<Small>(KILL, "FAULT", &topology(), &known).expect_err("they are killed already").to_string();
    assert!(told.contains("already killed by `first`"), "{told}");
    let other = "podKill: {clusters: [beta], deployment: web}";
    assert!(read_fault::<Small>(other, "FAULT", &topology(), &known).is_ok());
}
