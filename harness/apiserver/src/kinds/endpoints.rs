//! Endpoints, the older form of endpoint slices.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Endpoints;
use serde_json::{Value, json};

use super::age::age;
use super::decode::decode;
use super::{Column, Findings, NameRule, Resource};
use crate::json;
use crate::patch::schema;

/// How many endpoints `kubectl get` shows before it says that there are more.
const SHOWN: usize = 3;

pub(super) static ENDPOINTS: Resource = Resource {
    group: "",
    version: "v1",
    kind: "Endpoints",
    plural: "endpoints",
    short_names: &["ep"],
    namespaced: true,
    in_all: false,
    has_status: false,
    has_generation: false,
    has_scale: false,
    name_rule: NameRule::Subdomain,
    field_labels: &[],
    columns: &[Column::NAME, Column::text("Endpoints"), Column::AGE],
    row,
    schema: &schema::PLAIN,
    decode: decode::<Endpoints>,
    default: |endpoints| {
        for subset in json::each(endpoints, "subsets") {
            json::each(subset, "ports").for_each(|port| json::default(port, "protocol", "TCP"));
        }
    },
    validate,
};

fn row(endpoints: &Value, now: Timestamp) -> Vec<Value> {
    let mut pairs = Vec::new();
    for subset in json::list(endpoints, "/subsets") {
        let ports = json::list(subset, "/ports");
        for address in json::list(subset, "/addresses") {
            let ip = json::text(address, "/ip");
            match ports {
                [] => pairs.push(ip.to_owned()),
                ports => pairs.extend(ports.iter().map(|port| format!("{ip}:{}", json::number(port, "/port")))),
            }
        }
    }
    vec![json!(json::text(endpoints, "/metadata/name")), json!(shorten(&pairs)), age(endpoints, now)]
}

/// The first few, and how many more there are.
pub(super) fn shorten(texts: &[String]) -> String {
    match texts {
        [] => "<none>".to_owned(),
        texts if texts.len() <= SHOWN => texts.join(","),
        texts => format!("{} + {} more...", texts[..SHOWN].join(","), texts.len() - SHOWN),
    }
}

fn validate(endpoints: &Value, _: Option<&Value>, findings: &mut Findings) {
    for (index, subset) in json::list(endpoints, "/subsets").iter().enumerate() {
        for (at, address) in json::list(subset, "/addresses").iter().enumerate() {
            let ip = json::text(address, "/ip");
            if ip.parse::<std::net::IpAddr>().is_err() {
                let field = format!("subsets[{index}].addresses[{at}].ip");
                findings.invalid(field, &json!(ip), "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
            }
        }
    }
}
