//! Aggregated discovery: everything about all groups in two answers, which is what `kubectl` asks for first.

use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use super::body::{self, Body};
use super::discovery::{VERBS, groups, kinds, parts};
use crate::kinds::Kind;

const CONTENT_TYPE: HeaderValue =
    HeaderValue::from_static("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");

/// The answer, if this is the path and the client takes the form.
pub(super) fn answer(path: &str, accept: &str, all: impl Fn() -> Vec<Kind>) -> Option<Response<Body>> {
    let wanted = accept.split(',').any(|form| {
        let has = |parameter| form.split(';').any(|part| part.trim() == parameter);
        has("as=APIGroupDiscoveryList") && has("v=v2") && has("g=apidiscovery.k8s.io")
    });
    let items: Vec<Value> = match path.trim_end_matches('/') {
        _ if !wanted => return None,
        "/api" => vec![group(&all(), "", "v1")],
        "/apis" => {
            let all = all();
            groups(&all).into_iter().map(|(name, version)| group(&all, name, version)).collect()
        }
        _ => return None,
    };
    let list = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
    });
    let mut response = body::value(StatusCode::OK, &list);
    response.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
    Some(response)
}

fn group(all: &[Kind], name: &str, version: &str) -> Value {
    let resources: Vec<Value> = kinds(all, name, version).into_iter().map(resource).collect();
    let version = json!({"version": version, "resources": resources, "freshness": "Current"});
    json!({"metadata": {"name": name, "creationTimestamp": null}, "versions": [version]})
}

fn resource(kind: Kind) -> Value {
    let resource = kind.resource();
    let response = json!({"group": resource.group, "version": resource.version, "kind": resource.kind});
    let subresources: Vec<Value> = parts(kind)
        .into_iter()
        .map(|part| {
            let response = match part.other {
                Some((group, version, kind)) => json!({"group": group, "version": version, "kind": kind}),
                None => response.clone(),
            };
            json!({"subresource": part.name, "responseKind": response, "verbs": part.verbs})
        })
        .collect();
    json!({
        "resource": resource.plural, "responseKind": response,
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.kind.to_lowercase(), "verbs": VERBS, "shortNames": resource.short_names,
        "categories": if resource.in_all { &["all"][..] } else { &[] }, "subresources": subresources,
    })
}
