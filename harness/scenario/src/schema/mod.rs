//! JSON Schemas of the files, for editors. Draft 2020-12.
//!
//! Those of scenarios are made from the same declarations that read them ([`record!`](crate::record!),
//! [`words!`](crate::words!)); topologies and agents have readers of their own, and tests that hold their schemas to them.

mod agent;
mod kernels;
mod link;
mod scenario;
mod topology;

use serde_json::{Map, Value, json};

pub use agent::agent_schema;
pub use kernels::kernels_schema;
pub(crate) use link::link_conditions;
pub use scenario::{schema, steps_schema};
pub use topology::topology_schema;

use crate::header::API_VERSION;

/// A JSON value: what schemas are.
pub type Json = Value;

/// The standard that the schemas follow.
const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

// ---- parts ----

/// Text that is not empty. Numbers and booleans have to be quoted.
pub(crate) fn text() -> Json {
    json!({ "type": "string", "minLength": 1 })
}

/// `true` or `false`.
pub(crate) fn boolean() -> Json {
    or_placeholder(json!({ "type": "boolean" }))
}

/// A whole number.
pub(crate) fn integer(min: u64, max: u64) -> Json {
    let mut schema = json!({ "type": "integer", "minimum": min });
    if max < u64::MAX {
        schema["maximum"] = max.into();
    }
    or_placeholder(schema)
}

/// A time with a unit.
pub(crate) fn duration() -> Json {
    json!({ "type": "string", "pattern": "[a-z]$|\\$\\{" })
}

/// A name of something of ours.
pub(crate) fn name() -> Json {
    json!({ "type": "string", "pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$|\\$\\{", "maxLength": 63 })
}

/// `name` or `namespace/name`.
pub(crate) fn object_key() -> Json {
    json!({ "type": "string", "pattern": "^([a-z0-9-]+/)?[a-z0-9-]+$|\\$\\{" })
}

/// One of these words.
pub(crate) fn words(words: &[&str]) -> Json {
    or_placeholder(json!({ "enum": words }))
}

/// A list of at least `min` items.
pub(crate) fn list(items: Json, min: usize) -> Json {
    let mut schema = json!({ "type": "array", "items": items });
    if min > 0 {
        schema["minItems"] = min.into();
    }
    schema
}

/// A mapping with these keys and no others.
pub(crate) fn object<K: Into<String>>(properties: impl IntoIterator<Item = (K, Json)>, required: &[String]) -> Json {
    let properties: Map<String, Value> = properties.into_iter().map(|(key, schema)| (key.into(), schema)).collect();
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema
}

/// Any of these.
pub(crate) fn any_of(schemas: impl IntoIterator<Item = Json>) -> Json {
    json!({ "anyOf": schemas.into_iter().collect::<Vec<_>>() })
}

/// Text in which a parameter is put, such as `${rate}`: it may become anything.
pub(crate) fn placeholder() -> Json {
    json!({ "type": "string", "pattern": "\\$\\{" })
}

/// This, or a parameter that becomes it.
pub(crate) fn or_placeholder(schema: Json) -> Json {
    any_of([schema, placeholder()])
}

/// End of a pattern that allows for parameters.
const OR_PARAMETER: &str = "|\\$\\{";

/// The schema for files that have no parameters.
pub(crate) fn without_parameters(schema: Json) -> Json {
    match schema {
        Value::Array(items) => items.into_iter().map(without_parameters).collect(),
        Value::Object(mut fields) => {
            if let Some(Value::Array(any)) = fields.get_mut("anyOf") {
                any.retain(|one| *one != placeholder());
                if let [only] = any.as_mut_slice() {
                    let only = only.take();
                    fields.remove("anyOf");
                    fields.extend(only.as_object().cloned().unwrap_or_default());
                }
            }
            if let Some(Value::String(pattern)) = fields.get_mut("pattern") {
                *pattern = pattern.trim_end_matches(OR_PARAMETER).to_owned();
            }
            fields.into_iter().map(|(key, value)| (key, without_parameters(value))).collect()
        }
        other => other,
    }
}

/// A schema that is defined elsewhere in the same file.
pub(crate) fn definition(name: &str) -> Json {
    json!({ "$ref": format!("#/$defs/{name}") })
}

/// The schema with documentation.
pub(crate) fn described(mut schema: Json, doc: &str) -> Json {
    schema["description"] = prose(doc).into();
    schema
}

/// Lines of documentation as one paragraph.
pub(crate) fn prose(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The first keys of every file.
pub(crate) fn header(kind: &str) -> [(String, Json); 2] {
    let version = json!({ "const": API_VERSION, "description": "Version of the language." });
    let kind = json!({ "const": kind, "description": "What kind of file this is." });
    [("apiVersion".to_owned(), version), ("kind".to_owned(), kind)]
}

/// A whole file.
pub(crate) fn document(title: &str, schema: Json, definitions: Map<String, Json>) -> Json {
    let mut document = json!({ "$schema": DRAFT, "title": title });
    if let (Value::Object(document), Value::Object(schema)) = (&mut document, schema) {
        document.extend(schema);
    }
    if !definitions.is_empty() {
        document["$defs"] = definitions.into();
    }
    document
}
