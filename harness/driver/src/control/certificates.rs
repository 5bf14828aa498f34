//! Certificates that have run out, are not valid yet, or come from somebody else; the old ones again; and new ones as good
//! as the old.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use futures::future::try_join_all;
use serde::Serialize;

use super::{Control, ControlError, ControlErrorKind, blocking, error::While};
use crate::{
    error::{Act, SystemError},
    outpost::{Call, File, Request},
    pki,
    serial::{self, Serial},
    state::ClusterState,
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
    /// With which the harness does whatever it wants in etcd.
    EtcdRoot,
    /// With which the exporter writes to etcd.
    EtcdAdmin,
    /// Of readers within the cluster.
    EtcdLocal,
    /// With which agents of other clusters read this cluster's etcd: one for all of them, or one for each cluster.
    Remote,
}

impl CertificateName {
    /// Those that clients of etcd show.
    pub const CLIENTS: [Self; 4] = [Self::EtcdRoot, Self::EtcdAdmin, Self::EtcdLocal, Self::Remote];

    /// What it is called; of all but [`Self::Remote`], also its files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ca => pki::CA,
            Self::EtcdServer => pki::ETCD_SERVER,
            Self::ApiServer => pki::API_SERVER,
            Self::EtcdRoot => pki::ETCD_ROOT,
            Self::EtcdAdmin => pki::ETCD_ADMIN,
            Self::EtcdLocal => pki::ETCD_LOCAL,
            Self::Remote => "remote",
        }
    }

    /// Names of its files in the `pki` folder of `cluster`, without the ending.
    pub fn file_names(self, cluster: &ClusterState) -> Vec<String> {
        match self {
            Self::Remote => cluster.remote_certificates.clone(),
            _ => vec![self.as_str().to_owned()],
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
    /// Certificates and keys, one after the other, with what they have in them now.
    pub files: Vec<PathBuf>,
}

/// A certificate was replaced by one that is as good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rotated {
    /// Name of its files, without the ending.
    pub file_name: String,
    /// The certificate; its key is beside it.
    pub file: PathBuf,
    /// Serial number of the old one.
    pub before: Serial,
    /// Serial number of the new one, as it is in the file.
    pub after: Serial,
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
        let act = || format!("reissue certificate `{}` of cluster `{cluster}`", name.as_str());
        let state = self.find_cluster(cluster).during(act)?;
        let pki = state.pki.clone();
        let work = move || {
            let mut replaced = Vec::new();
            for file_name in name.file_names(&state) {
                save(&state.pki, &file_name)?;
                let new = pki::reissue(&state, &saved(&state.pki), &file_name, validity, authority)?;
                let files = files(&state.pki, &file_name);
                replace(&files, [&new.certificate, &new.key])?;
                replaced.extend(files);
            }
            Ok::<_, ControlErrorKind>(Reissued { name, files: replaced })
        };
        self.change(pki, work).await.during(act)
    }

    /// Replaces a certificate of `cluster` and its key by others that are as good, as everybody has to now and then. Nothing is
    /// restarted, and there is no way back: the old ones are as good as forgotten.
    pub async fn rotate(&self, cluster: &str, name: CertificateName) -> Result<Vec<Rotated>, ControlError> {
        let act = || format!("rotate certificate `{}` of cluster `{cluster}`", name.as_str());
        let state = self.find_cluster(cluster).during(act)?;
        let pki = state.pki.clone();
        let work = move || {
            let mut rotated = Vec::new();
            for file_name in name.file_names(&state) {
                let new = pki::reissue(&state, &saved(&state.pki), &file_name, Validity::Usual, Authority::Own)?;
                let files = files(&state.pki, &file_name);
                let before = serial::of_file(&files[0])?;
                replace(&files, [&new.certificate, &new.key])?;
                let [file, _] = files;
                rotated.push(Rotated { before, after: serial::of_file(&file)?, file, file_name });
            }
            Ok::<_, ControlErrorKind>(rotated)
        };
        self.change(pki, work).await.during(act)
    }

    /// Serial number of the certificate that the etcd of `cluster` shows to a client that connects now and trusts it.
    pub async fn presented_serial(&self, cluster: &str) -> Result<Serial, ControlError> {
        let act = || format!("look at the certificate that the etcd of cluster `{cluster}` shows");
        let state = self.find_cluster(cluster).during(act)?;
        blocking(move || Ok::<_, ControlErrorKind>(serial::presented(&state)?)).await.during(act)
    }

    /// Puts back, byte for byte, all certificates and keys of `cluster` that were replaced. Returns the files.
    pub async fn restore_certificates(&self, cluster: &str) -> Result<Vec<PathBuf>, ControlError> {
        let act = || format!("restore the certificates of cluster `{cluster}`");
        let state = self.find_cluster(cluster).during(act)?;
        self.change(state.pki.clone(), move || restore(&state.pki)).await.during(act)
    }

    /// Does something to what is in a cluster's `pki` folder. Other machines have the certificates of all clusters, and get them.
    async fn change<T: Send + 'static, E: Into<ControlErrorKind> + Send + 'static>(
        &self,
        pki: PathBuf,
        work: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<T, ControlErrorKind> {
        let done = blocking(work).await.map_err(Into::into)?;
        if !self.outposts().is_empty() {
            let call = Call::Driver(Request::WriteFiles(File::all_of(&pki)?));
            try_join_all(self.outposts().iter().map(|outpost| outpost.call::<()>(&call))).await?;
        }
        Ok(done)
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

/// Replaces a certificate and its key, each in one step and one right after the other, with the permissions that they have.
fn replace(files: &[PathBuf; 2], contents: [&str; 2]) -> Result<(), SystemError> {
    let act = |path: &Path| format!("write `{}`", path.display());
    let draft = |path: &Path| path.with_added_extension("new");
    for (path, content) in files.iter().zip(contents) {
        let permissions = fs::metadata(path).act(|| act(path))?.permissions();
        let written = fs::write(draft(path), content);
        written.and_then(|()| fs::set_permissions(draft(path), permissions)).act(|| act(path))?;
    }
    files.iter().try_for_each(|path| fs::rename(draft(path), path).act(|| act(path)))
}
