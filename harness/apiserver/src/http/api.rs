//! One request: who asks, for what, and which part of the server answers.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::body::{self, Body};
use super::path::{self, Named, Subresource, Target};
use super::query::Query;
use super::{aggregated, discovery, openapi};
use crate::admin::{RefusedStatus, Verb};
use crate::cluster::Cluster;
use crate::error::ApiError;
use crate::kinds::Kind;
use crate::misbehaviour::{Caller, Connection, Hit, Misbehaviour};
use crate::options::Limits;

/// The Kubernetes version whose API is emulated; `kubectl` warns when it is more than one minor version away.
const EMULATED: (&str, &str, &str) = ("1", "32", "v1.32.4+meshbed");

/// What the TLS layer knows about the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// It showed a certificate of the client authority.
    Certified,
    /// It did not.
    Anonymous,
}

/// The API of one cluster.
pub(crate) struct Api {
    pub(crate) cluster: Arc<Cluster>,
    pub(super) limits: Limits,
    pub(super) closing: CancellationToken,
    pub(crate) misbehaviour: Arc<Misbehaviour>,
    token: String,
}

/// A request to a resource, taken apart.
pub(super) struct Call {
    /// Who makes it.
    pub(super) caller: Caller,
    /// What it is about.
    pub(super) target: Target,
    /// Its parameters.
    pub(super) query: Query,
    /// `Accept`.
    pub(super) accept: String,
    /// `Content-Type`.
    pub(super) content_type: String,
    /// Its body.
    pub(super) body: Bytes,
}

impl Call {
    /// The body as JSON.
    pub(super) fn value(&self) -> Result<Value, ApiError> {
        body::parse(&self.body, &self.content_type)
    }
}

impl Api {
    /// An API that lets in whoever has `token`, and ends its watches when `closing` is cancelled.
    pub(crate) fn new(cluster: Arc<Cluster>, token: String, limits: Limits, closing: CancellationToken) -> Self {
        Self { cluster, limits, closing, token, misbehaviour: Arc::new(Misbehaviour::new()) }
    }

    /// Answers one request, as well or as badly as the rules in force have it.
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
        peer: Peer,
        connection: &Connection,
    ) -> Response<Body> {
        let caller = caller(&request);
        let first = connection.spoken_by(&caller.user_agent);
        if self.misbehaviour.is_empty() {
            return self.respond(request, peer, caller).await;
        }
        let began = Instant::now();
        let response = match self.misbehaviour.before(&caller, connection, first) {
            Some(Hit::Cut) => {
                // The connection is on its way down, and this task with it.
                self.closing.cancelled().await;
                return body::error(&ApiError::refused(RefusedStatus::ServiceUnavailable, None));
            }
            Some(Hit::Refused { status, retry_after_seconds }) => body::refused(status, retry_after_seconds),
            None => self.respond(request, peer, caller.clone()).await,
        };
        self.misbehaviour.hold_back(&caller, began).await;
        response
    }

    async fn respond(&self, request: Request<Incoming>, peer: Peer, caller: Caller) -> Response<Body> {
        self.route(request, peer, caller).await.unwrap_or_else(|error| body::error(&error))
    }

    async fn route(&self, request: Request<Incoming>, peer: Peer, caller: Caller) -> Result<Response<Body>, ApiError> {
        let (parts, incoming) = request.into_parts();
        let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let path = parts.uri.path();
        if parts.method == Method::GET {
            // Asked by probes that have no token.
            match path {
                "/healthz" | "/livez" | "/readyz" => return Ok(body::plain("ok")),
                "/version" => return Ok(body::value(StatusCode::OK, &version())),
                _ => {}
            }
        }
        let bearer = text(header::AUTHORIZATION);
        if peer != Peer::Certified && bearer.strip_prefix("Bearer ").map(str::trim) != Some(self.token.as_str()) {
            return Err(ApiError::unauthorized());
        }
        let accept = text(header::ACCEPT);
        if parts.method == Method::GET {
            let kinds = || self.cluster.read(|state| state.kinds().collect::<Vec<_>>());
            if let Some(response) = aggregated::answer(path, &accept, kinds) {
                return Ok(response);
            }
            if let Some(response) = openapi::document_v2(path) {
                return Ok(response);
            }
            if let Some(document) = discovery::document(path, kinds).or_else(|| openapi::document(path, kinds)) {
                return Ok(body::value(StatusCode::OK, &document));
            }
        }
        let target = path::parse(path, |group, version, plural| self.kind_at(group, version, plural))?;
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let body = body::read(incoming, self.limits.body_bytes).await?;
        let call = Call { caller, target, query, accept, content_type: text(header::CONTENT_TYPE), body };
        self.dispatch(&parts.method, &call)
    }

    /// The kind that a path names; for those that clients define the cluster has to be asked.
    fn kind_at(&self, group: &str, version: &str, plural: &str) -> Option<Kind> {
        let is_it = |kind: &Kind| kind.is_at(group, version, plural);
        Kind::ALL.into_iter().find(is_it).or_else(|| self.cluster.read(|state| state.kinds().find(is_it)))
    }

    fn dispatch(&self, method: &Method, call: &Call) -> Result<Response<Body>, ApiError> {
        let Target { name, subresource, .. } = &call.target;
        match (method.as_str(), name, subresource) {
            ("GET", None, _) if call.query.flag("watch") => self.watch(call),
            ("GET", None, _) => self.list(call),
            ("GET", Some(_), None) if call.query.flag("watch") => self.watch(call),
            ("GET", Some(name), part) => self.get(call, name, *part),
            ("POST", None, _) => self.create(call),
            ("POST", Some(name), Some(Subresource::Binding)) => self.bind(call, name),
            ("POST", Some(name), Some(Subresource::Eviction)) => self.evict(call, name),
            ("PUT", Some(name), part) => self.replace(call, name, *part),
            ("PATCH", Some(name), part) => self.patch(call, name, *part),
            ("DELETE", Some(name), None) => self.delete(call, name),
            ("DELETE", None, _) => self.delete_all(call),
            _ => Err(ApiError::method_not_allowed()),
        }
    }
}

/// Who asks for what, as rules look at it. It is read from the path alone: rules hit unknown resources as well.
fn caller(request: &Request<Incoming>) -> Caller {
    let user_agent = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let (resource, named) = path::resource(request.uri().path());
    let watches = || Query::parse(request.uri().query().unwrap_or_default()).flag("watch");
    let verb = match (request.method().as_str(), named) {
        ("POST", _) => Verb::Create,
        ("PUT", _) => Verb::Update,
        ("PATCH", _) => Verb::Patch,
        ("DELETE", Named::One) => Verb::Delete,
        ("DELETE", _) => Verb::DeleteCollection,
        (_, Named::Nothing) => Verb::Get,
        (_, Named::One | Named::All) if watches() => Verb::Watch,
        (_, Named::One) => Verb::Get,
        (_, Named::All) => Verb::List,
    };
    Caller { verb, resource: resource.to_owned(), user_agent: user_agent.unwrap_or_default().to_owned() }
}

fn version() -> Value {
    let (major, minor, git_version) = EMULATED;
    json!({
        "major": major, "minor": minor, "gitVersion": git_version, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}
