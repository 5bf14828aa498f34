//! One connection to one etcd server.

use std::{
    hash::{BuildHasher, RandomState},
    io,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::Duration,
    vec::IntoIter,
};

use etcd_client::{Certificate, Channel, Client, ConnectOptions, Identity, TlsOptions};
use hyper_util::client::legacy::connect::{HttpConnector, dns::Name};
use tonic::transport::Endpoint;
use tower::{Service, service_fn};

use super::{EtcdConfig, EtcdStore, HostAliases};
use crate::{SessionError, error::chain};

/// Limit for TCP and TLS set-up with one endpoint: several round trips around the world and a lost packet. A longer
/// one would only wait: the kernel repeats a lost SYN after 1, 3 and 7 s, a new attempt begins with one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// gRPC keepalive, Cilium's values: a peer that vanished without a word is noticed within 40 s.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// See [`KEEPALIVE_INTERVAL`].
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(25);

/// Connects to the first endpoint that answers, starting at a random one so that many clients spread.
///
/// Certificates and key are read anew each time, so that renewed ones need no restart.
pub(super) async fn dial(config: &EtcdConfig) -> Result<EtcdStore, SessionError> {
    let count = config.endpoints.len();
    let start = usize::try_from(RandomState::new().hash_one(count) % count.max(1) as u64).unwrap_or_default();
    let mut last = SessionError::Connect { endpoint: String::new(), reason: "no endpoints".to_owned() };
    for url in config.endpoints.iter().cycle().skip(start).take(count) {
        match dial_endpoint(config, url).await {
            Ok(store) => return Ok(store),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn dial_endpoint(config: &EtcdConfig, url: &str) -> Result<EtcdStore, SessionError> {
    let error = |reason| SessionError::Connect { endpoint: url.to_owned(), reason };
    let mut endpoint = Endpoint::from_shared(url.to_owned())
        .map_err(|e| error(chain(&e)))?
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    if endpoint.uri().scheme_str() == Some("https") {
        endpoint = endpoint.tls_config(tls(config)?).map_err(|e| error(chain(&e)))?;
    }
    let connector = connector(config.host_aliases.clone());
    let channel = tokio::time::timeout(CONNECT_TIMEOUT, endpoint.connect_with_connector(connector))
        .await
        .map_err(|_| error(format!("no connection after {CONNECT_TIMEOUT:?}")))?
        .map_err(|e| error(chain(&e)))?;
    let client = Client::from_channel(Channel::Tonic(channel), Some(ConnectOptions::new().with_require_leader(true)))
        .await
        .map_err(|e| error(chain(&e)))?;
    Ok(EtcdStore::new(&client))
}

/// Opens TCP connections, to addresses of aliases where there are any.
fn connector(
    aliases: HostAliases,
) -> HttpConnector<impl Service<Name, Response = IntoIter<SocketAddr>, Error = io::Error, Future: Send> + Clone + Send>
{
    let aliases = Arc::new(aliases);
    let resolver = service_fn(move |name: Name| {
        let aliases = aliases.clone();
        // Port 0 is replaced by that of the URL.
        async move { aliases.resolve(name.as_str(), 0).await.map(Vec::into_iter) }
    });
    let mut connector = HttpConnector::new_with_resolver(resolver);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    // Others than `http` are welcome: what comes on top of TCP is added by the caller.
    connector.enforce_http(false);
    connector
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
