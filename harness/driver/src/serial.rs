//! Serial numbers of certificates, in files and on the wire: they tell a certificate from the one that it replaced.

use std::{fmt, fs, io, net::TcpStream, path::Path, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use serde::Serialize;
use x509_parser::parse_x509_certificate;

use crate::{
    error::{Act, SystemError},
    layout::ETCD_PORT,
    namespace::in_netns,
    pki::{self, CA, ETCD_ROOT},
    state::ClusterState,
};

/// How long connecting may take, and again each message of the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);

/// Serial number of a certificate: random, so that two never have the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Serial(String);

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// That of the certificate in `file`, which is PEM.
pub(crate) fn of_file(file: &Path) -> Result<Serial, SystemError> {
    let act = || format!("read the certificate `{}`", file.display());
    let pem = fs::read(file).act(act)?;
    CertificateDer::from_pem_slice(&pem).map_err(io::Error::other).and_then(|der| of(&der)).act(act)
}

/// That of the certificate that the etcd of `cluster` shows now, in a handshake of a client that trusts the cluster's authority.
pub(crate) fn presented(cluster: &ClusterState) -> Result<Serial, SystemError> {
    let config = Arc::new(client(&cluster.pki).act(|| "read the certificates of a client".to_owned())?);
    in_netns(&cluster.netns, || {
        let name = ServerName::from(std::net::IpAddr::V4(cluster.control_plane_ip));
        let mut tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut stream = TcpStream::connect_timeout(&(cluster.control_plane_ip, ETCD_PORT).into(), HANDSHAKE_TIMEOUT)?;
        stream.set_read_timeout(Some(HANDSHAKE_TIMEOUT))?;
        stream.set_write_timeout(Some(HANDSHAKE_TIMEOUT))?;
        while tls.is_handshaking() {
            tls.complete_io(&mut stream)?;
        }
        let shown = tls.peer_certificates().and_then(|chain| chain.first());
        of(shown.ok_or_else(|| io::Error::other("it showed none"))?)
    })
}

fn of(certificate: &CertificateDer<'_>) -> io::Result<Serial> {
    let (_, certificate) = parse_x509_certificate(certificate).map_err(io::Error::other)?;
    Ok(Serial(certificate.raw_serial_as_string()))
}

/// A client that shows the harness's own certificate.
fn client(pki: &Path) -> io::Result<ClientConfig> {
    let certificate =
        |name| CertificateDer::from_pem_slice(&fs::read(pki::certificate_file(pki, name))?).map_err(io::Error::other);
    let mut trusted = RootCertStore::empty();
    trusted.add(certificate(CA)?).map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_slice(&fs::read(pki::key_file(pki, ETCD_ROOT))?).map_err(io::Error::other)?;
    let shown = vec![certificate(ETCD_ROOT)?];
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|client| client.with_root_certificates(trusted).with_client_auth_cert(shown, key))
        .map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::of_file;
    use crate::pki;

    #[test]
    fn every_certificate_has_a_serial_number_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.crt");
        let mut serials = Vec::new();
        for _ in 0..2 {
            std::fs::write(&file, pki::make_authority("test").unwrap().certificate).unwrap();
            serials.push(of_file(&file).unwrap());
            assert_eq!(of_file(&file).unwrap(), serials[serials.len() - 1], "it is read, not made up");
        }
        assert_ne!(serials[0], serials[1]);
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\n").unwrap();
        let error = of_file(&file).unwrap_err();
        assert_eq!(error.act, format!("read the certificate `{}`", file.display()));
    }
}
