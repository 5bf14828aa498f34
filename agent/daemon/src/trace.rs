//! The trace: where each change is on its way, and when, for whoever measures how long that takes.
//!
//! A line is one step of one change. Whoever takes the step only puts a small record into a bounded queue; a thread of
//! its own makes lines of them and appends these to the file, whole lines at a time and a few times a second, so that
//! it does not run when a change wants the processor. When the queue is full, or the file
//! has become too large, records are dropped and counted, never waited for.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Context as _;
use mesh_types::{ClusterName, ServiceKey};
use nix::time::{ClockId, clock_gettime};
use serde::{Serialize, Serializer};

/// Records that may wait to be written: more than any burst of a mesh of the size that is tested with.
const RECORDS_WAITING_MAX: usize = 16 * 1024;
/// Size of a trace, in bytes; nothing is appended to a file beyond it. A record has about 120 bytes.
const FILE_SIZE_MAX: u64 = 256 << 20;
/// Lines are written together up to about this size, in bytes.
const BLOCK_SIZE: usize = 64 * 1024;
/// How long the thread lets records gather after the first one.
const GATHER: Duration = Duration::from_millis(20);

/// A step of a change on its way from an API to a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Stage {
    /// An event of our own cluster's Kubernetes API is taken in.
    #[serde(rename = "k8s")]
    Kubernetes,
    /// Our own etcd has answered a put.
    #[serde(rename = "etcd-put")]
    EtcdPut,
    /// An event of a remote cluster's etcd is taken in.
    #[serde(rename = "etcd-watch")]
    EtcdWatch,
    /// The maps are written.
    #[serde(rename = "map")]
    Map,
}

/// Version of a change where it came from: a Kubernetes resource version or an etcd revision.
#[derive(Clone, Debug)]
pub(crate) enum Version {
    /// A resource version; empty when it is not known.
    Resource(String),
    /// A revision.
    Revision(i64),
}

impl From<&str> for Version {
    fn from(version: &str) -> Self {
        Self::Resource(version.to_owned())
    }
}

impl From<String> for Version {
    fn from(version: String) -> Self {
        Self::Resource(version)
    }
}

impl From<i64> for Version {
    fn from(revision: i64) -> Self {
        Self::Revision(revision)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Resource(version) => serializer.serialize_str(version),
            Self::Revision(revision) => serializer.collect_str(revision),
        }
    }
}

/// A line of the file.
#[derive(Debug, Serialize)]
struct Record {
    /// `CLOCK_MONOTONIC`, nanoseconds: the same clock for all processes of the machine.
    ts_ns: u64,
    stage: Stage,
    /// Whose change it is.
    cluster: ClusterName,
    #[serde(serialize_with = "as_text")]
    service: ServiceKey,
    rv: Version,
}

fn as_text<S: Serializer>(service: &ServiceKey, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{}/{}", service.namespace, service.name))
}

/// Where records go. Clones share the file; one that is off costs a comparison.
#[derive(Clone, Debug)]
pub(crate) struct Trace(Option<Queue>);

#[derive(Clone, Debug)]
struct Queue {
    records: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

/// What goes through the queue.
#[derive(Debug)]
enum Message {
    Record(Record),
    /// Nothing after this is written.
    End,
}

/// The thread that writes. Dropping it waits until all that was recorded before is written.
#[derive(Debug)]
pub(crate) struct TraceWriter(Option<(SyncSender<Message>, JoinHandle<()>)>);

impl Trace {
    /// One that records nothing.
    pub(crate) fn off() -> Self {
        Self(None)
    }

    /// Appends to `file`, which is made if need be; off without one.
    pub(crate) fn open(file: Option<&Path>) -> anyhow::Result<(Self, TraceWriter)> {
        let Some(path) = file else { return Ok((Self::off(), TraceWriter(None))) };
        let context = || format!("failed to open trace file `{}`", path.display());
        let file = OpenOptions::new().create(true).append(true).open(path).with_context(context)?;
        let size = file.metadata().with_context(context)?.len();
        let (records, receiver) = sync_channel(RECORDS_WAITING_MAX);
        let dropped = Arc::default();
        let sink = Sink { path: path.to_owned(), file, size, dropped: Arc::clone(&dropped) };
        let thread = thread::Builder::new().name("trace".to_owned()).spawn(move || sink.write(&receiver));
        let thread = thread.context("failed to start the trace's thread")?;
        let writer = TraceWriter(Some((records.clone(), thread)));
        Ok((Self(Some(Queue { records, dropped })), writer))
    }

    /// Whether anybody wants records; for callers to whom making one costs something.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Notes that a change takes a step now.
    pub(crate) fn record(
        &self,
        stage: Stage,
        cluster: &ClusterName,
        service: &ServiceKey,
        version: impl Into<Version>,
    ) {
        let Some(queue) = &self.0 else { return };
        let (cluster, service) = (cluster.clone(), service.clone());
        let record = Record { ts_ns: now(), stage, cluster, service, rv: version.into() };
        if let Err(TrySendError::Full(_)) = queue.records.try_send(Message::Record(record)) {
            queue.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for TraceWriter {
    fn drop(&mut self) {
        let Some((records, thread)) = self.0.take() else { return };
        // A thread that ended before, because of an error, takes no message any more.
        drop(records.send(Message::End));
        if thread.join().is_err() {
            tracing::error!("the trace's thread panicked");
        }
    }
}

/// What the thread owns.
struct Sink {
    path: PathBuf,
    file: File,
    /// Of the file.
    size: u64,
    dropped: Arc<AtomicU64>,
}

impl Sink {
    /// Writes until the end.
    fn write(mut self, records: &Receiver<Message>) {
        let mut block = Vec::with_capacity(BLOCK_SIZE);
        let mut next = gathered(records);
        while let Some(Message::Record(record)) = next {
            push(&mut block, &record);
            next = records.try_recv().ok();
            if block.len() < BLOCK_SIZE && matches!(next, Some(Message::Record(_))) {
                continue;
            }
            if let Err(error) = self.append(&block) {
                tracing::warn!(%error, path = %self.path.display(), "trace ends here");
                break;
            }
            block.clear();
            next = next.or_else(|| gathered(records));
        }
        let dropped = self.dropped.load(Ordering::Relaxed);
        if dropped > 0 {
            tracing::warn!(dropped, path = %self.path.display(), "trace lacks records: more came than could be written");
        }
    }

    fn append(&mut self, block: &[u8]) -> std::io::Result<()> {
        let size = self.size + block.len() as u64;
        if size > FILE_SIZE_MAX {
            return Err(std::io::Error::other(format!("the file would be larger than {FILE_SIZE_MAX} bytes")));
        }
        self.file.write_all(block)?;
        self.size = size;
        Ok(())
    }
}

/// Waits for a message, and a little longer, so that more are there.
fn gathered(records: &Receiver<Message>) -> Option<Message> {
    let first = records.recv().ok()?;
    if matches!(first, Message::Record(_)) {
        thread::park_timeout(GATHER);
    }
    Some(first)
}

fn push(block: &mut Vec<u8>, record: &Record) {
    serde_json::to_writer(&mut *block, record).expect("texts and numbers are JSON");
    block.push(b'\n');
}

/// The time of `CLOCK_MONOTONIC`.
fn now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
    u64::try_from(now.tv_sec() * 1_000_000_000 + now.tv_nsec()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_appended_and_a_full_queue_does_not_wait() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("trace");
        std::fs::write(&path, "{\"before\":true}\n").expect("written");
        let cluster = ClusterName::new("alpha").expect("valid");
        let service = ServiceKey::new("default", "web");
        let (trace, writer) = Trace::open(Some(&path)).expect("opened");
        const COUNT: i64 = 3 * RECORDS_WAITING_MAX as i64;
        let start = now();
        for revision in 0..COUNT {
            trace.record(Stage::EtcdPut, &cluster, &service, revision);
        }
        let each = (now() - start) / COUNT as u64;
        let dropped = trace.0.as_ref().expect("on").dropped.load(Ordering::Relaxed);
        drop(writer);
        trace.record(Stage::EtcdPut, &cluster, &service, 0);
        let text = std::fs::read_to_string(&path).expect("written");
        assert_eq!(text.lines().count() as u64, 1 + COUNT as u64 - dropped, "all or counted");
        let first = text.lines().nth(1).expect("a line");
        assert!(
            first.ends_with(r#","stage":"etcd-put","cluster":"alpha","service":"default/web","rv":"0"}"#),
            "{first}"
        );
        assert!(each < 100_000, "a record took {each} ns");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let error = Trace::open(Some(Path::new("/no/such/folder/trace"))).expect_err("no such folder");
        assert!(format!("{error:#}").starts_with("failed to open trace file `/no/such/folder/trace`"), "{error:#}");
        assert!(!Trace::off().is_on());
    }
}
