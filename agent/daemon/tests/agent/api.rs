//! As much of a Kubernetes API server as `mesh-agent` asks for: lists and watches of Services and EndpointSlices.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

type Body = BoxBody<Bytes, Infallible>;

/// The server; it lives as long as the test's runtime.
#[derive(Clone)]
pub(crate) struct Api {
    address: SocketAddr,
    store: Arc<Mutex<Store>>,
}

#[derive(Default)]
struct Store {
    version: u64,
    objects: BTreeMap<(&'static str, String), Value>,
    watches: Vec<(&'static str, mpsc::UnboundedSender<Bytes>)>,
    misbehaviour: Option<Misbehaviour>,
}

impl Store {
    /// Sends what was written after `version`.
    fn tell_since(&self, kind: &str, version: u64, watch: &mpsc::UnboundedSender<Bytes>) {
        let written =
            |object: &Value| object["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok());
        for object in self.objects.iter().filter(|((of, _), _)| *of == kind).map(|(_, object)| object) {
            if written(object).is_some_and(|written: u64| written > version) {
                let event = json!({"type": "MODIFIED", "object": object});
                watch.send(Bytes::from(format!("{event}\n"))).expect("the receiver is there");
            }
        }
    }
}

/// The resource version that a watch is to begin after.
fn since(request: &Request<Incoming>) -> u64 {
    let query = request.uri().query().unwrap_or_default();
    let version = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion="));
    version.and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// What an API server can do to its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misbehaviour {
    /// Every request gets this status.
    Refuses(StatusCode),
    /// Every watch is refused with `410 Gone`; lists work.
    WatchesGone,
    /// Every watch begins, says `410 Gone` and ends; lists work.
    WatchesExpire,
    /// Every watch ends at once; lists work.
    WatchesEnd,
}

impl Misbehaviour {
    /// The answer to a request, if it is one that is answered badly.
    fn answer(self, is_watch: bool) -> Option<Response<Body>> {
        let status = |code: u16| {
            let text = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "reason": "Expired", "code": code, "message": "on purpose"});
            text.to_string()
        };
        match self {
            Self::Refuses(code) => Some(response(code, Full::from(status(code.as_u16())).boxed())),
            _ if !is_watch => None,
            Self::WatchesGone => Some(response(StatusCode::GONE, Full::from(status(410)).boxed())),
            Self::WatchesExpire => {
                let event = format!("{{\"type\":\"ERROR\",\"object\":{}}}\n", status(410));
                Some(response(StatusCode::OK, Full::from(event).boxed()))
            }
            Self::WatchesEnd => Some(response(StatusCode::OK, Full::default().boxed())),
        }
    }
}

impl Api {
    /// Starts one without objects.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let api = Self { address: listener.local_addr().expect("bound"), store: Arc::default() };
        let server = api.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("accepted");
                tokio::spawn(server.clone().serve(stream));
            }
        });
        api
    }

    /// Writes a kubeconfig for it.
    pub(crate) fn write_kubeconfig(&self, path: &Path) {
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "test", "user": {}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        });
        fs::write(path, text.to_string()).expect("written");
    }

    /// Ends all watches, and from now on answers as `misbehaviour` says; as it should without one.
    pub(crate) fn misbehave(&self, misbehaviour: impl Into<Option<Misbehaviour>>) {
        let mut store = self.store();
        store.misbehaviour = misbehaviour.into();
        store.watches.clear();
    }

    /// Global service `default/web` with the cluster IP `ip`.
    pub(crate) fn apply_service(&self, ip: &str) {
        self.apply(
            "services",
            "web",
            json!({
                "metadata": {"annotations": {"service.cilium.io/global": "true"}},
                "spec": {"clusterIP": ip, "clusterIPs": [ip], "selector": {"name": "web"},
                    "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP"}]},
            }),
        );
    }

    /// The only slice of that service, with these ready backends.
    pub(crate) fn apply_slice(&self, backends: &[&str]) {
        let endpoints: Vec<Value> =
            backends.iter().map(|ip| json!({"addresses": [ip], "conditions": {"ready": true}})).collect();
        self.apply(
            "endpointslices",
            "web-1",
            json!({
                "metadata": {"labels": {"kubernetes.io/service-name": "web"}},
                "addressType": "IPv4", "ports": [{"name": "", "port": 80, "protocol": "TCP"}], "endpoints": endpoints,
            }),
        );
    }

    fn apply(&self, kind: &'static str, name: &str, mut object: Value) {
        let mut store = self.store();
        store.version += 1;
        object["metadata"]["namespace"] = json!("default");
        object["metadata"]["name"] = json!(name);
        object["metadata"]["resourceVersion"] = json!(store.version.to_string());
        let known = store.objects.insert((kind, name.to_owned()), object.clone()).is_some();
        let event = json!({"type": if known { "MODIFIED" } else { "ADDED" }, "object": object});
        let line = Bytes::from(format!("{event}\n"));
        store.watches.retain(|(watched, watch)| *watched != kind || watch.send(line.clone()).is_ok());
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().expect("no panic while locked")
    }

    async fn serve(self, stream: TcpStream) {
        stream.set_nodelay(true).expect("a socket");
        let service = service_fn(|request| std::future::ready(Ok::<_, Infallible>(self.answer(&request))));
        // Ends with an error whenever a client goes away in the middle of a watch.
        drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        let (kind, list, version) = match request.uri().path() {
            "/api/v1/services" => ("services", "ServiceList", "v1"),
            "/apis/discovery.k8s.io/v1/endpointslices" => {
                ("endpointslices", "EndpointSliceList", "discovery.k8s.io/v1")
            }
            "/api/v1/namespaces" => ("namespaces", "NamespaceList", "v1"),
            "/api/v1/nodes" => ("nodes", "NodeList", "v1"),
            "/api/v1/pods" => ("pods", "PodList", "v1"),
            "/apis/cilium.io/v2/ciliumnodes" => ("ciliumnodes", "CiliumNodeList", "cilium.io/v2"),
            "/apis/cilium.io/v2/ciliumendpoints" => ("ciliumendpoints", "CiliumEndpointList", "cilium.io/v2"),
            "/apis/cilium.io/v2/ciliumidentities" => ("ciliumidentities", "CiliumIdentityList", "cilium.io/v2"),
            // Cilium's kinds are there.
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions" => return conflict(),
            _ => return response(StatusCode::NOT_FOUND, Full::default().boxed()),
        };
        let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let mut store = self.store();
        if let Some(answer) = store.misbehaviour.and_then(|misbehaviour| misbehaviour.answer(is_watch)) {
            return answer;
        }
        if is_watch {
            let (sender, receiver) = mpsc::unbounded_channel();
            store.tell_since(kind, since(request), &sender);
            store.watches.push((kind, sender));
            let frames = stream::unfold(receiver, async |mut receiver| {
                let line = receiver.recv().await?;
                Some((Ok(Frame::data(line)), receiver))
            });
            return response(StatusCode::OK, StreamBody::new(Box::pin(frames)).boxed());
        }
        let items: Vec<&Value> =
            store.objects.iter().filter(|((of, _), _)| *of == kind).map(|(_, object)| object).collect();
        let metadata = json!({"resourceVersion": store.version.to_string()});
        let body = json!({"kind": list, "apiVersion": version, "metadata": metadata, "items": items});
        response(StatusCode::OK, Full::from(body.to_string()).boxed())
    }
}

fn conflict() -> Response<Body> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "AlreadyExists", "code": 409,
        "message": "it is there",
    });
    response(StatusCode::CONFLICT, Full::from(status.to_string()).boxed())
}

fn response(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    response
}
