//! Reading objects and lists of them.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{Response, StatusCode};
use serde_json::json;

use super::accept::Form;
use super::api::{Api, Call};
use super::body::{self, Body};
use super::path::Subresource;
use super::table::{Include, Tables, metadata_only};
use crate::error::ApiError;
use crate::kinds::Kind;
use crate::registry;
use crate::store::{FieldSelector, Key, LabelSelector, Name, Object, State};

/// Which objects of a kind a request is about.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    namespace: Option<String>,
    name: Option<String>,
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Filter {
    /// Reads path and selectors.
    pub(super) fn new(call: &Call) -> Result<Self, ApiError> {
        let labels = call.query.get("labelSelector").map(LabelSelector::parse).transpose()?.unwrap_or_default();
        let parse = |text| FieldSelector::parse(call.target.kind, text);
        let fields = call.query.get("fieldSelector").map(parse).transpose()?.unwrap_or_default();
        Ok(Self { namespace: call.target.namespace.clone(), name: call.target.name.clone(), labels, fields })
    }

    /// Whether the request is about this object.
    pub(super) fn sees(&self, object: &Object) -> bool {
        self.namespace.as_deref().is_none_or(|namespace| namespace == object.namespace())
            && self.name.as_deref().is_none_or(|name| name == object.name())
            && self.labels.matches(object.value())
            && self.fields.matches(object)
    }

    /// Whether the request is about all objects of the kind.
    pub(super) fn sees_all(&self) -> bool {
        self.namespace.is_none() && self.name.is_none() && self.labels.is_empty() && self.fields.is_empty()
    }

    /// The objects at the newest revision, those after `after` only if given.
    pub(super) fn objects<'s>(
        &'s self,
        state: &'s State,
        kind: Kind,
        after: Option<Name>,
    ) -> impl Iterator<Item = (&'s Name, &'s std::sync::Arc<Object>)> {
        let everything = self.sees_all();
        let objects = state.collection(kind).iter(self.namespace.as_deref(), after);
        objects.filter(move |(_, object)| everything || self.sees(object))
    }
}

/// What a list request gets: a revision, objects, and where to go on.
struct Page {
    revision: u64,
    objects: Vec<std::sync::Arc<Object>>,
    next: Option<String>,
    remaining: usize,
}

impl Api {
    /// `GET` of one object.
    pub(super) fn get(&self, call: &Call, name: &str, part: Option<Subresource>) -> Result<Response<Body>, ApiError> {
        let kind = call.target.kind;
        let key = Key::new(kind, call.target.namespace.clone().unwrap_or_default(), name);
        let object = self.cluster.read(|state| state.get(&key).cloned());
        let object = object.ok_or_else(|| ApiError::not_found(kind.resource(), name))?;
        match part {
            None | Some(Subresource::Status) => Ok(present(call, StatusCode::OK, &object)),
            Some(Subresource::Scale) => Ok(body::value(StatusCode::OK, &registry::scale_of(&object))),
            Some(_) => Err(ApiError::method_not_allowed()),
        }
    }

    /// `GET` of a list.
    pub(super) fn list(&self, call: &Call) -> Result<Response<Body>, ApiError> {
        let page = self.page(call)?;
        let resource = call.target.kind.resource();
        let mut metadata = json!({"resourceVersion": page.revision.to_string()});
        if let Some(next) = page.next {
            metadata["continue"] = json!(next);
            metadata["remainingItemCount"] = json!(page.remaining);
        }
        let text = match Form::parse(&call.accept) {
            Form::Whole => {
                let head = json!({"kind": format!("{}List", resource.kind), "apiVersion": resource.api_version()});
                join(&head, &metadata, page.objects.iter().map(|object| object.json()))
            }
            Form::Metadata => {
                let head = json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"});
                let items = page.objects.iter().map(|object| Bytes::from(metadata_only(object.value()).to_string()));
                join(&head, &metadata, items)
            }
            Form::Table => {
                let tables = Tables::new(resource, Include::parse(call.query.get("includeObject")));
                let values = page.objects.iter().map(|object| object.value());
                Bytes::from(tables.render(values, metadata).to_string())
            }
        };
        Ok(body::json(StatusCode::OK, text))
    }

    fn page(&self, call: &Call) -> Result<Page, ApiError> {
        let kind = call.target.kind;
        let filter = Filter::new(call)?;
        let limit = call.query.number("limit")?.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(0);
        let token = call.query.get("continue").map(parse_token).transpose()?;
        let asked = call.query.resource_version()?;
        let exact = call.query.get("resourceVersionMatch") == Some("Exact");
        self.cluster.read(|state| {
            let newest = state.revision();
            if let Some(asked) = asked.filter(|asked| *asked > newest || (exact && *asked != newest)) {
                return Err(ApiError::expired(format!(
                    "The provided resource version is not available: {asked} ({newest})"
                )));
            }
            let (revision, after) = match token {
                Some((revision, after)) => {
                    state.collection(kind).check(revision)?;
                    (revision, Some(after))
                }
                None => (newest, None),
            };
            let mut objects = Vec::new();
            let mut next = None;
            let mut found = filter.objects(state, kind, after).peekable();
            while let Some((name, object)) = found.next() {
                objects.push(std::sync::Arc::clone(object));
                if objects.len() == limit && found.peek().is_some() {
                    // Later pages show later changes. Whoever watches from the first page's revision, which all pages
                    // carry, hears of them again, so nothing is missed.
                    next = Some(format!("{revision}.{}/{}", name.namespace, name.name));
                    break;
                }
            }
            let remaining = found.count();
            Ok(Page { revision, objects, next, remaining })
        })
    }
}

fn parse_token(token: &str) -> Result<(u64, Name), ApiError> {
    let parsed = token.split_once('.').and_then(|(revision, name)| {
        let (namespace, name) = name.split_once('/')?;
        Some((revision.parse().ok()?, Name::new(namespace, name)))
    });
    parsed.ok_or_else(|| ApiError::bad_request("continue key is not valid: it is not one that this server gave"))
}

/// One object in the form that the client wants.
pub(super) fn present(call: &Call, status: StatusCode, object: &Object) -> Response<Body> {
    match Form::parse(&call.accept) {
        Form::Whole => body::json(status, object.json()),
        Form::Metadata => body::value(status, &metadata_only(object.value())),
        Form::Table => {
            let tables = Tables::new(call.target.kind.resource(), Include::parse(call.query.get("includeObject")));
            let metadata = json!({"resourceVersion": object.value()["metadata"]["resourceVersion"]});
            body::value(status, &tables.render([object.value()], metadata))
        }
    }
}

/// Puts a list together out of the texts of its items.
fn join(head: &serde_json::Value, metadata: &serde_json::Value, items: impl Iterator<Item = Bytes>) -> Bytes {
    let mut text = BytesMut::new();
    let head = head.to_string();
    text.put_slice(head.trim_end_matches('}').as_bytes());
    text.put_slice(format!(",\"metadata\":{metadata},\"items\":[").as_bytes());
    for (index, item) in items.enumerate() {
        if index > 0 {
            text.put_u8(b',');
        }
        text.put_slice(&item);
    }
    text.put_slice(b"]}");
    text.freeze()
}
