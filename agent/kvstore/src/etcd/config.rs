//! Cilium's etcd client configuration file: where an etcd is and how to prove who we are.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use mesh_planted::{Defect, planted};
use serde::Deserialize;

use super::HostAliases;
use crate::error::chain;

/// Largest configuration file that is read, in bytes: a real one has about 300.
const FILE_SIZE_MAX: u64 = 1 << 20;

/// What an etcd client configuration file says. Unknown keys are ignored, as other versions may write more.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EtcdConfig {
    /// URLs of the etcd servers, `https://…` or `http://…`. One that answers is enough.
    pub endpoints: Vec<String>,
    /// PEM file of the authority that signed the servers' certificates.
    pub trusted_ca_file: Option<PathBuf>,
    /// PEM file of our own private key.
    pub key_file: Option<PathBuf>,
    /// PEM file of our own certificate.
    pub cert_file: Option<PathBuf>,
    /// Addresses of hosts in `endpoints`.
    #[serde(rename = "cilium-host-aliases", default)]
    pub host_aliases: HostAliases,
}

impl EtcdConfig {
    /// Reads the file at `path`. Relative paths in it are relative to its folder.
    pub fn read(path: &Path) -> Result<Self, EtcdConfigError> {
        let error = |kind| EtcdConfigError { path: path.to_owned(), kind };
        let size = fs::metadata(path).map_err(|e| error(EtcdConfigErrorKind::Read(e)))?.len();
        if size > FILE_SIZE_MAX {
            return Err(error(EtcdConfigErrorKind::TooLarge(size)));
        }
        let text = fs::read_to_string(path).map_err(|e| error(EtcdConfigErrorKind::Read(e)))?;
        let mut config = Self::parse(&text).map_err(error)?;
        if let Some(folder) = path.parent() {
            for file in [&mut config.trusted_ca_file, &mut config.key_file, &mut config.cert_file].into_iter().flatten()
            {
                *file = folder.join(&file);
            }
        }
        Ok(config)
    }

    /// Parses the content of such a file.
    fn parse(text: &str) -> Result<Self, EtcdConfigErrorKind> {
        let config: Self = serde_saphyr::from_str(text).map_err(|e| EtcdConfigErrorKind::Syntax(e.to_string()))?;
        if config.endpoints.is_empty() {
            return Err(EtcdConfigErrorKind::NoEndpoints);
        }
        if config.key_file.is_some() != config.cert_file.is_some() {
            return Err(EtcdConfigErrorKind::HalfIdentity);
        }
        Ok(config)
    }
}

/// A configuration file that is read again and again. Whatever becomes of it, what was usable once stays in force until
/// there is something better: a file that is half written must not cost a connection.
#[derive(Debug)]
pub(super) struct ConfigFile {
    path: PathBuf,
    last: Option<EtcdConfig>,
}

impl ConfigFile {
    /// The file at `path`, not read yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, last: None }
    }

    /// What the file says, or said when it could last be used.
    pub(super) fn read(&mut self) -> Result<EtcdConfig, EtcdConfigError> {
        match (EtcdConfig::read(&self.path), &self.last) {
            (_, Some(last)) if planted(Defect::ConfigChangeIgnored) => Ok(last.clone()),
            (Ok(config), _) => {
                self.last = Some(config.clone());
                Ok(config)
            }
            (Err(error), Some(last)) => {
                tracing::warn!(error = chain(&error), "etcd configuration cannot be used, the one before is");
                Ok(last.clone())
            }
            (Err(error), None) => Err(error),
        }
    }
}

/// An etcd client configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("invalid etcd configuration `{}`", path.display())]
pub struct EtcdConfigError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub kind: EtcdConfigErrorKind,
}

/// What can be wrong with an etcd client configuration.
#[derive(Debug, thiserror::Error)]
pub enum EtcdConfigErrorKind {
    /// The file cannot be read.
    #[error("failed to read the file")]
    Read(#[source] io::Error),
    /// The file is far larger than any real one.
    #[error("file has {0} bytes, at most {FILE_SIZE_MAX} are read")]
    TooLarge(u64),
    /// Not YAML, or not of the right shape.
    #[error("{0}")]
    Syntax(String),
    /// `endpoints` is an empty list.
    #[error("`endpoints` is empty")]
    NoEndpoints,
    /// Only one of `key-file` and `cert-file` is there.
    #[error("`key-file` and `cert-file` need each other")]
    HalfIdentity,
}

#[cfg(test)]
mod tests {
    use indoc::indoc;

    use super::*;

    #[test]
    fn reads_what_cilium_writes() {
        let config = EtcdConfig::parse(indoc! {"
            endpoints:
            - https://beta.mesh.cilium.io:32379
            trusted-ca-file: /var/lib/cilium/clustermesh/common-etcd-client-ca.crt
            key-file: /var/lib/cilium/clustermesh/common-etcd-client.key
            cert-file: /var/lib/cilium/clustermesh/common-etcd-client.crt
            cilium-host-aliases:
              beta.mesh.cilium.io: [172.18.2.2]
        "})
        .expect("a real file parses");
        assert_eq!(config.endpoints, ["https://beta.mesh.cilium.io:32379"]);
        assert_eq!(config.key_file.as_deref(), Some(Path::new("/var/lib/cilium/clustermesh/common-etcd-client.key")));
    }

    #[test]
    fn relative_paths_start_at_the_file() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("beta");
        fs::write(&path, "endpoints: [https://192.0.2.1:2379]\ntrusted-ca-file: ca.crt\n").expect("written");
        let config = EtcdConfig::read(&path).expect("valid");
        assert_eq!(config.trusted_ca_file, Some(folder.path().join("ca.crt")));
    }

    #[test]
    fn what_was_usable_once_stays_in_force() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("beta");
        let mut file = ConfigFile::new(path.clone());
        assert!(file.read().is_err(), "never usable");
        for (text, expected) in [("endpoints: [http://a:1]", "http://a:1"), ("endpoi", "http://a:1")] {
            fs::write(&path, text).expect("written");
            assert_eq!(file.read().expect("held").endpoints, [expected], "{text}");
        }
        fs::remove_file(&path).expect("removed");
        assert_eq!(file.read().expect("held").endpoints, ["http://a:1"]);
        fs::write(&path, "endpoints: [http://b:1]").expect("written");
        assert_eq!(file.read().expect("usable").endpoints, ["http://b:1"]);
    }

    #[test]
    fn says_what_is_wrong() {
        assert!(matches!(EtcdConfig::parse("endpoints: []"), Err(EtcdConfigErrorKind::NoEndpoints)));
        assert!(matches!(EtcdConfig::parse("endpoints: {"), Err(EtcdConfigErrorKind::Syntax(_))));
        assert!(matches!(
            EtcdConfig::parse("endpoints: [http://a:1]\nkey-file: k"),
            Err(EtcdConfigErrorKind::HalfIdentity)
        ));
    }
}
