//! The directory that says which remote clusters there are: a file a cluster, the name of the
//! file being the name of the cluster.

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use mesh_types::ClusterName;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::net::unix::pipe;

/// What a file must contain to be taken for a cluster's etcd configuration.
const MARK: &[u8] = b"endpoints:";
/// Larger files are certificates at best; a configuration has about 300 bytes.
const FILE_SIZE_MAX: u64 = 1 << 20;
/// Bytes of inotify's queue taken at once; one event has at most 272.
const EVENTS_SIZE: usize = 4096;

/// What changed about a remote cluster's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FileChange {
    /// It is there.
    Added {
        /// The cluster.
        cluster: ClusterName,
        /// Its file.
        path: PathBuf,
    },
    /// It has other content.
    Changed {
        /// The cluster.
        cluster: ClusterName,
    },
    /// It is gone.
    Removed {
        /// The cluster.
        cluster: ClusterName,
    },
}

/// The directory, watched.
pub(crate) struct MeshDirectory {
    path: PathBuf,
    local: ClusterName,
    inotify: Inotify,
    /// The same as a stream of bytes, as which the runtime can wait for it.
    events: pipe::Receiver,
    /// Content of each cluster's file.
    files: BTreeMap<ClusterName, Vec<u8>>,
}

impl MeshDirectory {
    /// Starts to watch `path`. A file named as the `local` cluster is not looked at.
    pub(crate) fn open(path: &Path, local: &ClusterName) -> anyhow::Result<Self> {
        let context = || format!("failed to watch directory `{}`", path.display());
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).with_context(context)?;
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_ONLYDIR;
        inotify.add_watch(path, flags).with_context(context)?;
        let events = inotify.as_fd().try_clone_to_owned().and_then(pipe::Receiver::from_owned_fd_unchecked);
        let events = events.with_context(context)?;
        Ok(Self { path: path.to_owned(), local: local.clone(), inotify, events, files: BTreeMap::new() })
    }

    /// Waits until the directory may have changed. Losing the future loses nothing: the next [`Self::scan`] sees it.
    pub(crate) async fn touched(&self) -> io::Result<()> {
        self.events.readable().await?;
        // What happened to which file does not matter: the scan that follows looks at all of them.
        let mut buffer = [0; EVENTS_SIZE];
        loop {
            match self.events.try_read(&mut buffer) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads the directory and returns what changed since the last time.
    pub(crate) fn scan(&mut self) -> anyhow::Result<Vec<FileChange>> {
        let mut found = BTreeMap::new();
        let context = || format!("failed to read directory `{}`", self.path.display());
        for entry in fs::read_dir(&self.path).with_context(context)? {
            let name = entry.with_context(context)?.file_name();
            if let Some((cluster, content)) = self.read(&name.to_string_lossy()) {
                found.insert(cluster, content);
            }
        }
        self.keep_unusable(&mut found);
        let mut changes = Vec::new();
        for cluster in self.files.keys().filter(|cluster| !found.contains_key(cluster)) {
            changes.push(FileChange::Removed { cluster: cluster.clone() });
        }
        for (cluster, content) in &found {
            match self.files.get(cluster) {
                None => {
                    let path = self.path.join(cluster.as_str());
                    changes.push(FileChange::Added { cluster: cluster.clone(), path });
                }
                Some(old) if old != content => changes.push(FileChange::Changed { cluster: cluster.clone() }),
                Some(_) => {}
            }
        }
        self.files = found;
        Ok(changes)
    }

    /// A known file that is still there but is no configuration any more counts as it was before: somebody is writing it,
    /// or has broken it, and neither is a reason to lose a cluster. Only without its file is a cluster gone.
    fn keep_unusable(&self, found: &mut BTreeMap<ClusterName, Vec<u8>>) {
        for (cluster, content) in &self.files {
            let path = self.path.join(cluster.as_str());
            if !found.contains_key(cluster) && fs::metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
                tracing::warn!(path = %path.display(), "no etcd configuration any more, the one before stays");
                found.insert(cluster.clone(), content.clone());
            }
        }
    }

    /// Content of the file `name`, if it is the configuration of a remote cluster.
    fn read(&self, name: &str) -> Option<(ClusterName, Vec<u8>)> {
        if name.starts_with('.') || name == self.local.as_str() {
            return None;
        }
        let path = self.path.join(name);
        // Follows symbolic links, and so do the watch and the reading below.
        let metadata = fs::metadata(&path).ok()?;
        if !metadata.is_file() || metadata.len() > FILE_SIZE_MAX {
            return None;
        }
        // A link may lead out of the directory, where the watch on the directory sees nothing. Watching a file twice
        // is watching it once, and a watch ends with its file.
        let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_DELETE_SELF;
        if let Err(error) = self.inotify.add_watch(&path, flags) {
            tracing::debug!(%error, path = %path.display(), "file cannot be watched");
        }
        let content = fs::read(&path).ok()?;
        if !content.windows(MARK.len()).any(|window| window == MARK) {
            return None;
        }
        match ClusterName::new(name) {
            Ok(cluster) => Some((cluster, content)),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "file is ignored");
                None
            }
        }
    }
}

/// Whether an agent would take a file for the configuration of a remote cluster.
pub(crate) fn is_configuration(path: &Path) -> bool {
    let is_small = fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() <= FILE_SIZE_MAX);
    is_small && fs::read(path).is_ok_and(|content| content.windows(MARK.len()).any(|window| window == MARK))
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, time::Duration};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    fn name(name: &str) -> ClusterName {
        ClusterName::new(name).expect("valid")
    }

    fn open(path: &Path) -> MeshDirectory {
        MeshDirectory::open(path, &name("alpha")).expect("a directory")
    }

    /// Changes as text: `+beta`, `~beta`, `-beta`.
    fn scan(directory: &mut MeshDirectory) -> Vec<String> {
        let text = |change| match change {
            FileChange::Added { cluster, .. } => format!("+{cluster}"),
            FileChange::Changed { cluster } => format!("~{cluster}"),
            FileChange::Removed { cluster } => format!("-{cluster}"),
        };
        directory.scan().expect("readable").into_iter().map(text).collect()
    }

    /// Waits for a touch that changes something.
    async fn next(directory: &mut MeshDirectory) -> Vec<String> {
        tokio::time::timeout(DEADLINE, async {
            loop {
                directory.touched().await.expect("inotify works");
                let changes = scan(directory);
                if !changes.is_empty() {
                    return changes;
                }
            }
        })
        .await
        .expect("deadline: a change")
    }

    #[tokio::test]
    async fn only_configurations_of_others_count() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
        write("beta", "endpoints:\n- https://192.0.2.1:2379\n");
        write("alpha", "endpoints: [our own]\n");
        write(".gamma", "endpoints: [hidden]\n");
        write("Delta", "endpoints: [no cluster name]\n");
        write("common-etcd-client.crt", "-----BEGIN CERTIFICATE-----\n");
        fs::create_dir(folder.path().join("epsilon")).expect("made");
        let mut directory = open(folder.path());
        assert_eq!(scan(&mut directory), ["+beta"]);
        assert!(scan(&mut directory).is_empty());
    }

    #[tokio::test]
    async fn changes_are_seen() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let beta = folder.path().join("beta");
        let mut directory = open(folder.path());
        assert!(scan(&mut directory).is_empty());
        fs::write(&beta, "endpoints: [a]").expect("written");
        assert_eq!(next(&mut directory).await, ["+beta"]);
        // Writing truncates first, which is no change yet.
        fs::write(&beta, "endpoints: [b]").expect("written");
        assert_eq!(next(&mut directory).await, ["~beta"]);
        fs::remove_file(&beta).expect("removed");
        assert_eq!(next(&mut directory).await, ["-beta"]);
    }

    #[tokio::test]
    async fn a_corrupted_file_changes_nothing() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let beta = folder.path().join("beta");
        fs::write(&beta, "endpoints: [a]").expect("written");
        let mut directory = open(folder.path());
        assert_eq!(scan(&mut directory), ["+beta"]);
        for text in ["", "\0\0\0\0", "endpoi"] {
            fs::write(&beta, text).expect("written");
            assert!(scan(&mut directory).is_empty(), "{text:?}");
        }
        fs::write(&beta, "endpoints: [a]").expect("written");
        assert!(scan(&mut directory).is_empty(), "as before");
        fs::write(&beta, "endpoints: [b]").expect("written");
        assert_eq!(scan(&mut directory), ["~beta"]);
        fs::write(&beta, "").expect("written");
        assert!(scan(&mut directory).is_empty());
        fs::remove_file(&beta).expect("removed");
        assert_eq!(scan(&mut directory), ["-beta"]);
    }

    #[tokio::test]
    async fn an_atomic_replacement_is_one_change() {
        let folder = tempfile::tempdir().expect("temporary folder");
        fs::write(folder.path().join("beta"), "endpoints: [a]").expect("written");
        let mut directory = open(folder.path());
        assert_eq!(scan(&mut directory), ["+beta"]);
        fs::write(folder.path().join(".beta.new"), "endpoints: [b]").expect("written");
        fs::rename(folder.path().join(".beta.new"), folder.path().join("beta")).expect("renamed");
        assert_eq!(next(&mut directory).await, ["~beta"]);
    }

    #[tokio::test]
    async fn a_swap_as_kubernetes_does_it_is_seen() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = |name: &str| folder.path().join(name);
        for (version, text) in [("..v1", "endpoints: [a]"), ("..v2", "endpoints: [b]")] {
            fs::create_dir(path(version)).expect("made");
            fs::write(path(version).join("beta"), text).expect("written");
        }
        symlink("..v1", path("..data")).expect("linked");
        symlink("..data/beta", path("beta")).expect("linked");
        let mut directory = open(folder.path());
        assert_eq!(scan(&mut directory), ["+beta"]);
        symlink("..v2", path("..data_tmp")).expect("linked");
        fs::rename(path("..data_tmp"), path("..data")).expect("renamed");
        assert_eq!(next(&mut directory).await, ["~beta"]);
    }

    #[tokio::test]
    async fn a_file_behind_a_link_is_watched_too() {
        let elsewhere = tempfile::tempdir().expect("temporary folder");
        let folder = tempfile::tempdir().expect("temporary folder");
        let target = elsewhere.path().join("config");
        fs::write(&target, "endpoints: [a]").expect("written");
        symlink(&target, folder.path().join("beta")).expect("linked");
        let mut directory = open(folder.path());
        assert_eq!(scan(&mut directory), ["+beta"]);
        fs::OpenOptions::new()
            .append(true)
            .open(&target)
            .and_then(|mut file| io::Write::write_all(&mut file, b"\n"))
            .expect("appended");
        assert_eq!(next(&mut directory).await, ["~beta"]);
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(async { MeshDirectory::open(Path::new("/no/such/directory"), &name("alpha")).err() });
        let text = format!("{:#}", error.expect("it is missing"));
        assert!(text.starts_with("failed to watch directory `/no/such/directory`: ENOENT"), "{text}");
    }
}
