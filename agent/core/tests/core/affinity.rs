//! Affinity from end to end: what stands in the maps while local and remote endpoints come and go.

use mesh_core::Event;
use mesh_types::BackendState::{Active, Terminating};
use test_case::test_case;

use crate::mesh::*;

const NONE: (&str, &str) = ("service.cilium.io/affinity", "none");
const UNKNOWN: (&str, &str) = ("service.cilium.io/affinity", "nearby");
const LEGACY_LOCAL: (&str, &str) = ("io.cilium/service-affinity", "local");
const NEAR: &str = "10.1.0.1:8080";
const FAR: &str = "10.2.0.1:8080@2";
const BACKENDS: &str = r#"{"10.2.0.1":{"":{"Protocol":"TCP","Port":8080}}}"#;

fn with_both(annotations: &[(&str, &str)]) -> Agent {
    let mut agent = Agent::running();
    agent.steps([
        service_event(service(annotations)),
        slice_event(slice(&[("10.1.0.1", Active)])),
        added("beta"),
        remote_event("beta", 2, BACKENDS),
    ]);
    agent
}

/// The same steps for each affinity: both there; local endpoint terminating; no local endpoint; it is back;
/// remote key deleted.
#[test_case(&[GLOBAL] => [vec![NEAR, FAR], vec![FAR, "T"], vec![FAR], vec![NEAR, FAR], vec![NEAR]] ; "absent")]
#[test_case(&[GLOBAL, NONE] => [vec![NEAR, FAR], vec![FAR, "T"], vec![FAR], vec![NEAR, FAR], vec![NEAR]] ; "the literal none keeps remote backends")]
#[test_case(&[GLOBAL, UNKNOWN] => [vec![NEAR, FAR], vec![FAR, "T"], vec![FAR], vec![NEAR, FAR], vec![NEAR]] ; "unknown is none")]
#[test_case(&[GLOBAL, LOCAL] => [vec![NEAR], vec![FAR, "T"], vec![FAR], vec![NEAR], vec![NEAR]] ; "local")]
#[test_case(&[GLOBAL, LEGACY_LOCAL] => [vec![NEAR], vec![FAR, "T"], vec![FAR], vec![NEAR], vec![NEAR]] ; "legacy local")]
#[test_case(&[GLOBAL, REMOTE] => [vec![FAR], vec![FAR], vec![FAR], vec![FAR], vec![NEAR]] ; "remote")]
#[test_case(&[LOCAL] => [vec![NEAR], vec!["T"], vec![], vec![NEAR], vec![NEAR]] ; "not global")]
fn through_a_failover(annotations: &[(&str, &str)]) -> [Vec<&'static str>; 5] {
    let mut agent = with_both(annotations);
    let terminating = || slice_event(slice(&[("10.1.0.1", Terminating)]));
    let back = || slice_event(slice(&[("10.1.0.1", Active)]));
    let events: [Option<Event>; 5] =
        [None, Some(terminating()), Some(slice_deleted("echo-1")), Some(back()), Some(remote_deleted("beta", 2))];
    events.map(|event| {
        event.into_iter().for_each(|event| drop(agent.step(event)));
        let known = |text: String| match text.as_str() {
            NEAR => NEAR,
            FAR => FAR,
            "10.1.0.1:8080 terminating" => "T",
            other => panic!("{other}"),
        };
        agent.echo().into_iter().map(known).collect()
    })
}

#[test]
fn recorded_test_vectors() {
    // `local`: only local; delete the local slice: remote; restore: local.
    let mut agent = with_both(&[GLOBAL, LOCAL]);
    assert_eq!(agent.echo(), [NEAR]);
    agent.step(slice_deleted("echo-1"));
    assert_eq!(agent.echo(), [FAR]);
    agent.step(slice_event(slice(&[("10.1.0.1", Active)])));
    assert_eq!(agent.echo(), [NEAR]);
    // `remote`: only remote.
    agent.step(service_event(service(&[GLOBAL, REMOTE])));
    assert_eq!(agent.echo(), [FAR]);
    // No annotation: both. Not global: remote is gone.
    agent.step(service_event(service(&[GLOBAL])));
    assert_eq!(agent.echo(), [NEAR, FAR]);
    agent.step(service_event(service(&[("service.cilium.io/global", "false")])));
    assert_eq!(agent.echo(), [NEAR]);
    // `remote` and the remote key is deleted: local.
    agent.step(service_event(service(&[GLOBAL, REMOTE])));
    assert_eq!(agent.echo(), [FAR]);
    agent.step(remote_deleted("beta", 2));
    assert_eq!(agent.echo(), [NEAR]);
}

#[test]
fn one_surviving_local_backend_takes_everything() {
    let mut agent = with_both(&[GLOBAL, LOCAL]);
    agent.step(slice_event(slice(&[("10.1.0.1", Terminating), ("10.1.0.2", Active)])));
    assert_eq!(agent.echo(), ["10.1.0.2:8080", "10.1.0.1:8080 terminating"]);
}
