//! What the exporter writes as endpoint slices (format v2), and headless services.

use mesh_core::{
    Event, ExportConfig, ExportEffect, ExportFormats, ExportState, ExportedSlice, LocalSlice, ServiceKind, export,
};
use mesh_types::BackendState::{Active, Maintenance, Terminating};
use test_case::test_case;

use crate::mesh::*;

fn exporter(formats: ExportFormats) -> ExportState {
    let mut state = ExportState::new(ExportConfig { formats, ..export_config("alpha", 1) });
    assert_eq!(state.step(Event::LocalSynced), [ExportEffect::Synced]);
    state
}

fn put(slice: LocalSlice) -> ExportEffect {
    ExportEffect::PutSlice(ExportedSlice { cluster: cluster("alpha"), cluster_id: id(1), slice })
}

fn deleted(name: &str) -> ExportEffect {
    ExportEffect::DeleteSlice { namespace: "test".to_owned(), name: name.to_owned() }
}

/// Number of services and of slices that are exported.
#[test_case(ExportFormats::Services => (1, 0) ; "services only")]
#[test_case(ExportFormats::ServicesAndEndpointSlices => (1, 1) ; "both")]
#[test_case(ExportFormats::EndpointSlices => (0, 1) ; "slices only")]
fn formats(formats: ExportFormats) -> (usize, usize) {
    let mut state = exporter(formats);
    state.step(service_event(service(&[GLOBAL])));
    state.step(slice_event(slice(&[("10.1.0.1", Active)])));
    (state.keys().count(), state.slices().count())
}

/// The steps of Cilium's own test of the exporter (`endpointslices.txtar`).
#[test]
fn a_slice_is_exported_with_its_service() {
    let mut state = exporter(ExportFormats::EndpointSlices);
    let whole = || slice(&[("10.1.0.1", Active), ("10.1.0.2", Terminating), ("10.1.0.3", Maintenance)]);
    assert_eq!(state.step(slice_event(whole())), [], "no service yet");
    assert_eq!(state.step(service_event(service(&[GLOBAL]))), [put(whole())], "with all endpoints, ready or not");
    assert_eq!(state.step(slice_event(whole())), []);
    let other = slice(&[("10.1.0.9", Active)]);
    assert_eq!(state.step(slice_event(other.clone())), [put(other.clone())]);
    assert_eq!(state.step(slice_deleted("echo-1")), [deleted("echo-1")]);
    assert_eq!(state.step(slice_event(other.clone())), [put(other.clone())]);
    assert_eq!(state.step(service_event(service(&[]))), [deleted("echo-1")], "not global");
    assert_eq!(state.step(service_event(service(&[GLOBAL]))), [put(other.clone())]);
    assert_eq!(state.step(service_event(service(&[GLOBAL, UNSHARED]))), [deleted("echo-1")]);
    assert_eq!(state.step(service_event(service(&[GLOBAL, LOCAL]))), [put(other)]);
    assert_eq!(state.step(Event::Service { key: key(), service: None }), [deleted("echo-1")]);
    assert_eq!(state.slices().count(), 0);
}

#[test]
fn namespaces_scope_slices_too() {
    let global = |value: &str| namespace("test", Some(&[("clustermesh.cilium.io/global", value)]));
    let mut state = exporter(ExportFormats::EndpointSlices);
    state.step(service_event(service(&[GLOBAL])));
    state.step(slice_event(slice(&[("10.1.0.1", Active)])));
    assert_eq!(state.step(global("false")), [deleted("echo-1")]);
    assert_eq!(state.step(global("true")), [put(slice(&[("10.1.0.1", Active)]))]);
}

#[test]
fn all_that_there_is_at_the_start_comes_before_the_canaries() {
    let formats = ExportFormats::ServicesAndEndpointSlices;
    let mut state = ExportState::new(ExportConfig { formats, ..export_config("alpha", 1) });
    state.step(slice_event(slice(&[("10.1.0.1", Active)])));
    state.step(service_event(service(&[GLOBAL])));
    let effects = state.step(Event::LocalSynced);
    assert!(
        matches!(&effects[..], [ExportEffect::Put { .. }, ExportEffect::PutSlice(_), ExportEffect::Synced]),
        "{effects:?}"
    );
}

#[test]
fn a_slice_that_moves_to_another_service() {
    let mut state = exporter(ExportFormats::EndpointSlices);
    for name in ["echo", "a", "z"] {
        let mut named = service(&[GLOBAL]);
        named.key.name = name.to_owned();
        state.step(service_event(named));
    }
    let of =
        |service: Option<&str>| LocalSlice { service: service.map(str::to_owned), ..slice(&[("10.1.0.1", Active)]) };
    for service in [Some("echo"), Some("a"), Some("z")] {
        assert_eq!(state.step(slice_event(of(service))), [put(of(service))], "one write, no deletion");
    }
    assert_eq!(state.step(slice_event(of(Some("missing")))), [deleted("echo-1")]);
    state.step(slice_event(of(Some("a"))));
    assert_eq!(state.step(slice_event(of(None))), [deleted("echo-1")]);
}

#[test]
fn dns_aliases_have_no_slices() {
    let mut state = exporter(ExportFormats::EndpointSlices);
    let mut alias = service(&[GLOBAL]);
    alias.kind = ServiceKind::ExternalName;
    assert_eq!(state.step(service_event(alias)), []);
    assert_eq!(state.step(slice_event(slice(&[("10.1.0.1", Active)]))), []);
}

/// Rule 2.3: a headless service has frontends `{}`, and its backends have hostnames.
#[test_case(|service| service.cluster_ips.clear() ; "without a cluster IP")]
#[test_case(|service| drop(service.labels.insert("service.kubernetes.io/headless".into(), "".into())) ; "by label")]
fn headless_services(change: fn(&mut mesh_core::LocalService)) {
    let mut service = service(&[GLOBAL]);
    change(&mut service);
    let mut slice = slice(&[("10.1.0.1", Active)]);
    slice.endpoints[0].hostname = Some("echo-0".to_owned());
    let value = export(&cluster("alpha"), id(1), &service, [&slice].into_iter()).expect("exported");
    assert!(value.frontends.is_empty());
    assert_eq!(value.hostnames["10.1.0.1"], "echo-0");
    assert_eq!(value.backends.len(), 1);
    let text = String::from_utf8(value.encode()).expect("JSON");
    assert!(text.contains(r#""frontends":{},"#), "{text}");
}
