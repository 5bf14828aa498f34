//! Certificates that have run out, are not valid yet, or come from somebody else; and the old ones again.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::Serialize;

use super::{Control, ControlError, ControlErrorKind, blocking, error::While};
use crate::{
    error::{Act, SystemError},
    pki,
};

/// Folder in a cluster's `pki` with the files that were replaced.
const SAVED: &str = "saved";

/// A certificate of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateName {
    /// What signs all others, and what everybody trusts.
    Ca,
    /// etcd's own. etcd reads it for each new connection.
    EtcdServer,
    /// The API server's own, read when it starts.
    ApiServer,
    /// With which the exporter writes to etcd.
    EtcdAdmin,
    /// Of readers within the cluster.
    EtcdLocal,
    /// With which agents of other clusters read this cluster's etcd.
    Remote,
}

impl CertificateName {
    /// Name of its files.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Ca => pki::CA,
            Self::EtcdServer => pki::ETCD_SERVER,
            Self::ApiServer => pki::API_SERVER,
            Self::EtcdAdmin => pki::ETCD_ADMIN,
            Self::EtcdLocal => pki::ETCD_LOCAL,
            Self::Remote => pki::REMOTE,
        }
    }
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// For decades, as those of a new mesh.
    Usual,
    /// It ran out an hour ago.
    Expired,
    /// It begins in an hour.
    NotYet,
    /// From long ago until then.
    Until(SystemTime),
}

/// Who signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The cluster's own authority.
    Own,
    /// Another one that has nothing to do with it.
    Foreign,
}

/// A certificate was replaced; [`Control::restore_certificates`] puts the old one back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reissued {
    /// Which one.
    pub name: CertificateName,
    /// Certificate and key, with what they have in them now.
    pub files: [PathBuf; 2],
}

impl Control {
    /// Replaces a certificate of `cluster` and its key. Programs that are running see it when they read it again: etcd for
    /// each new connection, agents when they connect, an API server when it starts.
    pub async fn reissue(
        &self,
        cluster: &str,
        name: CertificateName,
        validity: Validity,
        authority: Authority,
    ) -> Result<Reissued, ControlError> {
        let act = || format!("reissue certificate `{}` of cluster `{cluster}`", name.file_name());
        let state = self.find_cluster(cluster).during(act)?;
        let work = move || {
            save(&state.pki, name.file_name())?;
            let new = pki::reissue(&state, &saved(&state.pki), name.file_name(), validity, authority)?;
            let files = files(&state.pki, name.file_name());
            for (path, content) in files.iter().zip([new.certificate, new.key]) {
                replace(path, content.as_bytes())?;
            }
            Ok::<_, ControlErrorKind>(Reissued { name, files })
        };
        blocking(work).await.during(act)
    }

    /// Puts back, byte for byte, all certificates and keys of `cluster` that were replaced. Returns the files.
    pub async fn restore_certificates(&self, cluster: &str) -> Result<Vec<PathBuf>, ControlError> {
        let act = || format!("restore the certificates of cluster `{cluster}`");
        let state = self.find_cluster(cluster).during(act)?;
        blocking(move || restore(&state.pki)).await.during(act)
    }
}

fn saved(pki: &Path) -> PathBuf {
    pki.join(SAVED)
}

fn files(folder: &Path, name: &str) -> [PathBuf; 2] {
    [pki::certificate_file(folder, name), pki::key_file(folder, name)]
}

/// Keeps what is replaced for the first time.
fn save(folder: &Path, name: &str) -> Result<(), SystemError> {
    let saved = saved(folder);
    fs::create_dir_all(&saved).act(|| format!("make `{}`", saved.display()))?;
    for (from, to) in files(folder, name).into_iter().zip(files(&saved, name)) {
        if !to.exists() {
            fs::copy(&from, &to).act(|| format!("copy `{}`", from.display()))?;
        }
    }
    Ok(())
}

fn restore(folder: &Path) -> Result<Vec<PathBuf>, SystemError> {
    let saved = saved(folder);
    let act = || format!("list `{}`", saved.display());
    let entries = match fs::read_dir(&saved) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.act(act)?,
    };
    let mut restored = Vec::new();
    for entry in entries {
        let from = entry.act(act)?;
        let to = folder.join(from.file_name());
        // With its permissions: the file itself comes back.
        fs::rename(from.path(), &to).act(|| format!("restore `{}`", to.display()))?;
        restored.push(to);
    }
    restored.sort();
    fs::remove_dir(&saved).act(|| format!("remove `{}`", saved.display()))?;
    Ok(restored)
}

/// Replaces a file in one step, with the permissions that it has.
fn replace(path: &Path, content: &[u8]) -> Result<(), SystemError> {
    let act = || format!("write `{}`", path.display());
    let permissions = fs::metadata(path).act(act)?.permissions();
    let draft = path.with_extension("new");
    fs::write(&draft, content).and_then(|()| fs::set_permissions(&draft, permissions)).act(act)?;
    fs::rename(&draft, path).act(act)
}
