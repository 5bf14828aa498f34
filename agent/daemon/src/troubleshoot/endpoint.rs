//! One endpoint of an etcd: name, TCP, TLS, version.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, Uri, header::HOST};
use hyper_util::rt::TokioIo;
use mesh_kvstore::EtcdConfig;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{Report, TIMEOUT, certificates, chain};

/// Before each line about an endpoint.
const INDENT: &str = "     ";
/// Port of an etcd whose URL names none.
const PORT: u16 = 2379;
/// What is spoken inside of TLS to ask for the version.
const HTTP1: &[u8] = b"http/1.1";

/// Looks at an endpoint as far as it can be reached.
pub(super) async fn look(report: &mut Report, url: &str, config: &EtcdConfig) {
    let uri: Uri = match url.parse() {
        Ok(uri) => uri,
        Err(error) => return report.bad(INDENT, &format!("Invalid URL: {error}")),
    };
    let Some(host) = uri.host() else { return report.bad(INDENT, "The URL has no host") };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = uri.port_u16().unwrap_or(PORT);
    let addresses = match timeout(TIMEOUT, config.host_aliases.resolve(&host, port)).await {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(error)) => return report.bad(INDENT, &format!("Cannot resolve hostname: {error}")),
        Err(_) => return report.bad(INDENT, &format!("Cannot resolve hostname within {TIMEOUT:?}")),
    };
    let Some(address) = addresses.first() else { return report.bad(INDENT, "Cannot resolve hostname: no addresses") };
    let texts: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    report.good(INDENT, &format!("Hostname resolved to: {}", texts.join(", ")));
    let stream = match timeout(TIMEOUT, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return report.bad(INDENT, &format!("Cannot establish TCP connection to {address}: {error}")),
        Err(_) => {
            return report.bad(INDENT, &format!("Cannot establish TCP connection to {address} within {TIMEOUT:?}"));
        }
    };
    report.good(INDENT, &format!("TCP connection successfully established to {address}"));
    let asked = match uri.scheme_str() {
        Some("https") => match tls(report, &host, &address.to_string(), stream, config).await {
            Some(stream) => version(stream, &host).await,
            None => return,
        },
        _ => version(stream, &host).await,
    };
    match asked {
        Ok(version) => report.info(INDENT, &format!("Etcd server version: {version}")),
        Err(error) => report.bad(INDENT, &format!("Cannot retrieve etcd server version: {error}")),
    }
}

async fn tls(
    report: &mut Report,
    host: &str,
    address: &str,
    stream: TcpStream,
    config: &EtcdConfig,
) -> Option<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut failed = |error: String| {
        report.bad(INDENT, &format!("Cannot establish TLS connection to {address}: {error}"));
        None
    };
    let config = match client_config(config) {
        Ok(config) => config,
        Err(error) => return failed(error),
    };
    let name = match ServerName::try_from(host.to_owned()) {
        Ok(name) => name,
        Err(error) => return failed(error.to_string()),
    };
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let stream = match timeout(TIMEOUT, connecting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return failed(error.to_string()),
        Err(_) => return failed(format!("nothing came within {TIMEOUT:?}")),
    };
    report.good(INDENT, &format!("TLS connection successfully established to {address}"));
    let (_, session) = stream.get_ref();
    let version = match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "unknown",
    };
    let suite = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str().map(str::to_owned));
    // rustls names suites of TLS 1.3 after the version; their real names begin as all others do.
    let suite = suite.unwrap_or_default().replace("TLS13_", "TLS_");
    report.info(INDENT, &format!("Negotiated TLS version: {version}, ciphersuite {suite}"));
    Some(stream)
}

fn client_config(config: &EtcdConfig) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &config.trusted_ca_file {
        for certificate in certificates::read(path)? {
            roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    let builder = ClientConfig::builder().with_root_certificates(roots);
    let mut config = match (&config.cert_file, &config.key_file) {
        (Some(certificate), Some(key)) => {
            let chain = certificates::read(certificate)?;
            builder.with_client_auth_cert(chain, certificates::read_key(key)?).map_err(|error| error.to_string())?
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![HTTP1.to_vec()];
    Ok(config)
}

/// Asks etcd for its version. A server that refuses our certificate says so only now: in TLS 1.3 the client is done before.
async fn version<S>(stream: S, host: &str) -> Result<String, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let asking = async {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| chain(&error))?;
        let request = Request::get("/version").header(HOST, host).body(Empty::<Bytes>::new());
        let answer = async {
            let response = sender.send_request(request.map_err(|error| chain(&error))?).await.map_err(|e| chain(&e))?;
            let body = response.into_body().collect().await.map_err(|error| chain(&error))?.to_bytes();
            let answer: serde_json::Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
            Ok(answer["etcdserver"].as_str().unwrap_or("unknown").to_owned())
        };
        tokio::select! {
            biased;
            answer = answer => answer,
            Err(error) = connection => Err(chain(&error)),
        }
    };
    timeout(TIMEOUT, asking).await.unwrap_or_else(|_| Err(format!("nothing came within {TIMEOUT:?}")))
}
