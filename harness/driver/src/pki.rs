//! Keys and certificates of a cluster. An authority, its own or one for the whole mesh, signs for etcd and for the
//! Kubernetes API.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, date_time_ymd,
};

use crate::{
    control::{Authority, Validity},
    error::{Act, PkiError, SystemError},
    etcd_users,
    state::ClusterState,
};

/// Name of the authority's certificate.
pub(crate) const CA: &str = "ca";
/// Name of etcd's own certificate.
pub(crate) const ETCD_SERVER: &str = "etcd-server";
/// Name of the API server's own certificate.
pub(crate) const API_SERVER: &str = "apiserver";
/// Name of the certificate with which the harness does whatever it wants in etcd.
pub(crate) const ETCD_ROOT: &str = "etcd-client-root";
/// Name of the certificate with which the exporter writes to etcd.
pub(crate) const ETCD_ADMIN: &str = "etcd-client-admin";
/// Name of the certificate for readers within the cluster.
pub(crate) const ETCD_LOCAL: &str = "etcd-client-local";
/// Name of an authority that nobody in the mesh has heard of.
const FOREIGN: &str = "meshbed foreign authority";
/// Name of the file with the bearer token of the Kubernetes API.
const TOKEN: &str = "token";
/// How long ago an expired certificate ran out, and how far away the beginning of one is that is not valid yet. Enough
/// for every tolerance of clocks.
const OFF_BY: Duration = Duration::from_secs(3600);
/// 128 bits: a token that cannot be guessed.
const TOKEN_BYTES: usize = 16;

/// File of the certificate called `name`.
pub(crate) fn certificate_file(pki: &Path, name: &str) -> PathBuf {
    pki.join(format!("{name}.crt"))
}

/// File of the private key of the certificate called `name`.
pub(crate) fn key_file(pki: &Path, name: &str) -> PathBuf {
    pki.join(format!("{name}.key"))
}

/// File of the bearer token of the Kubernetes API.
pub(crate) fn token_file(pki: &Path) -> PathBuf {
    pki.join(TOKEN)
}

/// A certificate that the authority signs.
struct Leaf {
    /// Name of its files.
    name: String,
    /// Of a client of etcd: the user.
    common_name: String,
    names: Vec<SanType>,
    usages: Vec<ExtendedKeyUsagePurpose>,
}

impl Leaf {
    fn params(&self) -> CertificateParams {
        let mut params = params(&self.common_name);
        params.subject_alt_names = self.names.clone();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = self.usages.clone();
        params.use_authority_key_identifier_extension = true;
        params
    }
}

/// Everything that the authority of `cluster` signs.
fn leaves(cluster: &ClusterState) -> Vec<Leaf> {
    let (server, client) = (ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth);
    let leaf = |name: &str, common_name: &str, names: &[SanType], usages: &[ExtendedKeyUsagePurpose]| Leaf {
        name: name.to_owned(),
        common_name: common_name.to_owned(),
        names: names.to_vec(),
        usages: usages.to_vec(),
    };
    let of_client = |name: &str, user: &str| leaf(name, user, &[], std::slice::from_ref(&client));
    let names = server_names(cluster);
    let mut leaves = vec![
        // etcd's JSON gateway connects to etcd itself with the server's certificate, which is nobody's user.
        leaf(ETCD_SERVER, "etcd", &names, &[server.clone(), client.clone()]),
        leaf(API_SERVER, "kube-apiserver", &names, &[server]),
        of_client(ETCD_ROOT, etcd_users::ROOT),
        of_client(ETCD_ADMIN, &etcd_users::admin(&cluster.name)),
        of_client(ETCD_LOCAL, &etcd_users::local(&cluster.name)),
    ];
    leaves.extend(cluster.remote_certificates.iter().map(|user| of_client(user, user)));
    leaves
}

/// Another authority.
pub(crate) fn make_authority(name: &str) -> Result<Issued, PkiError> {
    let key = KeyPair::generate().map_err(PkiError::Generate)?;
    let certificate = authority(name).self_signed(&key).map_err(PkiError::Generate)?;
    Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// Makes everything that `ca`, the cluster's authority, signs and stores it in the cluster's `pki` directory, which exists.
/// Returns the token.
pub(crate) fn make(cluster: &ClusterState, ca: &Issued) -> Result<String, PkiError> {
    store(&cluster.pki, CA, &ca.certificate, &ca.key)?;
    let ca_params = authority(&cluster.authority);
    let issuer = Issuer::from_params(&ca_params, KeyPair::from_pem(&ca.key).map_err(PkiError::Generate)?);
    for leaf in leaves(cluster) {
        let key = KeyPair::generate().map_err(PkiError::Generate)?;
        let certificate = leaf.params().signed_by(&key, &issuer).map_err(PkiError::Generate)?;
        store(&cluster.pki, &leaf.name, &certificate.pem(), &key.serialize_pem())?;
    }
    make_token(&cluster.pki).map_err(PkiError::Store)
}

/// A certificate and its private key, as PEM.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Another certificate in place of the one called `name`. The cluster's own authority is looked for in `saved` first, where
/// it is when it was replaced itself.
pub(crate) fn reissue(
    cluster: &ClusterState,
    saved: &Path,
    name: &str,
    validity: Validity,
    signer: Authority,
) -> Result<Issued, PkiError> {
    let own_key = || {
        let file = Some(key_file(saved, CA)).filter(|file| file.exists()).unwrap_or_else(|| key_file(&cluster.pki, CA));
        let pem = fs::read_to_string(&file).act(|| format!("read `{}`", file.display())).map_err(PkiError::Store)?;
        KeyPair::from_pem(&pem).map_err(PkiError::Generate)
    };
    let (mut ca_params, ca_key) = match signer {
        Authority::Own => (authority(&cluster.authority), own_key()?),
        Authority::Foreign => (authority(FOREIGN), KeyPair::generate().map_err(PkiError::Generate)?),
    };
    let Some(leaf) = leaves(cluster).into_iter().find(|leaf| leaf.name == name) else {
        limit(&mut ca_params, validity);
        let certificate = ca_params.self_signed(&ca_key).map_err(PkiError::Generate)?;
        return Ok(Issued { certificate: certificate.pem(), key: ca_key.serialize_pem() });
    };
    let mut params = leaf.params();
    limit(&mut params, validity);
    let key = KeyPair::generate().map_err(PkiError::Generate)?;
    let issuer = Issuer::from_params(&ca_params, ca_key);
    let certificate = params.signed_by(&key, &issuer).map_err(PkiError::Generate)?;
    Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// Sets when a certificate is valid.
fn limit(params: &mut CertificateParams, validity: Validity) {
    let now = SystemTime::now();
    match validity {
        Validity::Usual => {}
        Validity::Expired => params.not_after = (now - OFF_BY).into(),
        Validity::NotYet => params.not_before = (now + OFF_BY).into(),
        Validity::Until(end) => params.not_after = end.into(),
    }
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    // A run lives for minutes, but a kept one may live long, and nobody wants to debug a clock.
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2099, 12, 31);
    params
}

/// Every authority of one name and key is the same one.
fn authority(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// What etcd and the API server are called: by their address, by programs in the same namespace and on the machine,
/// and by the `kubernetes` service.
fn server_names(cluster: &ClusterState) -> Vec<SanType> {
    let dns = |name: &str| SanType::DnsName(name.try_into().expect("the names below are ASCII"));
    let first_service_ip = Ipv4Addr::from(u32::from(cluster.service_cidr.network()).saturating_add(1));
    let addresses = [cluster.control_plane_ip, Ipv4Addr::LOCALHOST, first_service_ip];
    let mut names: Vec<SanType> =
        addresses.into_iter().map(|address| SanType::IpAddress(IpAddr::V4(address))).collect();
    names.extend(["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(dns));
    // Cilium's name of a peer's etcd.
    names.push(dns(&format!("{}.mesh.cilium.io", cluster.name)));
    names
}

fn make_token(pki: &Path) -> Result<String, SystemError> {
    use std::{fmt::Write as _, fs::File, io::Read};

    let mut bytes = [0; TOKEN_BYTES];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .act(|| "read `/dev/urandom`".to_owned())?;
    let mut token = String::with_capacity(2 * TOKEN_BYTES);
    for byte in bytes {
        write!(token, "{byte:02x}").expect("writing to a String cannot fail");
    }
    write_secret(&token_file(pki), &token)?;
    Ok(token)
}

fn store(pki: &Path, name: &str, certificate: &str, key: &str) -> Result<(), PkiError> {
    let path = certificate_file(pki, name);
    std::fs::write(&path, certificate).act(|| format!("write `{}`", path.display())).map_err(PkiError::Store)?;
    write_secret(&key_file(pki, name), key).map_err(PkiError::Store)
}

/// Writes a file that only root may read.
fn write_secret(path: &Path, content: &str) -> Result<(), SystemError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(content.as_bytes()))
        .act(|| format!("write `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::{CA, ETCD_ROOT, ETCD_SERVER, certificate_file, key_file, make, make_authority, token_file};
    use crate::testing;

    #[test]
    fn files_of_a_cluster() {
        let directory = tempfile::tempdir().unwrap();
        let state = testing::planned(&testing::options("k3f9x2".parse().unwrap()));
        let mut cluster = state.clusters[0].clone();
        cluster.pki = directory.path().to_owned();

        let ca = make_authority(&cluster.authority).unwrap();
        let token = make(&cluster, &ca).unwrap();

        assert_eq!(token.len(), 32);
        assert_eq!(fs::read_to_string(token_file(&cluster.pki)).unwrap(), token);
        for name in [CA, ETCD_SERVER, ETCD_ROOT, "remote"] {
            let certificate = fs::read_to_string(certificate_file(&cluster.pki, name)).unwrap();
            assert!(certificate.starts_with("-----BEGIN CERTIFICATE-----"), "{certificate}");
            let key = key_file(&cluster.pki, name);
            assert!(fs::read_to_string(&key).unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
            assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}
