//! What outlives the process: a file of changes, one JSON text a line.
//!
//! Every write of a client and everything that the controllers make of it is one batch, which ends in a line `commit`;
//! what follows on the last such line (the process was killed in the middle of a batch) is dropped at the next start. A
//! batch is handed to the kernel before the client has its answer and is not synced to a disk: it has to survive the end of
//! the process, not that of the machine. When the file has grown to several times its contents it is written anew.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::{Change, Object};
use crate::json;
use crate::network::Cursor;

const FILE: &str = "changes.jsonl";
const NEW_FILE: &str = "changes.jsonl.new";
/// Held locked while a server uses the folder.
const LOCK: &str = "lock";
/// First line of every file.
const HEADER: &str = r#"{"header":{"format":"meshbed-apiserver-changes","version":1}}"#;
/// A file below this size is not worth to be written anew.
const REWRITE_MIN: u64 = 4 * 1024 * 1024;
/// How often the size of the contents a file may reach before it is written anew.
const REWRITE_FACTOR: u64 = 3;
/// Largest file that is read: far more than a cluster of this server's size makes before its file is written anew.
const FILE_MAX: u64 = 1024 * 1024 * 1024;

/// A cluster cannot be read from its folder, or not be kept there.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file cannot be used.
    #[error("cannot {act} `{path}`")]
    File {
        /// What was tried.
        act: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another server uses the folder.
    #[error("`{path}` is in use by another API server")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The file is larger than any that this server writes.
    #[error("`{path}` has {size} bytes; {FILE_MAX} are read at most")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// A line in the middle of the file is damaged.
    #[error("`{path}` line {line} is damaged: {problem}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
}

/// Where the server was: what is not to be seen from the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Position {
    /// The newest revision.
    pub(crate) revision: u64,
    /// Where the generator of UIDs and names is.
    pub(crate) entropy: u64,
    /// Where the search for free addresses and ports goes on.
    pub(crate) cursor: Cursor,
}

/// What a file tells.
#[derive(Debug)]
pub(crate) struct Restored {
    /// Where the server was.
    pub(crate) position: Position,
    /// All objects.
    pub(crate) objects: Vec<Value>,
}

/// The file of one server.
#[derive(Debug)]
pub(crate) struct Journal {
    directory: PathBuf,
    file: File,
    /// Held for its lock.
    _lock: File,
    /// The batch under way.
    batch: Vec<u8>,
    /// Bytes in the file, and what they were when it was last written anew.
    size: u64,
    contents: u64,
}

impl Journal {
    /// Opens the file of a folder, both made if they are missing; tells what it holds.
    pub(crate) fn open(directory: &Path) -> Result<(Self, Option<Restored>), JournalError> {
        fs::create_dir_all(directory).map_err(about("make", directory))?;
        let lock_path = directory.join(LOCK);
        let lock = File::create(&lock_path).map_err(about("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::InUse { path: directory.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(about("lock", &lock_path)(source)),
        }
        let path = directory.join(FILE);
        let mut file =
            File::options().read(true).append(true).create(true).open(&path).map_err(about("open", &path))?;
        let size = file.metadata().map_err(about("look at", &path))?.len();
        if size > FILE_MAX {
            return Err(JournalError::TooLarge { path, size });
        }
        let bytes = fs::read(&path).map_err(about("read", &path))?;
        let Contents { restored, length } = parse(&bytes, &path)?;
        if length < bytes.len() {
            tracing::warn!(path = %path.display(), bytes = bytes.len() - length, "the end of the file is torn and dropped");
            file.set_len(length as u64).map_err(about("shorten", &path))?;
        }
        let mut size = length as u64;
        if size == 0 {
            writeln!(file, "{HEADER}").map_err(about("write", &path))?;
            size = HEADER.len() as u64 + 1;
        }
        let journal =
            Self { directory: directory.to_owned(), file, _lock: lock, batch: Vec::new(), size, contents: size };
        Ok((journal, restored))
    }

    /// Adds a change to the batch under way.
    pub(super) fn add(&mut self, change: &Change) {
        match change.deleted {
            false => put(&mut self.batch, &change.object),
            true => delete(&mut self.batch, &change.object),
        }
    }

    /// Whether a batch is under way.
    pub(super) fn is_dirty(&self) -> bool {
        !self.batch.is_empty()
    }

    /// Ends the batch: from here on it outlives the process.
    pub(super) fn commit(&mut self, position: Position) -> Result<(), JournalError> {
        commit(&mut self.batch, position);
        let written = self.file.write_all(&self.batch);
        self.size += self.batch.len() as u64;
        self.batch.clear();
        written.map_err(about("write", &self.directory.join(FILE)))
    }

    /// Whether the file is large enough to be written anew.
    pub(super) fn is_long(&self) -> bool {
        self.size > REWRITE_MIN.max(self.contents.saturating_mul(REWRITE_FACTOR))
    }

    /// Writes the file anew, with nothing but what there is now.
    pub(super) fn rewrite<'o>(
        &mut self,
        objects: impl Iterator<Item = &'o Arc<Object>>,
        position: Position,
    ) -> Result<(), JournalError> {
        let path = self.directory.join(NEW_FILE);
        let mut bytes = format!("{HEADER}\n").into_bytes();
        objects.for_each(|object| put(&mut bytes, object));
        commit(&mut bytes, position);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(about("remove", &path)(error)),
            _ => {}
        }
        let mut file = File::options().append(true).create_new(true).open(&path).map_err(about("open", &path))?;
        file.write_all(&bytes).map_err(about("write", &path))?;
        fs::rename(&path, self.directory.join(FILE)).map_err(about("rename", &path))?;
        self.file = file;
        self.size = bytes.len() as u64;
        self.contents = self.size;
        Ok(())
    }
}

fn about<'p>(act: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> JournalError + 'p {
    move |source| JournalError::File { act, path: path.to_owned(), source }
}

fn put(bytes: &mut Vec<u8>, object: &Object) {
    bytes.extend_from_slice(br#"{"put":"#);
    bytes.extend_from_slice(&object.json());
    bytes.extend_from_slice(b"}\n");
}

fn delete(bytes: &mut Vec<u8>, object: &Object) {
    let identity = identity(object.value());
    let line = serde_json::json!({"delete": {
        "apiVersion": identity.0, "kind": identity.1, "metadata": {"namespace": identity.2, "name": identity.3},
    }});
    bytes.extend_from_slice(line.to_string().as_bytes());
    bytes.push(b'\n');
}

/// Start of a line that ends a batch.
const COMMIT: &[u8] = br#"{"commit":"#;

fn commit(bytes: &mut Vec<u8>, Position { revision, entropy, cursor }: Position) {
    let Cursor { service, node_port } = cursor;
    bytes.extend_from_slice(COMMIT);
    let rest = format!(
        r#"{{"revision":{revision},"entropy":{entropy},"cursor":{{"service":{service},"node_port":{node_port}}}}}}}"#
    );
    bytes.extend_from_slice(rest.as_bytes());
    bytes.push(b'\n');
}

/// API version, kind, namespace and name.
type Identity = (String, String, String, String);

fn identity(object: &Value) -> Identity {
    let text = |pointer| json::text(object, pointer).to_owned();
    (text("/apiVersion"), text("/kind"), text("/metadata/namespace"), text("/metadata/name"))
}

/// One line.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum Entry {
    Header(Header),
    Put(Value),
    Delete(Value),
    Commit(Position),
}

/// What the first line says.
#[derive(Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    version: u32,
}

struct Contents {
    restored: Option<Restored>,
    /// Bytes up to the end of the last batch.
    length: usize,
}

/// Reads a file. Pure.
fn parse(bytes: &[u8], path: &Path) -> Result<Contents, JournalError> {
    let mut objects: BTreeMap<Identity, Value> = BTreeMap::new();
    let mut batch: Vec<Entry> = Vec::new();
    let mut position = None;
    let mut length = 0;
    let mut end = 0;
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        end += line.len();
        let damaged = |problem: String| JournalError::Damaged { path: path.to_owned(), line: index + 1, problem };
        let entry = match (line.last(), serde_json::from_slice(line)) {
            (Some(b'\n'), Ok(entry)) => entry,
            (_, Err(error)) if has_commit(&bytes[end..]) => return Err(damaged(error.to_string())),
            // Nothing was committed behind it: the process was killed while it wrote this.
            _ => break,
        };
        match entry {
            Entry::Header(header) => {
                check(&header).map_err(damaged)?;
                length = end;
            }
            Entry::Commit(reached) => {
                for entry in batch.drain(..) {
                    match entry {
                        Entry::Put(object) => drop(objects.insert(identity(&object), object)),
                        Entry::Delete(object) => drop(objects.remove(&identity(&object))),
                        Entry::Header(_) | Entry::Commit(_) => unreachable!("they are not put into batches"),
                    }
                }
                position = Some(reached);
                length = end;
            }
            entry => batch.push(entry),
        }
    }
    let restored = position.map(|position| Restored { position, objects: objects.into_values().collect() });
    Ok(Contents { restored, length })
}

fn has_commit(bytes: &[u8]) -> bool {
    bytes.split(|byte| *byte == b'\n').any(|line| line.starts_with(COMMIT) && line.ends_with(b"}}}"))
}

fn check(header: &Header) -> Result<(), String> {
    let ours: Entry = serde_json::from_str(HEADER).expect("the header is an entry");
    match ours {
        Entry::Header(ours) if ours == *header => Ok(()),
        _ => Err(format!("format `{}` version {} is not read", header.format, header.version)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::Kind;
    use crate::store::Actor;

    fn change(name: &str, revision: u64, deleted: bool) -> Change {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"namespace": "default", "name": name, "resourceVersion": revision.to_string()}});
        Change::new((revision, Kind::ConfigMap, Actor::Client), None, Arc::new(Object::new(object)), deleted)
    }

    fn position(revision: u64) -> Position {
        Position { revision, entropy: u64::MAX, cursor: Cursor { service: 7, node_port: 30_000 } }
    }

    fn names(restored: Option<Restored>) -> Vec<String> {
        let objects = restored.map(|restored| restored.objects).unwrap_or_default();
        objects.iter().map(|object| json::text(object, "/metadata/name").to_owned()).collect()
    }

    /// A journal with `a` and `b` in one batch and the deletion of `a` in the next.
    fn two_batches(directory: &Path) {
        let (mut journal, restored) = Journal::open(directory).unwrap();
        assert!(restored.is_none());
        journal.add(&change("a", 2, false));
        journal.add(&change("b", 3, false));
        journal.commit(position(3)).unwrap();
        journal.add(&change("a", 4, true));
        journal.commit(position(4)).unwrap();
    }

    #[test]
    fn what_was_committed_is_there_again() {
        let directory = tempfile::tempdir().unwrap();
        two_batches(directory.path());
        let (_journal, restored) = Journal::open(directory.path()).unwrap();
        let restored = restored.unwrap();
        assert_eq!(restored.position, position(4));
        assert_eq!(names(Some(restored)), ["b"]);
    }

    #[test]
    fn a_file_cut_anywhere_holds_whole_batches() {
        let directory = tempfile::tempdir().unwrap();
        two_batches(directory.path());
        let path = directory.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for length in 0..=whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let (mut journal, restored) = Journal::open(directory.path()).unwrap();
            seen.insert(names(restored));
            // What is written after a torn end is read again.
            journal.add(&change("c", 9, false));
            journal.commit(position(9)).unwrap();
            drop(journal);
            let (_journal, restored) = Journal::open(directory.path()).unwrap();
            assert!(names(restored).contains(&"c".to_owned()), "cut at {length}");
        }
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(seen, [names(&[]), names(&["a", "b"]), names(&["b"])].into());
    }

    #[test]
    fn damage_in_the_middle_is_told() {
        let directory = tempfile::tempdir().unwrap();
        two_batches(directory.path());
        let path = directory.path().join(FILE);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replacen(r#""name":"a""#, r#""name":"#, 1)).unwrap();
        let error = Journal::open(directory.path()).unwrap_err();
        assert!(matches!(&error, JournalError::Damaged { line: 2, .. }), "{error}");
        fs::write(&path, text.replacen("\"version\":1", "\"version\":2", 1)).unwrap();
        let error = Journal::open(directory.path()).unwrap_err().to_string();
        assert!(error.ends_with("version 2 is not read"), "{error}");
    }

    #[test]
    fn a_rewritten_file_says_the_same_in_less() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(directory.path()).unwrap();
        for revision in 2..100 {
            journal.add(&change("a", revision, false));
            journal.commit(position(revision)).unwrap();
        }
        let before = journal.size;
        let object = Arc::clone(&change("a", 99, false).object);
        journal.rewrite([&object].into_iter(), position(99)).unwrap();
        assert!(journal.size < before / 10, "{} of {before}", journal.size);
        journal.add(&change("b", 100, false));
        journal.commit(position(100)).unwrap();
        drop(journal);
        let (_journal, restored) = Journal::open(directory.path()).unwrap();
        assert_eq!(names(restored), ["a", "b"]);
    }

    #[test]
    fn a_folder_has_one_server() {
        let directory = tempfile::tempdir().unwrap();
        let (_journal, _) = Journal::open(directory.path()).unwrap();
        assert!(matches!(Journal::open(directory.path()), Err(JournalError::InUse { .. })));
    }
}
