//! Endpoint slices.

use std::net::{Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use super::age::age;
use super::decode::decode;
use super::endpoints::shorten;
use super::{Column, Findings, NameRule, Resource};
use crate::json;
use crate::patch::schema;

/// Most endpoints of one slice that the API lets in.
const ENDPOINTS_MAX: usize = 1000;

pub(super) static ENDPOINT_SLICE: Resource = Resource {
    group: "discovery.k8s.io",
    version: "v1",
    kind: "EndpointSlice",
    plural: "endpointslices",
    short_names: &[],
    namespaced: true,
    in_all: false,
    has_status: false,
    has_generation: true,
    has_scale: false,
    name_rule: NameRule::Subdomain,
    field_labels: &[],
    columns: &[
        Column::NAME,
        Column::text("AddressType"),
        Column::text("Ports"),
        Column::text("Endpoints"),
        Column::AGE,
    ],
    row,
    schema: &schema::PLAIN,
    decode: decode::<EndpointSlice>,
    default: |slice| {
        for port in json::each(slice, "ports") {
            json::default(port, "protocol", "TCP");
            if port.get("name").is_none_or(Value::is_null) {
                json::assign(port, "name", Some(json!("")));
            }
        }
        if slice.get("endpoints").is_none_or(Value::is_null) {
            json::assign(slice, "endpoints", Some(json!([])));
        }
    },
    validate,
};

fn row(slice: &Value, now: Timestamp) -> Vec<Value> {
    let texts =
        |pointer, text: fn(&Value) -> String| -> Vec<String> { json::list(slice, pointer).iter().map(text).collect() };
    let ports = texts("/ports", |port| port.get("port").and_then(Value::as_i64).map_or("*".into(), |p| p.to_string()));
    let ports = if ports.is_empty() { "<unset>".to_owned() } else { shorten(&ports) };
    let addresses: Vec<String> = json::list(slice, "/endpoints")
        .iter()
        .flat_map(|endpoint| json::list(endpoint, "/addresses"))
        .filter_map(|address| address.as_str().map(str::to_owned))
        .collect();
    let addresses = if addresses.is_empty() { "<unset>".to_owned() } else { shorten(&addresses) };
    let text = |pointer| json!(json::text(slice, pointer));
    vec![text("/metadata/name"), text("/addressType"), json!(ports), json!(addresses), age(slice, now)]
}

fn validate(slice: &Value, old: Option<&Value>, findings: &mut Findings) {
    let address_type = json::text(slice, "/addressType");
    findings.one_of("addressType", address_type, &["IPv4", "IPv6", "FQDN"]);
    if let Some(old) = old {
        findings.immutable("addressType", old.get("addressType"), slice.get("addressType"));
    }
    let endpoints = json::list(slice, "/endpoints");
    if endpoints.len() > ENDPOINTS_MAX {
        findings.invalid("endpoints", &json!(endpoints.len()), "must have at most 1000 items");
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        let field = format!("endpoints[{index}].addresses");
        let addresses = json::list(endpoint, "/addresses");
        if addresses.is_empty() {
            findings.required(field.clone(), "must contain at least 1 address");
        }
        for (at, address) in addresses.iter().enumerate() {
            let text = address.as_str().unwrap_or_default();
            let fits = match address_type {
                "IPv4" => text.parse::<Ipv4Addr>().is_ok(),
                "IPv6" => text.parse::<Ipv6Addr>().is_ok(),
                _ => true,
            };
            if !fits {
                findings.invalid(format!("{field}[{at}]"), address, "must be a valid IP address of the slice's type");
            }
        }
    }
}
