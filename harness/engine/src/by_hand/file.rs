//! What is written down of a fault that was injected by hand: `faults/<name>.json` in the run's folder.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mesh_types::ClusterName;
use meshbed_driver::ProcessIdentity;
use serde::{Deserialize, Serialize};

/// Folder with what is written down of faults, in the run's folder.
pub fn faults_dir(run_dir: &Path) -> PathBuf {
    run_dir.join("faults")
}

/// How far a fault is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultState {
    /// It is being injected.
    Injecting,
    /// It took effect.
    InForce,
    /// It could not be undone, and why.
    NotHealed(String),
}

/// A fault that was injected by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultFile {
    /// Its name.
    pub name: String,
    /// Its kind, such as `pod-kill`.
    pub kind: String,
    /// What it does, in words.
    pub words: String,
    /// As it was typed.
    pub text: String,
    /// What it hit.
    pub targets: Vec<String>,
    /// What showed that it took effect.
    pub witnesses: Vec<String>,
    /// Clusters whose Kubernetes API says nothing because of it.
    pub silent: BTreeSet<ClusterName>,
    /// How far it is.
    pub state: FaultState,
    /// The process that holds it and can undo it.
    pub holder: ProcessIdentity,
    /// When it was injected, in milliseconds since 1970-01-01T00:00:00Z.
    pub since_unix_ms: u64,
}

impl FaultFile {
    /// Writes it down as a new one; fails with [`io::ErrorKind::AlreadyExists`] when there is one of that name. So of two
    /// that want the same name at the same time only one gets it.
    pub fn claim(&self, run_dir: &Path) -> io::Result<()> {
        fs::create_dir_all(faults_dir(run_dir))?;
        let file = OpenOptions::new().write(true).create_new(true).open(self.path(run_dir))?;
        serde_json::to_writer_pretty(file, self).map_err(io::Error::from)
    }

    /// Writes it down in place of what was, atomically.
    pub fn store(&self, run_dir: &Path) -> io::Result<()> {
        let path = self.path(run_dir);
        let temporary = path.with_extension("new");
        fs::write(&temporary, serde_json::to_vec_pretty(self)?)?;
        fs::rename(&temporary, &path)
    }

    /// Nothing is left of it.
    pub fn remove(&self, run_dir: &Path) -> io::Result<()> {
        fs::remove_file(self.path(run_dir))
    }

    /// All of a run, oldest first. What is just being written is left out.
    pub fn all(run_dir: &Path) -> Vec<Self> {
        let entries = fs::read_dir(faults_dir(run_dir)).into_iter().flatten().flatten().map(|entry| entry.path());
        let files = entries.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
        let mut all: Vec<Self> = files.filter_map(|path| serde_json::from_slice(&fs::read(path).ok()?).ok()).collect();
        all.sort_by(|a, b| (a.since_unix_ms, &a.name).cmp(&(b.since_unix_ms, &b.name)));
        all
    }

    /// The socket on which its holder is told to heal it.
    pub fn socket(run_dir: &Path, name: &str) -> PathBuf {
        faults_dir(run_dir).join(format!("{name}.sock"))
    }

    /// Whether the process that could undo it is there.
    pub fn is_held(&self) -> bool {
        self.holder.is_alive()
    }

    /// How long it has been there.
    pub fn age(&self) -> Duration {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        now.saturating_sub(Duration::from_millis(self.since_unix_ms))
    }

    /// How far it is, in words.
    pub fn state_words(&self) -> String {
        match (&self.state, self.is_held()) {
            (FaultState::NotHealed(why), _) => format!("healing failed: {why}"),
            (_, false) => "its holder is gone, nobody can heal it".to_owned(),
            (FaultState::Injecting, true) => "being injected".to_owned(),
            (FaultState::InForce, true) => "in force".to_owned(),
        }
    }

    fn path(&self, run_dir: &Path) -> PathBuf {
        faults_dir(run_dir).join(format!("{}.json", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(name: &str) -> FaultFile {
        FaultFile {
            name: name.to_owned(),
            kind: "pod-kill".to_owned(),
            words: "kill".to_owned(),
            text: "podKill: {}".to_owned(),
            targets: Vec::new(),
            witnesses: Vec::new(),
            silent: BTreeSet::new(),
            state: FaultState::Injecting,
            holder: ProcessIdentity::current().expect("this process exists"),
            since_unix_ms: 1,
        }
    }

    #[test]
    fn a_name_is_taken_once_and_free_again() {
        let folder = std::env::temp_dir().join(format!("meshbed-faults-{}", std::process::id()));
        assert_eq!(FaultFile::all(&folder), Vec::new());
        let mut first = fault("first");
        first.claim(&folder).expect("it is new");
        let again = first.claim(&folder).expect_err("it is there");
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        first.state = FaultState::InForce;
        first.store(&folder).expect("the folder is writable");
        assert_eq!(FaultFile::all(&folder), [first.clone()]);
        assert_eq!(first.state_words(), "in force");
        first.remove(&folder).expect("it is there");
        assert_eq!(FaultFile::all(&folder), Vec::new());
        fs::remove_dir_all(&folder).expect("it is there");
    }
}
