//! What the exporter writes, and when.

use mesh_core::{Event, ExportEffect, ExportState, LocalSlice, ServiceKind, export};
use mesh_types::BackendState::{Active, Maintenance, Terminating};
use test_case::test_case;

use crate::mesh::*;

const KEY: &str = "cilium/state/services/v1/alpha/test/echo";

fn put(backends: &str) -> ExportEffect {
    let value = format!(
        r#"{{"cluster":"alpha","namespace":"test","name":"echo","frontends":{{"10.0.0.1":{{"":{{"Protocol":"TCP","Port":8080}}}}}},"backends":{{{backends}}},"labels":{{}},"selector":{{"name":"echo"}},"includeExternal":true,"shared":true,"clusterID":1}}"#
    );
    ExportEffect::Put { key: KEY.to_owned(), value: value.into_bytes() }
}

const BACKEND: &str = r#""10.1.0.1":{"":{"Protocol":"TCP","Port":8080}}"#;

fn deleted() -> ExportEffect {
    ExportEffect::Delete { key: KEY.to_owned() }
}

#[test_case(&[] => false ; "plain")]
#[test_case(&[GLOBAL] => true ; "global")]
#[test_case(&[GLOBAL, UNSHARED] => false ; "global but not shared")]
#[test_case(&[("service.cilium.io/shared", "true")] => false ; "shared but not global")]
#[test_case(&[("io.cilium/global-service", "true")] => true ; "legacy global")]
#[test_case(&[GLOBAL, ("io.cilium/shared-service", "false")] => false ; "legacy shared")]
#[test_case(&[GLOBAL, LOCAL] => true ; "affinity is the reader's affair")]
fn is_exported(annotations: &[(&str, &str)]) -> bool {
    export(&cluster("alpha"), id(1), &service(annotations), std::iter::empty()).is_some()
}

#[test]
fn ready_or_serving_backends_are_exported() {
    let mut slice = slice(&[("10.1.0.1", Active), ("10.1.0.2", Terminating), ("10.1.0.3", Maintenance)]);
    slice.endpoints[0].ready = None;
    slice.endpoints[0].serving = None;
    let value = export(&cluster("alpha"), id(1), &service(&[GLOBAL]), [&slice].into_iter()).unwrap();
    let backends: Vec<String> = value.backends.keys().map(ToString::to_string).collect();
    assert_eq!(backends, ["10.1.0.1", "10.1.0.2"]);
}

#[test]
fn slices_of_others_and_dns_aliases_are_not_exported() {
    let other = LocalSlice { service: Some("other".to_owned()), ..slice(&[("10.1.0.1", Active)]) };
    let value = export(&cluster("alpha"), id(1), &service(&[GLOBAL]), [&other].into_iter()).unwrap();
    assert!(value.backends.is_empty());
    let mut alias = service(&[GLOBAL]);
    alias.kind = ServiceKind::ExternalName;
    assert_eq!(export(&cluster("alpha"), id(1), &alias, std::iter::empty()), None);
}

#[test]
fn nothing_before_sync_then_all_then_changes_only() {
    let mut state = ExportState::new(export_config("alpha", 1));
    let echo = || slice_event(slice(&[("10.1.0.1", Active)]));
    assert_eq!(state.step(service_event(service(&[GLOBAL]))), []);
    assert_eq!(state.step(echo()), []);
    assert_eq!(state.step(Event::LocalSynced), [put(BACKEND), ExportEffect::Synced]);
    assert_eq!(state.keys().collect::<Vec<_>>(), [KEY]);

    assert_eq!(state.step(Event::LocalSynced), []);
    assert_eq!(state.step(echo()), []);
    assert_eq!(state.step(service_event(service(&[GLOBAL, LOCAL]))), [], "the value does not tell the affinity");
    assert_eq!(state.step(slice_deleted("echo-1")), [put("")]);
    assert_eq!(state.step(echo()), [put(BACKEND)]);
    assert_eq!(state.step(service_event(service(&[GLOBAL, UNSHARED]))), [deleted()]);
    assert_eq!(state.step(slice_deleted("echo-1")), []);
    assert_eq!(state.step(service_event(service(&[GLOBAL]))), [put("")]);
    assert_eq!(state.step(Event::Service { key: key(), service: None }), [deleted()]);
    assert_eq!(state.keys().count(), 0);
}

#[test]
fn sync_of_nothing_is_told_too() {
    let mut state = ExportState::new(export_config("alpha", 1));
    assert_eq!(state.step(Event::LocalSynced), [ExportEffect::Synced]);
}

#[test]
fn remote_events_do_nothing() {
    let mut state = ExportState::new(export_config("alpha", 1));
    state.step(Event::LocalSynced);
    state.step(service_event(service(&[GLOBAL])));
    for event in [added("beta"), remote_event("beta", 2, "{}"), synced("beta"), Event::InitTimeout] {
        assert_eq!(state.step(event), []);
    }
    let entries: Vec<_> = state.entries().map(|(key, value)| (key.to_owned(), value.to_vec())).collect();
    let ExportEffect::Put { key, value } = put("") else { unreachable!() };
    assert_eq!(entries, [(key, value)], "mesh is not transitive");
}
