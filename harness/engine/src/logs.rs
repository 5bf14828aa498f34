//! Follows the logs of the mesh's processes.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::inotify::{AddWatchFlags, InitFlags, Inotify},
};
use serde::{Deserialize, Serialize};

/// How long the thread sleeps at most when nothing is written: then it looks whether it is to stop.
const WAKE_EVERY: Duration = Duration::from_millis(100);
/// Bytes of a line; what is longer is cut.
const LINE_MAX: usize = 2_000;
/// Lines that one process can add to the record; a process that logs without end must not fill the disk.
const LINES_MAX: usize = 5_000;
/// Bytes read from one file at once.
const CHUNK: u64 = 1 << 20;

/// From where on logs are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Since {
    /// All that is there.
    Beginning,
    /// What comes: all else is of another run on the same mesh.
    Now,
}

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// Name of the process.
    pub(crate) process: String,
    /// The level that it names, if it does.
    pub(crate) level: String,
    /// Itself.
    pub(crate) text: String,
}

/// Follows the logs on a thread of its own until it is dropped.
pub(crate) struct Logs {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Logs {
    /// Starts following all logs in `folder`, from their beginning or only what is written from now on.
    pub(crate) fn follow(
        folder: &Path,
        from: Since,
        mut told: impl FnMut(Line) + Send + 'static,
    ) -> std::io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        inotify.add_watch(folder, AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE)?;
        let mut follower = Follower { folder: folder.to_owned(), files: BTreeMap::new() };
        if from == Since::Now {
            follower.skip_all();
        }
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("logs".to_owned()).spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                follower.read_all(&mut told);
                wait(&inotify);
            }
            follower.read_all(&mut told);
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that follows the logs panicked");
        }
    }
}

/// Waits until something was written or [`WAKE_EVERY`] has passed.
fn wait(inotify: &Inotify) {
    use std::os::fd::AsFd;
    let timeout = PollTimeout::try_from(WAKE_EVERY).unwrap_or(PollTimeout::ZERO);
    // Either way the files are looked at again.
    let _ready = poll(&mut [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)], timeout).is_ok();
    let _drained = inotify.read_events().is_ok();
}

struct Follower {
    folder: PathBuf,
    files: BTreeMap<PathBuf, Followed>,
}

/// How far a file was read.
#[derive(Default)]
struct Followed {
    offset: u64,
    lines: usize,
    /// The beginning of a line whose end is not there yet.
    rest: Vec<u8>,
}

impl Follower {
    /// Passes over all that is there.
    fn skip_all(&mut self) {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            let offset = std::fs::metadata(&path).map_or(0, |about| about.len());
            self.files.insert(path, Followed { offset, ..Followed::default() });
        }
    }

    fn read_all(&mut self, told: &mut impl FnMut(Line)) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let Some(process) = path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned) else { continue };
            for text in self.files.entry(path.clone()).or_default().read(&path) {
                told(Line { process: process.clone(), level: level(&text).to_owned(), text });
            }
        }
    }
}

impl Followed {
    /// Whole lines that were added since the last time. A file that became shorter was made again.
    fn read(&mut self, path: &Path) -> Vec<String> {
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|mut file| {
            if file.metadata()?.len() < self.offset {
                *self = Self { lines: self.lines, ..Self::default() };
            }
            file.seek(SeekFrom::Start(self.offset))?;
            file.take(CHUNK).read_to_end(&mut bytes)
        });
        let Ok(read) = read else { return Vec::new() };
        self.offset += read as u64;
        self.rest.extend(bytes);
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let whole: Vec<u8> = self.rest.drain(..=end).collect();
        let left = LINES_MAX.saturating_sub(self.lines);
        let lines: Vec<String> = whole
            .split(|byte| *byte == b'\n')
            .map(|line| without_colour(&String::from_utf8_lossy(&line[..line.len().min(LINE_MAX)])))
            .filter(|line| !line.trim().is_empty())
            .take(left)
            .collect();
        self.lines += lines.len();
        lines
    }
}

/// The level that a line names in one of the usual ways.
fn level(line: &str) -> &'static str {
    let words = [
        ("error", ["\"level\":\"error\"", "level=error", " ERROR "]),
        ("warn", ["\"level\":\"warn\"", "level=warn", " WARN "]),
        ("info", ["\"level\":\"info\"", "level=info", " INFO "]),
        ("debug", ["\"level\":\"debug\"", "level=debug", " DEBUG "]),
    ];
    words.into_iter().find(|(_, marks)| marks.iter().any(|mark| line.contains(mark))).map_or("", |(level, _)| level)
}

/// The line without escape sequences that colour it.
fn without_colour(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            // `ESC [ … letter`.
            characters.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_are_told_and_each_once() {
        let path = std::env::temp_dir().join(format!("meshbed-logs-{}", std::process::id()));
        let mut followed = Followed::default();
        std::fs::write(&path, "a\nb").expect("a writable folder");
        assert_eq!(followed.read(&path), ["a"]);
        std::fs::write(&path, "a\nbc\n").expect("a writable folder");
        assert_eq!(followed.read(&path), ["bc"]);
        assert_eq!(followed.read(&path), Vec::<String>::new());
        std::fs::write(&path, "d\n").expect("a writable folder");
        assert_eq!(followed.read(&path), ["d"], "a shorter file is a new one");
        std::fs::remove_file(&path).expect("it is there");
    }

    #[test]
    fn colours_are_removed_and_levels_found() {
        let line = without_colour("2026 \u{1b}[33m WARN\u{1b}[0m agent: \u{1b}[3mx\u{1b}[0m=1");
        assert_eq!(line, "2026  WARN agent: x=1");
        assert_eq!(level(&line), "warn");
        assert_eq!(level("{\"level\":\"error\",\"msg\":\"x\"}"), "error");
        assert_eq!(level("nothing"), "");
    }
}
