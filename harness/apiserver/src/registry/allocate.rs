//! Handing out what only the cluster can: service addresses, node ports, pod ranges.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::error::ApiError;
use crate::json;
use crate::kinds::{Findings, Kind};
use crate::network::Network;
use crate::store::State;

/// Completes a value before it is stored; `old` is what it replaces.
pub(super) fn allocate(state: &mut State, kind: Kind, value: &mut Value, old: Option<&Value>) -> Result<(), ApiError> {
    match kind {
        Kind::Service => service(state, value, old),
        Kind::Node => {
            node(state, value);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn service(state: &mut State, service: &mut Value, old: Option<&Value>) -> Result<(), ApiError> {
    let name = json::text(service, "/metadata/name").to_owned();
    let kind = json::text(service, "/spec/type").to_owned();
    let spec = json::child(service, "spec");
    if kind == "ExternalName" {
        json::assign(spec, "clusterIP", None);
        json::assign(spec, "clusterIPs", None);
        return Ok(());
    }
    let was = old.map_or("", |old| json::text(old, "/spec/clusterIP")).to_owned();
    let mut asked = json::text(spec, "/clusterIP").to_owned();
    if asked.is_empty() {
        asked = json::list(spec, "/clusterIPs").first().and_then(Value::as_str).unwrap_or_default().to_owned();
    }
    if asked.is_empty() {
        asked.clone_from(&was);
    }
    let is_kubernetes = name == "kubernetes" && json::text(service, "/metadata/namespace") == "default";
    let address = if asked.is_empty() {
        let used = used_addresses(state);
        let address = match is_kubernetes {
            true => Some(state.network.kubernetes()),
            false => state.network.allocate(&used),
        };
        address.ok_or_else(|| ApiError::exhausted("IP"))?.to_string()
    } else if asked == "None" || asked == was {
        asked
    } else {
        if let Err(error) = state.network.claim(&asked, &used_addresses(state)) {
            let mut findings = Findings::default();
            findings.invalid("spec.clusterIPs", &json!([asked]), &error.to_string());
            return Err(ApiError::invalid(Kind::Service.resource(), &name, findings));
        }
        asked
    };
    let spec = json::child(service, "spec");
    json::assign(spec, "clusterIPs", Some(json!([address])));
    json::assign(spec, "clusterIP", Some(json!(address)));
    node_ports(state, service, old, &name)
}

fn node_ports(state: &mut State, service: &mut Value, old: Option<&Value>, name: &str) -> Result<(), ApiError> {
    let wanted = matches!(json::text(service, "/spec/type"), "NodePort" | "LoadBalancer");
    let old_ports = old.map_or(&[][..], |old| json::list(old, "/spec/ports"));
    let mut used = used_node_ports(state, service);
    let mut findings = Findings::default();
    let spec = json::child(service, "spec");
    for (index, port) in json::each(spec, "ports").enumerate() {
        let same = |other: &&Value| ["port", "protocol"].iter().all(|field| other.get(*field) == port.get(*field));
        let was = old_ports.iter().find(same).map_or(0, |old| json::number(old, "/nodePort"));
        let given = json::number(port, "/nodePort");
        let number = match (wanted, given) {
            // A type without node ports lets go of those that it was given by the cluster.
            (false, given) if given == was => 0,
            (false, given) => given,
            (true, 0) if was != 0 && !used.contains(&truncated(was)) => was,
            (true, 0) => {
                state.network.allocate_node_port(&used).map(i64::from).ok_or_else(|| ApiError::exhausted("port"))?
            }
            (true, given) => given,
        };
        let field = format!("spec.ports[{index}].nodePort");
        if number == 0 {
            json::assign(port, "nodePort", None);
            continue;
        }
        if !wanted {
            findings.forbidden(field, "may not be used when `type` is 'ClusterIP'");
        } else if !Network::is_node_port(number) {
            let words = "provided port is not in the valid range. The range of valid ports is 30000-32767";
            findings.invalid(field, &json!(number), words);
        } else if !used.insert(truncated(number)) {
            findings.invalid(field, &json!(number), "provided port is already allocated");
        }
        json::assign(port, "nodePort", Some(json!(number)));
    }
    match findings == Findings::default() {
        true => Ok(()),
        false => Err(ApiError::invalid(Kind::Service.resource(), name, findings)),
    }
}

/// A port number as stored: decoding has made sure that it is an `int32`; out of range it matches no port.
fn truncated(port: i64) -> u16 {
    u16::try_from(port).unwrap_or_default()
}

fn used_addresses(state: &State) -> BTreeSet<Ipv4Addr> {
    let services = state.list(Kind::Service, None);
    let mut used: BTreeSet<Ipv4Addr> =
        services.filter_map(|service| json::text(service.value(), "/spec/clusterIP").parse().ok()).collect();
    used.insert(state.network.kubernetes());
    used
}

fn used_node_ports(state: &State, except: &Value) -> BTreeSet<u16> {
    let itself = |other: &Value| {
        ["/metadata/namespace", "/metadata/name"]
            .iter()
            .all(|field| json::get(other, field) == json::get(except, field))
    };
    state
        .list(Kind::Service, None)
        .filter(|service| !itself(service.value()))
        .flat_map(|service| json::list(service.value(), "/spec/ports"))
        .filter_map(|port| u16::try_from(json::number(port, "/nodePort")).ok())
        .filter(|port| *port != 0)
        .collect()
}

fn node(state: &mut State, node: &mut Value) {
    if !json::text(node, "/spec/podCIDR").is_empty() {
        let range = node["spec"]["podCIDR"].clone();
        json::default(json::child(node, "spec"), "podCIDRs", json!([range]));
        return;
    }
    let nodes = state.list(Kind::Node, None);
    let used: BTreeSet<String> = nodes.map(|node| json::text(node.value(), "/spec/podCIDR").to_owned()).collect();
    // A node without a pod range is what a real cluster makes of a range that is used up, too.
    if let Some(range) = state.network.node_range(&used) {
        let spec = json::child(node, "spec");
        json::assign(spec, "podCIDR", Some(json!(range.to_string())));
        json::assign(spec, "podCIDRs", Some(json!([range.to_string()])));
    }
}
