//! The files that tell an agent about remote clusters.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Control, ControlError, ControlErrorKind, error::While};
use crate::error::{Act, SystemError};

/// A node's configuration of one remote cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshConfig {
    path: PathBuf,
    /// On the same file system, and where nobody looks for configurations.
    draft: PathBuf,
}

impl Control {
    /// The configuration file of `remote` on `node`. It need not exist, and `remote` need not be a cluster of the mesh.
    pub fn mesh_config(&self, node: &str, remote: &str) -> Result<MeshConfig, ControlError> {
        let act = || format!("find the configuration of `{remote}` on node `{node}`");
        let (_, state) = self.find_node(node).during(act)?;
        let path = state.clustermesh_dir.join(remote);
        // A name with `/` or `..` in it is no name.
        if path.parent() != Some(&state.clustermesh_dir) || path.file_name().is_none() {
            return Err(ControlError::new(act(), ControlErrorKind::UnknownCluster(remote.to_owned())));
        }
        Ok(MeshConfig { draft: state.clustermesh_dir.with_extension("draft"), path })
    }
}

impl MeshConfig {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it; `None` if it does not exist.
    pub fn read(&self) -> Result<Option<String>, SystemError> {
        match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some).act(|| format!("read `{}`", self.path.display())),
        }
    }

    /// Writes it in one step: whoever looks sees the old file or the new one, never half of it. Returns what is in it now.
    pub fn write(&self, text: &str) -> Result<Option<String>, SystemError> {
        let act = || format!("write `{}`", self.path.display());
        fs::write(&self.draft, text).and_then(|()| fs::rename(&self.draft, &self.path)).act(act)?;
        self.read()
    }

    /// Removes it. Returns what was in it; `None` if it did not exist.
    pub fn remove(&self) -> Result<Option<String>, SystemError> {
        let before = self.read()?;
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(|()| before).act(|| format!("remove `{}`", self.path.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MeshConfig;

    #[test]
    fn written_read_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let config = MeshConfig { path: directory.path().join("beta"), draft: directory.path().join("draft") };
        assert_eq!(config.read().unwrap(), None);
        assert_eq!(config.remove().unwrap(), None);
        assert_eq!(config.write("a").unwrap().as_deref(), Some("a"));
        assert_eq!(config.write("b").unwrap().as_deref(), Some("b"));
        assert!(!config.draft.exists());
        assert_eq!(config.remove().unwrap().as_deref(), Some("b"));
        assert_eq!(config.read().unwrap(), None);
    }
}
