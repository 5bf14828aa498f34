//! When effects may leave at the start.

use std::collections::BTreeSet;

use mesh_core::{Effect, Event};
use mesh_types::BackendState::Active;

use crate::mesh::*;

const BACKENDS: &str = r#"{"10.2.0.1":{"":{"Protocol":"TCP","Port":8080}}}"#;

fn restored() -> Agent {
    Agent::new(config("alpha", 1, true))
}

/// The local objects, the cluster `beta` and one service of it.
fn start() -> [Event; 4] {
    [
        added("beta"),
        service_event(service(&[GLOBAL])),
        slice_event(slice(&[("10.1.0.1", Active)])),
        remote_event("beta", 2, BACKENDS),
    ]
}

/// The first effects: an upsert with these backends, then one prune that keeps it.
fn assert_released(agent: &Agent, effects: &[Effect], backends: &[&str]) {
    let [Effect::Upsert(frontend), Effect::Prune(keep)] = effects else { panic!("{effects:?}") };
    assert_eq!(*keep, BTreeSet::from([frontend.address]));
    assert_eq!(agent.echo(), backends);
    assert!(!agent.state.waiting());
}

#[test]
fn filled_maps_wait_for_local_and_remote() {
    let mut agent = restored();
    for event in start() {
        assert_eq!(agent.step(event), []);
    }
    assert_eq!(agent.step(Event::LocalSynced), []);
    assert!(agent.state.waiting());
    let effects = agent.step(synced("beta"));
    assert_released(&agent, &effects, &["10.1.0.1:8080", "10.2.0.1:8080@2"]);
    assert_eq!(agent.step(Event::LocalSynced), [], "only once");
}

#[test]
fn remote_clusters_may_be_first() {
    let mut agent = restored();
    agent.steps(start());
    assert_eq!(agent.step(synced("beta")), []);
    let effects = agent.step(Event::LocalSynced);
    assert_released(&agent, &effects, &["10.1.0.1:8080", "10.2.0.1:8080@2"]);
}

#[test]
fn every_remote_cluster_is_waited_for() {
    let mut agent = restored();
    agent.step(added("gamma"));
    agent.steps(start());
    assert_eq!(agent.step(Event::LocalSynced), []);
    assert_eq!(agent.step(synced("beta")), []);
    let effects = agent.step(Event::RemoteRemoved { cluster: cluster("gamma") });
    assert_released(&agent, &effects, &["10.1.0.1:8080", "10.2.0.1:8080@2"]);
}

#[test]
fn time_out_ends_the_wait_for_remote_clusters_only() {
    let mut agent = restored();
    agent.steps(start());
    assert_eq!(agent.step(Event::InitTimeout), [], "without local services a prune would empty the maps");
    let effects = agent.step(Event::LocalSynced);
    assert_released(&agent, &effects, &["10.1.0.1:8080", "10.2.0.1:8080@2"]);

    let mut agent = restored();
    agent.steps([added("beta"), service_event(service(&[GLOBAL])), Event::LocalSynced]);
    let effects = agent.step(Event::InitTimeout);
    assert_released(&agent, &effects, &[]);
    agent.step(remote_event("beta", 2, BACKENDS));
    assert_eq!(agent.echo(), ["10.2.0.1:8080@2"], "late ones are merged as they come");
}

#[test]
fn empty_maps_wait_for_local_only() {
    let mut agent = Agent::new(config("alpha", 1, false));
    agent.steps([added("beta"), service_event(service(&[GLOBAL]))]);
    assert!(agent.maps.is_empty() && agent.state.waiting());
    let effects = agent.step(Event::LocalSynced);
    assert_released(&agent, &effects, &[]);
    agent.step(remote_event("beta", 2, BACKENDS));
    assert_eq!(agent.echo(), ["10.2.0.1:8080@2"]);
}

#[test]
fn nothing_known_prunes_everything() {
    let mut agent = restored();
    assert_eq!(agent.step(Event::LocalSynced), [Effect::Prune(BTreeSet::new())]);
}

#[test]
fn what_is_repeated_changes_nothing() {
    let mut agent = Agent::running();
    agent.steps(start());
    for event in start() {
        assert_eq!(agent.step(event), []);
    }
    assert_eq!(agent.step(synced("beta")), []);
}
