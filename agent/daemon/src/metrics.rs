//! Prometheus metrics, under Cilium's names: the server, and what each role tells.
//!
//! Values are looked up when somebody asks for them, not counted beside the state.

mod exporter;
mod remote;

use std::{convert::Infallible, net::SocketAddr};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming, header::CONTENT_TYPE, service::service_fn};
use hyper_util::rt::TokioIo;
use prometheus::{Encoder as _, GaugeVec, Opts, Registry, TextEncoder};
use tokio::{net::TcpListener, sync::mpsc, sync::oneshot, task::JoinSet};

pub(crate) use exporter::ExporterMetrics;
pub(crate) use remote::{Subsystem, remote_clusters};

/// Where metrics are.
const PATH: &str = "/metrics";
/// Connections served at once; whoever comes later waits.
const CONNECTIONS_MAX: usize = 16;
/// Questions that may wait for whoever knows.
const QUESTIONS_WAITING_MAX: usize = 16;

/// Gauges on their way to a text.
pub(crate) struct Gauges {
    registry: Registry,
    /// Labels that all of them have.
    common: Vec<(&'static str, String)>,
}

impl Gauges {
    /// None yet; all will have these labels.
    pub(crate) fn new(common: Vec<(&'static str, String)>) -> Self {
        Self { registry: Registry::new(), common }
    }

    /// Adds a gauge with a value for each of `values`, which have labels of their own besides the common ones.
    pub(crate) fn add<'a>(
        &self,
        name: &str,
        help: &str,
        labels: &[&'static str],
        values: impl IntoIterator<Item = (Vec<&'a str>, f64)>,
    ) -> anyhow::Result<()> {
        let names: Vec<&str> = self.common.iter().map(|(name, _)| *name).chain(labels.iter().copied()).collect();
        let gauge = GaugeVec::new(Opts::new(name, help), &names).context("a gauge has a bad name")?;
        for (own, value) in values {
            let all: Vec<&str> = self.common.iter().map(|(_, value)| value.as_str()).chain(own).collect();
            gauge.get_metric_with_label_values(&all).context("a gauge has other labels")?.set(value);
        }
        self.registry.register(Box::new(gauge)).context("a gauge is there twice")
    }

    /// The text that Prometheus reads.
    pub(crate) fn text(&self) -> anyhow::Result<String> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8(text)?)
    }
}

/// A question for a text of metrics, with the place for the answer.
pub(crate) type MetricsRequest = oneshot::Sender<String>;

/// Listens at `address`, and hands questions on; nobody ever asks when there is none.
pub(crate) async fn serve(address: Option<SocketAddr>) -> anyhow::Result<mpsc::Receiver<MetricsRequest>> {
    let (questions, receiver) = mpsc::channel(QUESTIONS_WAITING_MAX);
    match address {
        Some(address) => {
            let listener = TcpListener::bind(address).await;
            let listener = listener.with_context(|| format!("failed to serve metrics at `{address}`"))?;
            tracing::info!(%address, "metrics are served");
            tokio::spawn(accept(listener, questions));
        }
        // Lives as long as the program, so that the receiver waits for ever.
        None => drop(tokio::spawn(async move { questions.closed().await })),
    }
    Ok(receiver)
}

async fn accept(listener: TcpListener, questions: mpsc::Sender<MetricsRequest>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    let questions = questions.clone();
                    connections.spawn(async move {
                        let service = service_fn(|request| answer(request, questions.clone()));
                        let server = hyper::server::conn::http1::Builder::new();
                        if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                            tracing::debug!(%error, "connection for metrics broke");
                        }
                    });
                }
                Err(error) => tracing::warn!(%error, "failed to accept a connection for metrics"),
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    questions: mpsc::Sender<MetricsRequest>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, text) = match request.uri().path() {
        PATH => match ask(&questions).await {
            Some(text) => (StatusCode::OK, text),
            None => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
        },
        _ => (StatusCode::NOT_FOUND, format!("metrics are at {PATH}\n")),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(prometheus::TEXT_FORMAT));
    Ok(response)
}

async fn ask(questions: &mpsc::Sender<MetricsRequest>) -> Option<String> {
    let (sender, receiver) = oneshot::channel();
    questions.send(sender).await.ok()?;
    receiver.await.ok()
}
