//! One connection to one etcd server.

use std::{
    hash::{BuildHasher, RandomState},
    path::Path,
    time::Duration,
};

use etcd_client::{
    Certificate, Channel, Client, ConnectOptions, Identity, KvClient, LeaseClient, ResponseHeader, TlsOptions,
    WatchClient,
};
use tonic::transport::Endpoint;

use crate::{EtcdConfig, SessionError, error::chain};

/// Limit for TCP and TLS set-up with one endpoint: several round trips around the world and a lost packet. A longer
/// one would only wait: the kernel repeats a lost SYN after 1, 3 and 7 s, a new attempt begins with one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// gRPC keepalive, Cilium's values: a peer that vanished without a word is noticed within 40 s.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// See [`KEEPALIVE_INTERVAL`].
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(25);
/// Limit for a single request. Watches are not bound by it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest answer that is taken, in bytes: a page of 256 values of etcd's largest size, 1.5 MiB.
const ANSWER_SIZE_MAX: usize = 256 * 3 / 2 * 1024 * 1024;

/// The services of one etcd server that we use. Clones share the connection.
#[derive(Clone)]
pub(crate) struct Connection {
    /// Keys and values.
    pub(crate) kv: KvClient,
    /// Watches.
    pub(crate) watch: WatchClient,
    /// Leases.
    pub(crate) lease: LeaseClient,
    /// Which etcd it is.
    pub(crate) etcd: EtcdIdentity,
}

/// Connects to the first endpoint that answers, starting at a random one so that many clients spread.
///
/// Certificates and key are read anew each time, so that renewed ones need no restart.
pub(crate) async fn connect(config: &EtcdConfig) -> Result<Connection, SessionError> {
    let count = config.endpoints.len();
    let start = usize::try_from(RandomState::new().hash_one(count) % count.max(1) as u64).unwrap_or_default();
    let mut last = SessionError::Connect { endpoint: String::new(), reason: "no endpoints".to_owned() };
    for url in config.endpoints.iter().cycle().skip(start).take(count) {
        match connect_endpoint(config, url).await {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn connect_endpoint(config: &EtcdConfig, url: &str) -> Result<Connection, SessionError> {
    let error = |reason| SessionError::Connect { endpoint: url.to_owned(), reason };
    let mut endpoint = Endpoint::from_shared(url.to_owned())
        .map_err(|e| error(chain(&e)))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    if endpoint.uri().scheme_str() == Some("https") {
        endpoint = endpoint.tls_config(tls(config)?).map_err(|e| error(chain(&e)))?;
    }
    let channel = tokio::time::timeout(CONNECT_TIMEOUT, endpoint.connect())
        .await
        .map_err(|_| error(format!("no connection after {CONNECT_TIMEOUT:?}")))?
        .map_err(|e| error(chain(&e)))?;
    let client = Client::from_channel(Channel::Tonic(channel), Some(ConnectOptions::new().with_require_leader(true)))
        .await
        .map_err(|e| error(chain(&e)))?;
    Ok(Connection {
        kv: client.kv_client().max_decoding_message_size(ANSWER_SIZE_MAX),
        watch: client.watch_client().max_decoding_message_size(ANSWER_SIZE_MAX),
        lease: client.lease_client(),
        etcd: EtcdIdentity::default(),
    })
}

/// TLS settings; the server is checked against the host name or address in the endpoint's URL.
fn tls(config: &EtcdConfig) -> Result<TlsOptions, SessionError> {
    let mut tls = TlsOptions::new();
    if let Some(ca) = &config.trusted_ca_file {
        tls = tls.ca_certificate(Certificate::from_pem(read(ca)?));
    }
    if let (Some(certificate), Some(key)) = (&config.cert_file, &config.key_file) {
        tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
    }
    Ok(tls)
}

fn read(path: &Path) -> Result<Vec<u8>, SessionError> {
    std::fs::read(path).map_err(|error| SessionError::Pem { path: path.display().to_string(), error })
}

/// Runs a request with the limit [`REQUEST_TIMEOUT`].
pub(crate) async fn request<T>(
    act: &'static str,
    future: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, SessionError> {
    tokio::time::timeout(REQUEST_TIMEOUT, future)
        .await
        .map_err(|_| SessionError::TimedOut { act, after: REQUEST_TIMEOUT })?
        .map_err(SessionError::request(act))
}

/// The etcd that a session talks to: known from its first answer, and checked on every later one, because
/// several replicas behind one address each have revisions of their own.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EtcdIdentity(Option<u64>);

impl EtcdIdentity {
    /// The etcd's cluster ID, once an answer came.
    pub(crate) fn get(&self) -> Option<u64> {
        self.0
    }

    /// Checks an answer's header and returns the revision in it.
    pub(crate) fn check(&mut self, act: &'static str, header: Option<&ResponseHeader>) -> Result<i64, SessionError> {
        let header = header.ok_or(SessionError::NoHeader { act })?;
        let now = header.cluster_id();
        let first = *self.0.get_or_insert(now);
        if first == now { Ok(header.revision()) } else { Err(SessionError::OtherEtcd { first, now }) }
    }
}
