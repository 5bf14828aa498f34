//! Endpoints of services that select pods: the older form, without pods that are going.

use serde_json::{Value, json};

use super::membership::{self, Member};
use crate::json;
use crate::kinds::Kind;
use crate::store::{Key, Name, State};

/// Most addresses of one object, as Kubernetes cuts it off.
const ADDRESSES_MAX: usize = 1000;

/// Brings the endpoints of a service in line with its pods.
pub(super) fn reconcile(state: &mut State, name: &Name) {
    let key = Key { kind: Kind::Endpoints, name: name.clone() };
    if state.get(&Key { kind: Kind::Service, name: name.clone() }).is_none() {
        state.remove(&key);
        return;
    }
    let Some(selected) = membership::find(state, name) else { return };
    let members = selected.members.iter().filter(|member| !member.pod.is_terminating()).take(ADDRESSES_MAX);
    let subsets: Vec<Value> = membership::by_ports(members).into_iter().map(subset).collect();
    let service = &selected.service;
    let existing = state.get(&key).cloned();
    let mut value = match &existing {
        Some(endpoints) => endpoints.value().clone(),
        None => {
            let metadata = json!({"name": service.name(), "namespace": service.namespace()});
            let mut value = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata});
            state.stamp(&mut value);
            value
        }
    };
    let mut labels = json::map(service.value(), "/metadata/labels").cloned().unwrap_or_default();
    if json::text(service.value(), "/spec/clusterIP") == "None" {
        labels.insert("service.kubernetes.io/headless".to_owned(), json!(""));
    }
    labels.insert("endpoints.kubernetes.io/managed-by".to_owned(), json!("endpoint-controller"));
    json::child(&mut value, "metadata")["labels"] = Value::Object(labels);
    json::assign(&mut value, "subsets", (!subsets.is_empty()).then_some(Value::Array(subsets)));
    if existing.is_none_or(|existing| *existing.value() != value) {
        state.put(Kind::Endpoints, value);
    }
}

/// Addresses with equal ports, those that are not ready apart.
fn subset((ports, members): (&[Value], Vec<&Member>)) -> Value {
    let (ready, others): (Vec<&Member>, Vec<&Member>) = members.into_iter().partition(|member| member.ready);
    let mut subset = json!({});
    for (list, members) in [("addresses", ready), ("notReadyAddresses", others)] {
        if !members.is_empty() {
            subset[list] = members.into_iter().map(address).collect();
        }
    }
    subset["ports"] = ports.iter().map(unnamed).collect();
    subset
}

fn address(member: &Member) -> Value {
    let mut address = json!({"ip": member.address});
    if !member.node().is_empty() {
        address["nodeName"] = json!(member.node());
    }
    address["targetRef"] = member.target();
    address
}

/// A port whose empty name is left out, as this kind has it.
fn unnamed(port: &Value) -> Value {
    let mut port = port.clone();
    if json::text(&port, "/name").is_empty() {
        json::assign(&mut port, "name", None);
    }
    port
}
