//! The kubelet's client for the Kubernetes API: kube's own stack over connections that notice when nobody is there.

use std::{path::Path, time::Duration};

use hyper::header::{HeaderValue, USER_AGENT};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::{ClientBuilder, ConfigExt},
    config::{KubeConfigOptions, Kubeconfig},
};

use tower::{BoxError, ServiceExt};

use super::{error::KubeletError, node_object::KUBERNETES_VERSION};

/// Silence on a connection after which the other end's kernel is asked whether it is still there, the pause between
/// two such questions, and how many may stay unanswered. A watch is silent for minutes, and when a network heals, TCP by
/// itself may wait for two minutes before it tries again; a new connection is there at once.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(3);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEPALIVE_RETRIES: u32 = 3;
/// How long sent bytes may stay unacknowledged.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(5);
/// Time for a new connection.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// Makes a client of a kubeconfig file.
pub(crate) async fn make(path: &Path) -> Result<Client, KubeletError> {
    let failed = |source| KubeletError::Kubeconfig { path: path.to_owned(), source };
    let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(failed)?;
    build(config).map_err(|error| KubeletError::Client(Box::new(error)))
}

fn build(mut config: Config) -> Result<Client, kube::Error> {
    let agent = format!("kubelet/{KUBERNETES_VERSION} meshbed/{}", env!("CARGO_PKG_VERSION"));
    let agent = HeaderValue::try_from(agent).expect("versions are ASCII");
    config.headers.push((USER_AGENT, agent));
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT_MAX));
    http.set_keepalive(Some(KEEPALIVE_AFTER));
    http.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    http.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    http.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX));
    let https = config.rustls_https_connector_with_connector(http)?;
    let connections = legacy::Client::builder(TokioExecutor::new()).build(https);
    let connections = connections.map_err(BoxError::from);
    let builder =
        ClientBuilder::new(connections, config.default_namespace.clone()).with_layer(&config.extra_headers_layer()?);
    let base_uri = config.base_uri_layer();
    Ok(match config.auth_layer()? {
        Some(layer) => builder.with_layer(&layer).with_layer(&base_uri).build(),
        None => builder.with_layer(&base_uri).build(),
    })
}
