//! Endpoint slices of services that select pods.
//!
//! An endpoint stays in the slice that it is in, and a slice is rewritten rather than replaced, so that a change of one
//! pod is one event of one slice.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::membership::{self, Member};
use crate::json;
use crate::kinds::Kind;
use crate::store::{Key, Name, Object, State};

/// Endpoints of one slice, as `--max-endpoints-per-slice` has it by default.
const ENDPOINTS_PER_SLICE: usize = 100;
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const CONTROLLER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";

/// The service that a slice belongs to, or `""`.
pub(super) fn service_of(slice: &Object) -> &str {
    label(slice, SERVICE_NAME)
}

/// The zone that a node is in.
pub(super) fn zone(node: &Object) -> Option<&str> {
    Some(label(node, "topology.kubernetes.io/zone")).filter(|zone| !zone.is_empty())
}

fn label<'o>(object: &'o Object, name: &str) -> &'o str {
    let labels = json::map(object.value(), "/metadata/labels");
    labels.and_then(|labels| labels.get(name)).and_then(Value::as_str).unwrap_or_default()
}

/// Brings the slices of a service in line with its pods.
pub(super) fn reconcile(state: &mut State, name: &Name) {
    // Slices of a service that is gone have lost their owner and are collected as garbage.
    let Some(selected) = membership::find(state, name) else { return };
    let service = &selected.service;
    if service.is_terminating() {
        return;
    }
    let existing: Vec<Arc<Object>> = state
        .owned(Kind::EndpointSlice, service.uid())
        .into_iter()
        .filter(|slice| service_of(slice) == name.name && label(slice, MANAGED_BY) == CONTROLLER)
        .collect();
    let mut groups: Vec<Group> = membership::by_ports(selected.members.iter())
        .into_iter()
        .map(|(ports, members)| Group {
            ports: ports.to_vec(),
            endpoints: members.into_iter().map(|member| endpoint(state, member, service)).collect(),
        })
        .collect();
    if groups.is_empty() {
        // A service without pods keeps one empty slice, by which watchers tell it from one not yet looked at.
        groups.push(Group { ports: Vec::new(), endpoints: Vec::new() });
    }
    let plan = distribute(groups, &existing);
    let labels = labels(service);
    for Slice { reuse, ports, endpoints } in plan.slices {
        write(state, service, reuse, &labels, ports, endpoints);
    }
    for slice in plan.unused {
        state.remove(&Key::new(Kind::EndpointSlice, slice.namespace(), slice.name()));
    }
}

/// Endpoints with equal ports.
struct Group {
    ports: Vec<Value>,
    endpoints: Vec<Value>,
}

/// One slice as it shall be.
struct Slice {
    reuse: Option<Arc<Object>>,
    ports: Vec<Value>,
    endpoints: Vec<Value>,
}

struct Plan {
    slices: Vec<Slice>,
    unused: Vec<Arc<Object>>,
}

/// Spreads groups of endpoints with equal ports over slices, existing ones as far as possible.
fn distribute(groups: Vec<Group>, existing: &[Arc<Object>]) -> Plan {
    let mut free: Vec<Arc<Object>> = existing.to_vec();
    let mut slices = Vec::new();
    for Group { ports, mut endpoints } in groups {
        let (same, others) = free.into_iter().partition(|slice| json::list(slice.value(), "/ports") == ports);
        free = others;
        let same: Vec<Arc<Object>> = same;
        let first = slices.len();
        for slice in same {
            let held: BTreeSet<&str> = json::list(slice.value(), "/endpoints").iter().map(target).collect();
            let (kept, rest) = endpoints.into_iter().partition(|endpoint| held.contains(target(endpoint)));
            endpoints = rest;
            slices.push(Slice { reuse: Some(slice), ports: ports.clone(), endpoints: kept });
        }
        let mut rest = endpoints.into_iter().peekable();
        for slice in &mut slices[first..] {
            let room = ENDPOINTS_PER_SLICE.saturating_sub(slice.endpoints.len());
            slice.endpoints.extend(rest.by_ref().take(room));
        }
        while rest.peek().is_some() {
            let endpoints = rest.by_ref().take(ENDPOINTS_PER_SLICE).collect();
            slices.push(Slice { reuse: None, ports: ports.clone(), endpoints });
        }
        if slices.len() == first {
            slices.push(Slice { reuse: None, ports, endpoints: Vec::new() });
        }
    }
    // New slices take over the names of those whose ports nobody has any more.
    for slice in slices.iter_mut().filter(|slice| slice.reuse.is_none()) {
        slice.reuse = free.pop();
    }
    let (mut slices, empty): (Vec<_>, Vec<_>) = slices.into_iter().partition(|slice| !slice.endpoints.is_empty());
    let mut empty = empty.into_iter();
    if slices.is_empty() {
        slices.extend(empty.next());
    }
    let unused = free.into_iter().chain(empty.filter_map(|slice| slice.reuse)).collect();
    Plan { slices, unused }
}

/// The UID of the pod behind an endpoint.
fn target(endpoint: &Value) -> &str {
    json::text(endpoint, "/targetRef/uid")
}

fn endpoint(state: &State, member: &Member, service: &Object) -> Value {
    let node = member.node();
    let mut endpoint = json!({
        "addresses": [member.address],
        "conditions": {
            "ready": member.ready, "serving": member.serving, "terminating": member.pod.is_terminating(),
        },
    });
    let pod = member.pod.value();
    let hostname = json::text(pod, "/spec/hostname");
    if !hostname.is_empty() && json::text(pod, "/spec/subdomain") == service.name() {
        endpoint["hostname"] = json!(hostname);
    }
    if !node.is_empty() {
        endpoint["nodeName"] = json!(node);
    }
    endpoint["targetRef"] = member.target();
    if let Some(zone) = state.get(&Key::new(Kind::Node, "", node)).and_then(|node| zone(node)) {
        endpoint["zone"] = json!(zone);
    }
    endpoint
}

/// The service's own labels and those of the controller.
fn labels(service: &Object) -> Value {
    let mut labels = json::map(service.value(), "/metadata/labels").cloned().unwrap_or_else(Map::new);
    if json::text(service.value(), "/spec/clusterIP") == "None" {
        labels.insert(HEADLESS.to_owned(), json!(""));
    } else {
        labels.shift_remove(HEADLESS);
    }
    labels.insert(SERVICE_NAME.to_owned(), json!(service.name()));
    labels.insert(MANAGED_BY.to_owned(), json!(CONTROLLER));
    Value::Object(labels)
}

fn write(
    state: &mut State,
    service: &Object,
    reuse: Option<Arc<Object>>,
    labels: &Value,
    ports: Vec<Value>,
    endpoints: Vec<Value>,
) {
    if let Some(slice) = &reuse
        && json::get(slice.value(), "/metadata/labels") == Some(labels)
        && json::list(slice.value(), "/endpoints") == endpoints
        && json::list(slice.value(), "/ports") == ports
    {
        return;
    }
    let mut value = match &reuse {
        Some(slice) => slice.value().clone(),
        None => fresh(state, service),
    };
    let generation = json::number(&value, "/metadata/generation") + 1;
    let metadata = json::child(&mut value, "metadata");
    metadata["labels"] = labels.clone();
    metadata["generation"] = json!(generation);
    value["endpoints"] = Value::Array(endpoints);
    value["ports"] = Value::Array(ports);
    state.put(Kind::EndpointSlice, value);
}

fn fresh(state: &mut State, service: &Object) -> Value {
    let prefix = format!("{}-", service.name());
    let mut name = format!("{prefix}{}", state.entropy.suffix());
    while state.get(&Key::new(Kind::EndpointSlice, service.namespace(), name.clone())).is_some() {
        name = format!("{prefix}{}", state.entropy.suffix());
    }
    let mut value = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": prefix,
            "labels": {},
            "name": name,
            "namespace": service.namespace(),
            "ownerReferences": [{
                "apiVersion": "v1", "blockOwnerDeletion": true, "controller": true,
                "kind": "Service", "name": service.name(), "uid": service.uid(),
            }],
        },
        "addressType": "IPv4",
        "endpoints": [],
        "ports": [],
    });
    state.stamp(&mut value);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(name: usize) -> Value {
        json!({"targetRef": {"uid": name.to_string()}})
    }

    fn slice(name: &str, ports: &[Value], endpoints: &[Value]) -> Arc<Object> {
        Arc::new(Object::new(json!({"metadata": {"name": name}, "ports": ports, "endpoints": endpoints})))
    }

    fn names(plan: &Plan) -> Vec<(Option<&str>, usize)> {
        plan.slices.iter().map(|s| (s.reuse.as_ref().map(|r| r.name()), s.endpoints.len())).collect()
    }

    #[test]
    fn endpoints_stay_where_they_are() {
        let ports = vec![json!({"port": 80})];
        let existing = [slice("a", &ports, &[endpoint(1)]), slice("b", &ports, &[endpoint(2)])];
        let plan = distribute(vec![Group { ports, endpoints: vec![endpoint(2), endpoint(3)] }], &existing);
        assert_eq!(names(&plan), [(Some("a"), 1), (Some("b"), 1)]);
        assert!(plan.unused.is_empty());
    }

    #[test]
    fn a_slice_holds_a_hundred() {
        let plan = distribute(vec![Group { ports: Vec::new(), endpoints: (0..250).map(endpoint).collect() }], &[]);
        assert_eq!(names(&plan), [(None, 100), (None, 100), (None, 50)]);
    }

    #[test]
    fn the_last_slice_stays_empty_under_its_name() {
        let existing = [slice("a", &[json!({"port": 80})], &[endpoint(1)])];
        let plan = distribute(vec![Group { ports: Vec::new(), endpoints: Vec::new() }], &existing);
        assert_eq!(names(&plan), [(Some("a"), 0)]);
        assert!(plan.unused.is_empty());
    }
}
