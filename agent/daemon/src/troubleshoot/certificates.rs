//! The certificates that a configuration names.

use std::{path::Path, sync::Arc, time::Duration};

use mesh_kvstore::EtcdConfig;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _, time::ASN1Time};

use super::Report;

/// Before each line about a kind of certificates.
const INDENT: &str = "   ";

/// Looks at the authority and at our own certificate.
pub(super) fn look(report: &mut Report, config: &EtcdConfig) {
    let authority = match &config.trusted_ca_file {
        Some(path) => list(report, "TLS Root CA certificates", path),
        None => {
            report.info(INDENT, "TLS Root CA certificates: not configured");
            None
        }
    };
    let (Some(certificate), Some(key)) = (&config.cert_file, &config.key_file) else {
        return report.info(INDENT, "TLS client certificates: not configured");
    };
    let Some(chain) = list(report, "TLS client certificates", certificate) else { return };
    if let Err(error) = read_key(key) {
        report.bad(INDENT, &format!("TLS client key: {error}"));
    }
    let Some(authority) = authority else { return };
    match is_signed(&chain, authority) {
        Ok(()) => report.good(INDENT, "TLS client certificate is signed by a configured root CA"),
        Err(error) => {
            report.info(INDENT, &format!("TLS client certificate is not verified by the configured root CAs: {error}"));
            report.info(INDENT, "That is right when each cluster has an authority of its own for its clients");
        }
    }
}

/// Reads all certificates of a PEM file.
pub(super) fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| failed(&error))?;
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().map_err(|error| failed(&error))?;
    if certificates.is_empty() { Err(failed(&"no certificates")) } else { Ok(certificates) }
}

/// Reads the private key of a PEM file.
pub(super) fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Tells what is in a file, and what is wrong with it.
fn list(report: &mut Report, what: &str, path: &Path) -> Option<Vec<CertificateDer<'static>>> {
    let certificates = match read(path) {
        Ok(certificates) => certificates,
        Err(error) => {
            report.bad(INDENT, &format!("{what}: {error}"));
            return None;
        }
    };
    report.line(&format!("{INDENT}{what}:"));
    for certificate in &certificates {
        match X509Certificate::from_der(certificate) {
            Ok((_, parsed)) => describe(report, &parsed),
            Err(error) => report.bad(INDENT, &format!("{what}: {error}")),
        }
    }
    Some(certificates)
}

fn describe(report: &mut Report, certificate: &X509Certificate<'_>) {
    let validity = certificate.validity();
    for (title, value) in [
        ("- Serial number:", certificate.raw_serial_as_string()),
        ("  Subject:", certificate.subject().to_string()),
        ("  Issuer:", certificate.issuer().to_string()),
        ("  Validity:", String::new()),
        ("    Not before:", validity.not_before.to_string()),
        ("    Not after:", validity.not_after.to_string()),
    ] {
        report.line(&format!("{INDENT}   {title:<20} {value}"));
    }
    let now = ASN1Time::now();
    if now > validity.not_after {
        report.bad(INDENT, "The certificate has expired");
    } else if now < validity.not_before {
        report.bad(INDENT, "The certificate is not valid yet");
    }
}

/// Whether somebody who trusts `authority` would take `chain` from a client.
fn is_signed(chain: &[CertificateDer<'static>], authority: Vec<CertificateDer<'static>>) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for certificate in authority {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().map_err(|error| error.to_string())?;
    let (first, others) = chain.split_first().ok_or("no certificates")?;
    let now = jiff::Timestamp::now().as_duration();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs().unsigned_abs()));
    verifier.verify_client_cert(first, others, now).map(drop).map_err(|error| error.to_string())
}
