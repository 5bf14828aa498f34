//! Kubernetes manifests: one or more YAML documents, each an object.

use serde_json::Value;

/// Bytes of a manifest file: what Kubernetes allows for one object, doubled.
const MANIFEST_BYTES_MAX: usize = 3 << 20;

/// A manifest file that is no list of Kubernetes objects.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file is larger than any sensible manifest.
    #[error("it has {found} bytes, at most {MANIFEST_BYTES_MAX} are read")]
    TooLarge {
        /// Its size.
        found: usize,
    },
    /// It is no YAML.
    #[error("it is no valid YAML")]
    Yaml(#[source] Box<serde_saphyr::Error>),
    /// A document lacks what every object has.
    #[error("document {document} has no `{field}`")]
    Field {
        /// Number of the document, from 1.
        document: usize,
        /// Path of the field.
        field: &'static str,
    },
}

/// Reads the objects of a manifest file. Empty documents are left out.
pub fn manifests(text: &str) -> Result<Vec<Value>, ManifestError> {
    if text.len() > MANIFEST_BYTES_MAX {
        return Err(ManifestError::TooLarge { found: text.len() });
    }
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| ManifestError::Yaml(Box::new(error)))?;
    let objects: Vec<Value> = documents.into_iter().filter(|document| !document.is_null()).collect();
    for (index, object) in objects.iter().enumerate() {
        for (field, pointer) in [("apiVersion", "/apiVersion"), ("kind", "/kind"), ("metadata.name", "/metadata/name")]
        {
            if object.pointer(pointer).and_then(Value::as_str).is_none_or(str::is_empty) {
                return Err(ManifestError::Field { document: index + 1, field });
            }
        }
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_read_in_order_and_empty_ones_left_out() {
        let text = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n---\n---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: b\n  annotations: {on: \"true\"}\n";
        let objects = manifests(text).expect("valid");
        let names: Vec<_> = objects.iter().map(|object| object["metadata"]["name"].as_str()).collect();
        assert_eq!(names, [Some("a"), Some("b")]);
        assert_eq!(objects[1]["metadata"]["annotations"]["on"], "true");
    }

    #[test]
    fn a_document_without_a_name_is_refused() {
        let error = manifests("apiVersion: v1\nkind: Service\n").expect_err("no name");
        assert_eq!(error.to_string(), "document 1 has no `metadata.name`");
    }
}
