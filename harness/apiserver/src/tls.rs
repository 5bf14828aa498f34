//! TLS of the API server: its own certificate, and which client certificates are let in.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

use crate::options::Options;

/// TLS material could not be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file is missing or malformed.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// What was wrong with it.
        #[source]
        source: pem::Error,
    },
    /// The authority's certificate cannot be a trust anchor.
    #[error("cannot trust client authority `{path}`")]
    Authority {
        /// The file.
        path: PathBuf,
        /// What was wrong with it.
        #[source]
        source: rustls::Error,
    },
    /// No usable trust anchor at all.
    #[error("cannot verify client certificates")]
    Verifier(#[source] VerifierBuilderError),
    /// Certificate and key do not make a server identity.
    #[error("cannot serve certificate `{path}`")]
    Identity {
        /// The certificate file.
        path: PathBuf,
        /// What was wrong with it.
        #[source]
        source: rustls::Error,
    },
}

/// Reads the files that `options` names. Client certificates are optional: a bearer token does as well.
pub(crate) fn server_config(options: &Options) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    for authority in certificates(&options.client_ca)? {
        roots.add(authority).map_err(|source| TlsError::Authority { path: options.client_ca.clone(), source })?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .map_err(TlsError::Verifier)?;
    let key = PrivateKeyDer::from_pem_file(&options.tls_key)
        .map_err(|source| TlsError::Read { path: options.tls_key.clone(), source })?;
    let identity = |source| TlsError::Identity { path: options.tls_cert.clone(), source };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(identity)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(&options.tls_cert)?, key)
        .map_err(identity)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = |source| TlsError::Read { path: path.to_owned(), source };
    CertificateDer::pem_file_iter(path).map_err(read)?.collect::<Result<_, _>>().map_err(read)
}
