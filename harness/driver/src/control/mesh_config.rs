//! The files that tell an agent about remote clusters.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{Control, ControlError, ControlErrorKind, error::While};
use crate::{
    Outpost,
    error::{Act, SystemError},
    outpost::{Call, Request},
};

/// What Kubernetes calls the link to the version of a volume that counts.
const DATA: &str = "..data";
/// Folders of two versions.
const VERSIONS: [&str; 2] = ["..v1", "..v2"];

/// A node's configuration of one remote cluster.
#[derive(Clone, Debug)]
pub struct MeshConfig {
    file: ConfigFile,
    /// The machine that has it, if it is not this one.
    elsewhere: Option<Arc<Outpost>>,
}

impl Control {
    /// The configuration file of `remote` on `node`. It need not exist, and `remote` need not be a cluster of the mesh.
    pub fn mesh_config(&self, node: &str, remote: &str) -> Result<MeshConfig, ControlError> {
        let act = || format!("find the configuration of `{remote}` on node `{node}`");
        let (cluster, state) = self.find_node(node).during(act)?;
        let file = ConfigFile::of(&state.clustermesh_dir, remote).during(act)?;
        Ok(MeshConfig { file, elsewhere: self.outpost_of(cluster.name.as_str()).cloned() })
    }

    /// The same of what copies remote clusters into the etcd of `cluster`, if anything does.
    pub fn kvstoremesh_config(&self, cluster: &str, remote: &str) -> Result<Option<MeshConfig>, ControlError> {
        let act = || format!("find the configuration of `{remote}` for the KVStoreMesh of `{cluster}`");
        let state = self.find_cluster(cluster).during(act)?;
        if !self.lock_state().agents.kvstoremesh {
            return Ok(None);
        }
        let file = ConfigFile::of(&state.kvstoremesh_dir, remote).during(act)?;
        Ok(Some(MeshConfig { file, elsewhere: self.outpost_of(cluster).cloned() }))
    }
}

impl MeshConfig {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// What is in it; `None` if it does not exist.
    pub async fn read(&self) -> Result<Option<String>, SystemError> {
        self.act(ConfigAct::Read).await
    }

    /// Writes it in one step: whoever looks sees the old file or the new one, never half of it. Returns what is in it now.
    pub async fn write(&self, text: &str) -> Result<Option<String>, SystemError> {
        self.act(ConfigAct::Write(text.to_owned())).await
    }

    /// Gives it the name of `other`, in one step. Returns what is in it; `None` if it does not exist.
    pub async fn rename(&self, other: &Self) -> Result<Option<String>, SystemError> {
        self.act(ConfigAct::Rename(other.file.clone())).await
    }

    /// Makes it what Kubernetes makes of a Secret in a volume: a link to a file of the same name behind `..data`, which is a
    /// link to a folder with a version. First that is a folder with the `old` content, then, in one step, one with the `new`.
    /// Returns what is in it now.
    pub async fn project(&self, old: &str, new: &str) -> Result<Option<String>, SystemError> {
        self.act(ConfigAct::Project { old: old.to_owned(), new: new.to_owned() }).await
    }

    /// Removes what [`Self::project`] made, apart from the file itself.
    pub async fn unproject(&self) -> Result<(), SystemError> {
        self.act(ConfigAct::Unproject).await.map(drop)
    }

    /// Removes it. Returns what was in it; `None` if it did not exist.
    pub async fn remove(&self) -> Result<Option<String>, SystemError> {
        self.act(ConfigAct::Remove).await
    }

    async fn act(&self, act: ConfigAct) -> Result<Option<String>, SystemError> {
        match &self.elsewhere {
            None => self.file.perform(act),
            Some(outpost) => outpost.call(&Call::Driver(Request::Config(self.file.clone(), act))).await,
        }
    }
}

/// What can be done with a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ConfigAct {
    /// See [`MeshConfig::read`].
    Read,
    /// See [`MeshConfig::write`].
    Write(String),
    /// See [`MeshConfig::rename`].
    Rename(ConfigFile),
    /// See [`MeshConfig::project`].
    Project { old: String, new: String },
    /// See [`MeshConfig::unproject`].
    Unproject,
    /// See [`MeshConfig::remove`].
    Remove,
}

/// A configuration file of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    /// On the same file system, and where nobody looks for configurations.
    draft: PathBuf,
}

impl ConfigFile {
    fn of(folder: &Path, remote: &str) -> Result<Self, ControlErrorKind> {
        let path = folder.join(remote);
        // A name with `/` or `..` in it is no name.
        if path.parent() != Some(folder) || path.file_name().is_none() {
            return Err(ControlErrorKind::UnknownCluster(remote.to_owned()));
        }
        Ok(Self { draft: folder.with_extension("draft"), path })
    }

    /// Does it. Returns what [`MeshConfig`]'s method returns.
    pub(crate) fn perform(&self, act: ConfigAct) -> Result<Option<String>, SystemError> {
        match act {
            ConfigAct::Read => self.read(),
            ConfigAct::Write(text) => self.write(&text),
            ConfigAct::Rename(other) => self.rename(&other),
            ConfigAct::Project { old, new } => self.project(&old, &new),
            ConfigAct::Unproject => self.unproject().map(|()| None),
            ConfigAct::Remove => self.remove(),
        }
    }

    fn read(&self) -> Result<Option<String>, SystemError> {
        match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some).act(|| format!("read `{}`", self.path.display())),
        }
    }

    fn write(&self, text: &str) -> Result<Option<String>, SystemError> {
        let act = || format!("write `{}`", self.path.display());
        fs::write(&self.draft, text).and_then(|()| fs::rename(&self.draft, &self.path)).act(act)?;
        self.read()
    }

    fn rename(&self, other: &Self) -> Result<Option<String>, SystemError> {
        let before = self.read()?;
        fs::rename(&self.path, &other.path).act(|| format!("rename `{}`", self.path.display()))?;
        Ok(before)
    }

    fn project(&self, old: &str, new: &str) -> Result<Option<String>, SystemError> {
        let act = || format!("project `{}`", self.path.display());
        let (folder, name) = (self.folder(), self.path.file_name().unwrap_or_default());
        for (version, content) in VERSIONS.iter().zip([old, new]) {
            fs::create_dir_all(folder.join(version)).act(act)?;
            fs::write(folder.join(version).join(name), content).act(act)?;
        }
        self.link(VERSIONS[0], &folder.join(DATA)).act(act)?;
        self.link(Path::new(DATA).join(name), &self.path).act(act)?;
        self.link(VERSIONS[1], &folder.join(DATA)).act(act)?;
        self.read()
    }

    fn unproject(&self) -> Result<(), SystemError> {
        let folder = self.folder();
        let act = || format!("clear `{}`", folder.display());
        fs::remove_file(folder.join(DATA)).act(act)?;
        VERSIONS.iter().try_for_each(|version| fs::remove_dir_all(folder.join(version))).act(act)
    }

    /// The folder that agents watch.
    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// Makes or replaces a symbolic link, in one step.
    fn link(&self, target: impl AsRef<Path>, link: &Path) -> io::Result<()> {
        symlink(target, &self.draft).and_then(|()| fs::rename(&self.draft, link))
    }

    fn remove(&self) -> Result<Option<String>, SystemError> {
        let before = self.read()?;
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(|()| before).act(|| format!("remove `{}`", self.path.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ConfigFile;

    #[test]
    fn written_read_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let config = ConfigFile { path: directory.path().join("beta"), draft: directory.path().join("draft") };
        assert_eq!(config.read().unwrap(), None);
        assert_eq!(config.remove().unwrap(), None);
        assert_eq!(config.write("a").unwrap().as_deref(), Some("a"));
        assert_eq!(config.write("b").unwrap().as_deref(), Some("b"));
        assert!(!config.draft.exists());
        let other = ConfigFile { path: directory.path().join("gamma"), ..config.clone() };
        assert_eq!(config.rename(&other).unwrap().as_deref(), Some("b"));
        assert_eq!((config.read().unwrap(), other.read().unwrap().as_deref()), (None, Some("b")));
        other.rename(&config).unwrap();
        assert_eq!(config.project("b", "c").unwrap().as_deref(), Some("c"));
        assert!(config.path.is_symlink() && directory.path().join("..data").is_symlink());
        config.write("b").unwrap();
        config.unproject().unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(!config.path.is_symlink());
        assert_eq!(config.remove().unwrap().as_deref(), Some("b"));
        assert_eq!(config.read().unwrap(), None);
    }
}
