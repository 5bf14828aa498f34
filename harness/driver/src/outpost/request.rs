//! What an outpost is asked for. Every connection begins with one of these.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    net::SocketAddrV4,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use mesh_types::ClusterName;
use serde::{Deserialize, Serialize};

use super::order::Order;
use crate::{
    ExitedProcess, Rejection, RunId, RunState, UpOptions,
    control::{ConfigAct, ConfigFile},
    error::{Act, SystemError},
};

/// Permissions of keys and tokens.
const SECRET: u32 = 0o600;

/// Whom a connection is for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Call {
    /// This crate.
    Driver(Request),
    /// Whoever serves the rest (the engine), in its own words.
    Engine(serde_json::Value),
}

/// What this crate does at an outpost.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Request {
    /// A [`Hello`], then for each line that comes the time there (`CLOCK_MONOTONIC`, nanoseconds).
    Clock,
    /// Bring clusters up and keep them as long as the connection lasts: [`Tell`] one way, [`Told`] the other.
    Up(Box<Part>),
    /// An [`Answer`] with what the order returns, as JSON.
    Order(RunId, Order),
    /// An [`Answer`] with nothing: these files have this in them now, each replaced in one step.
    WriteFiles(Vec<File>),
    /// An [`Answer`] with what is in the file, if it is there.
    Config(ConfigFile, ConfigAct),
    /// Bytes both ways.
    Relay(RelayTarget),
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct File {
    /// Where.
    pub path: PathBuf,
    /// What is in it; all of ours are text.
    pub content: String,
}

impl File {
    /// All files of a folder, without those of folders in it.
    pub(crate) fn all_of(folder: &Path) -> Result<Vec<Self>, SystemError> {
        let act = || format!("read the files of `{}`", folder.display());
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).act(act)? {
            let path = entry.act(act)?.path();
            if path.is_file() {
                files.push(Self { content: fs::read_to_string(&path).act(act)?, path });
            }
        }
        Ok(files)
    }

    /// Writes those that have something else in them now, each in one step and all right after each other: a certificate and its key
    /// belong together. Nobody but root may read them, as all that is secret.
    pub(crate) fn store_all(files: &[Self]) -> Result<(), SystemError> {
        let is_new = |file: &&Self| fs::read(&file.path).ok().as_deref() != Some(file.content.as_bytes());
        let new: Vec<&Self> = files.iter().filter(is_new).collect();
        let act = |file: &Self| format!("write `{}`", file.path.display());
        new.iter().try_for_each(|file| file.draft().act(|| act(file)))?;
        new.iter().try_for_each(|file| fs::rename(file.draft_path(), &file.path).act(|| act(file)))
    }

    fn draft_path(&self) -> PathBuf {
        self.path.with_added_extension("new")
    }

    fn draft(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(SECRET);
        options.open(self.draft_path())?.write_all(self.content.as_bytes())
    }
}

/// What an outpost says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// Release of its kernel.
    pub kernel: String,
    /// How many times slower than usual it is.
    pub slowness: f64,
}

/// Release of the kernel of this machine, such as `6.1.0-50-cloud-amd64` (uname(2)).
pub fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Where a relay leads to, at the outpost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RelayTarget {
    /// In the network namespace that is pinned there, or in that of the machine.
    Tcp(Option<PathBuf>, SocketAddrV4),
    /// A socket with a path.
    Unix(PathBuf),
}

/// An answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer<T> {
    /// It was done.
    Done(T),
    /// It was not; why, with all causes.
    Failed(String),
}

impl<T> From<Answer<T>> for Result<T, String> {
    fn from(answer: Answer<T>) -> Self {
        match answer {
            Answer::Done(value) => Ok(value),
            Answer::Failed(why) => Err(why),
        }
    }
}

/// The clusters that an outpost brings up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Part {
    /// The whole topology, as text.
    pub topology: String,
    /// How the run is brought up.
    pub options: UpOptions,
    /// The clusters that are there.
    pub clusters: Vec<ClusterName>,
    /// Certificates, keys and tokens of all clusters, which the machine that leads has made.
    pub secrets: Vec<File>,
}

/// What the machine that leads says to one that brings clusters up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Tell {
    /// The etcds of all clusters know their users.
    AllEtcds,
    /// Take them down.
    Down,
}

/// What a machine that brings clusters up says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Told {
    /// The ground is there: names and addresses are known.
    Planned(Box<RunState>),
    /// Something was done, in words.
    Progress(String),
    /// One more etcd knows its users.
    Etcd,
    /// Everything runs.
    Ready(Box<RunState>),
    /// It did not come up.
    Failed {
        /// Why, with all causes.
        why: String,
        /// The program that the kernel did not take and the process that loads it, if that is why.
        rejection: Option<(String, Rejection)>,
    },
    /// A process ended although nobody told it to.
    Exited(ExitedProcess),
    /// Nothing is left; or what is.
    Down(Result<(), String>),
}

#[cfg(test)]
mod tests {
    use super::File;

    #[test]
    fn files_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("saved")).unwrap();
        let file = File { path: folder.path().join("ca.crt"), content: "a\n".to_owned() };
        File::store_all(std::slice::from_ref(&file)).unwrap();
        assert_eq!(File::all_of(folder.path()).unwrap(), std::slice::from_ref(&file));
        File::store_all(&[File { content: "b\n".to_owned(), ..file.clone() }]).unwrap();
        assert_eq!(File::all_of(folder.path()).unwrap()[0].content, "b\n");
        assert!(File::all_of(&file.path).is_err());
    }
}
