//! OpenAPI v3, as little of it as makes `kubectl` leave validation to the server: for each kind a `PATCH` operation
//! that says of what kind it is and that it takes `fieldValidation`. And OpenAPI v2 without any definitions: `kubectl`
//! asks for it when it reads a `List`, and validates nothing of which it has no definition.

use serde_json::{Map, Value, json};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use super::{
    body::{self, Body},
    discovery::{groups, kinds},
};
use crate::kinds::Kind;

/// Path of the OpenAPI v2 document.
const V2: &str = "/openapi/v2";
/// What `kubectl` asks for there: gnostic's message `openapi.v2.Document`.
const V2_TYPE: HeaderValue = HeaderValue::from_static("application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
/// Such a message with the field `swagger` (1) and nothing else.
const V2_DOCUMENT: &[u8] = b"\x0a\x032.0";

/// The OpenAPI v2 document, at its path.
pub(super) fn document_v2(path: &str) -> Option<Response<Body>> {
    (path == V2).then(|| {
        let mut response = body::json(StatusCode::OK, Bytes::from_static(V2_DOCUMENT));
        response.headers_mut().insert(header::CONTENT_TYPE, V2_TYPE);
        response
    })
}

/// The document at a path.
pub(super) fn document(path: &str, all: impl Fn() -> Vec<Kind>) -> Option<Value> {
    let rest = path.strip_prefix("/openapi/v3")?.trim_matches('/');
    if rest.is_empty() {
        return Some(index(&all()));
    }
    let (group, version) = match rest.split('/').collect::<Vec<_>>().as_slice() {
        ["api", version] => (String::new(), (*version).to_owned()),
        ["apis", group, version] => ((*group).to_owned(), (*version).to_owned()),
        _ => return None,
    };
    let kinds = kinds(&all(), &group, &version);
    (!kinds.is_empty()).then(|| describe(&kinds))
}

fn index(all: &[Kind]) -> Value {
    let names = all.iter().map(|kind| kind.resource().qualified()).fold(0, hash);
    let core = ("api/v1".to_owned(), "v1");
    let others = groups(all).into_iter().map(|(group, version)| (format!("apis/{group}/{version}"), version));
    let paths: Map<String, Value> = [core]
        .into_iter()
        .chain(others)
        .map(|(path, version)| {
            // Clients cache by the hash; the documents change with the build and with what clients define.
            let url = format!("/openapi/v3/{path}?hash={}-{version}-{names:x}", env!("CARGO_PKG_VERSION"));
            (path, json!({"serverRelativeURL": url}))
        })
        .collect();
    json!({"paths": paths})
}

/// FNV-1a, 64 bits, going on from `state`.
fn hash(state: u64, text: String) -> u64 {
    text.bytes()
        .fold(state ^ 0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

fn describe(kinds: &[Kind]) -> Value {
    let paths: Map<String, Value> = kinds.iter().map(|kind| operation(*kind)).collect();
    json!({
        "openapi": "3.0.0",
        "info": {"title": "meshbed", "version": "v1.32.4"},
        "paths": paths,
        "components": {"schemas": {}},
    })
}

fn operation(kind: Kind) -> (String, Value) {
    let resource = kind.resource();
    let root = match resource.group {
        "" => format!("/api/{}", resource.version),
        group => format!("/apis/{group}/{}", resource.version),
    };
    let path = match resource.namespaced {
        true => format!("{root}/namespaces/{{namespace}}/{}/{{name}}", resource.plural),
        false => format!("{root}/{}/{{name}}", resource.plural),
    };
    let parameter =
        |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
    let patch = json!({
        "description": format!("partially update the specified {}", resource.kind),
        "parameters": [parameter("dryRun"), parameter("fieldManager"), parameter("fieldValidation"), parameter("force")],
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": "patch",
        "x-kubernetes-group-version-kind": {
            "group": resource.group, "version": resource.version, "kind": resource.kind,
        },
    });
    (path, json!({"patch": patch}))
}
