//! Namespaces that are global and others (rule 4.1): both export and import look at them.

use mesh_core::{Config, Event, ExportConfig, ExportEffect, ExportState};
use mesh_types::BackendState::Active;
use test_case::test_case;

use crate::mesh::*;

const NEAR: &str = "10.1.0.1:8080";
const FAR: &str = "10.2.0.1:8080@2";
const BACKENDS: &str = r#"{"10.2.0.1":{"":{"Protocol":"TCP","Port":8080}}}"#;

/// What a namespace says, if anything, and what holds without.
#[test_case(None, true => true ; "unknown, default yes")]
#[test_case(None, false => false ; "unknown, default no")]
#[test_case(Some(&[]), true => true ; "not annotated, default yes")]
#[test_case(Some(&[]), false => false ; "not annotated, default no")]
#[test_case(Some(&[("clustermesh.cilium.io/global", "TRUE")]), false => true ; "yes, in any case")]
#[test_case(Some(&[("clustermesh.cilium.io/global", "false")]), true => false ; "no")]
#[test_case(Some(&[("clustermesh.cilium.io/global", "yes")]), true => false ; "not true is no")]
fn import_and_export(annotations: Option<&[(&str, &str)]>, default_global_namespace: bool) -> bool {
    let mut agent = Agent::new(Config { default_global_namespace, ..config("alpha", 1, false) });
    let mut exporter = ExportState::new(ExportConfig { default_global_namespace, ..export_config("alpha", 1) });
    let namespace = annotations.map(|annotations| namespace("test", Some(annotations)));
    let local = [service_event(service(&[GLOBAL])), slice_event(slice(&[("10.1.0.1", Active)]))];
    for event in local.into_iter().chain(namespace).chain([Event::LocalSynced]) {
        exporter.step(event.clone());
        agent.step(event);
    }
    agent.steps([added("beta"), remote_event("beta", 2, BACKENDS)]);
    let imported = agent.echo().contains(&FAR.to_owned());
    assert_eq!(exporter.keys().count(), usize::from(imported), "the same rule on either side");
    assert_eq!(agent.state.global_services(), usize::from(imported));
    imported
}

#[test]
fn a_namespace_that_changes_takes_effect_at_once() {
    let global = |value: &str| namespace("test", Some(&[("clustermesh.cilium.io/global", value)]));
    let mut agent = Agent::running();
    let mut other = service(&[GLOBAL]);
    other.key.namespace = "tests".to_owned();
    other.cluster_ips = vec![ip("10.0.0.2")];
    agent.steps([service_event(service(&[GLOBAL, REMOTE])), service_event(other)]);
    agent.steps([slice_event(slice(&[("10.1.0.1", Active)])), added("beta"), remote_event("beta", 2, BACKENDS)]);
    assert_eq!(agent.echo(), [FAR]);
    assert_eq!(agent.step(global("false")).len(), 1, "only what is in the namespace");
    assert_eq!(agent.echo(), [NEAR], "affinity is of no importance any more");
    assert_eq!(agent.step(namespace("tests", Some(&[]))), []);
    agent.step(namespace("test", None));
    assert_eq!(agent.echo(), [FAR]);
    assert_eq!(agent.step(global("true")), []);
}

#[test]
fn an_exporter_follows_the_namespace() {
    let global = |value: &str| namespace("test", Some(&[("clustermesh.cilium.io/global", value)]));
    let mut exporter = ExportState::new(export_config("alpha", 1));
    exporter.step(global("false"));
    exporter.step(service_event(service(&[GLOBAL])));
    assert_eq!(exporter.step(Event::LocalSynced), [ExportEffect::Synced]);
    let effects = exporter.step(global("true"));
    assert!(
        matches!(&effects[..], [ExportEffect::Put { key, .. }] if key.ends_with("/alpha/test/echo")),
        "{effects:?}"
    );
    assert_eq!(exporter.step(namespace("test", None)), [], "global by default");
    let effects = exporter.step(global("false"));
    assert!(matches!(&effects[..], [ExportEffect::Delete { .. }]), "{effects:?}");
}
