//! Writes what happens to the record and tells whoever listens.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use meshbed_events::{Event, Micros, RunRecord, Stamped};

/// Told of every event as it happens, in order.
pub type Listener = Box<dyn FnMut(&Stamped) + Send>;

/// Keeps the events of a run, in memory and in `record.jsonl`.
pub struct Recorder {
    keeps: bool,
    record: RunRecord,
    file: Option<(PathBuf, BufWriter<File>)>,
    listener: Listener,
}

impl Recorder {
    /// Starts a record; with a `path`, also in that file.
    pub fn new(path: Option<&Path>, listener: Listener) -> std::io::Result<Self> {
        let file = match path {
            None => None,
            Some(path) => {
                let mut writer = BufWriter::new(File::create(path)?);
                RunRecord::write_header(&mut writer)?;
                Some((path.to_owned(), writer))
            }
        };
        Ok(Self { keeps: true, record: RunRecord::default(), file, listener })
    }

    /// Only tells the listener: for what goes on for hours and has no end.
    pub fn forgetful(listener: Listener) -> Self {
        Self { keeps: false, record: RunRecord::default(), file: None, listener }
    }

    /// Takes an event.
    pub fn push(&mut self, at: Micros, event: Event) {
        let stamped = Stamped { at, event };
        if let Some((path, writer)) = &mut self.file
            && let Err(error) = RunRecord::write_event(writer, &stamped)
        {
            tracing::error!(path = %path.display(), %error, "failed to write the record; going on in memory");
            self.file = None;
        }
        (self.listener)(&stamped);
        if self.keeps {
            self.record.events.push(stamped);
        }
    }

    /// Writes out what is buffered. Called at the end of each step, so that a killed run still has its steps.
    pub fn flush(&mut self) {
        if let Some((path, writer)) = &mut self.file
            && let Err(error) = writer.flush()
        {
            tracing::error!(path = %path.display(), %error, "failed to write the record");
        }
    }

    /// What was recorded so far.
    pub fn record(&self) -> &RunRecord {
        &self.record
    }
}
