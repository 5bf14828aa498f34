//! The record of a run: its events with their times, one JSON object a line.

use std::io::{BufRead, Write};

use serde::{Deserialize, Serialize};

use crate::{Event, Micros};

/// Version of the record's format. It counts up when the meaning of an event changes; an older program refuses a
/// newer record, and older ones are refused too when their events can no longer be read: version 1 is.
pub const VERSION: u32 = 2;

/// An event and when it happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stamped {
    /// When.
    pub at: Micros,
    /// What. Nested, not flattened: errors stay readable.
    #[serde(rename = "is")]
    pub event: Event,
}

/// Everything that happened in a run, in the order in which the harness learnt of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunRecord {
    /// The events.
    pub events: Vec<Stamped>,
}

/// Why a record could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Reading failed.
    #[error("failed to read line {line}")]
    Read {
        /// Line number from 1.
        line: usize,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The first line is no header of ours.
    #[error("line 1 is not the header of a run record")]
    Header,
    /// The record comes from a newer program.
    #[error("record has version {found}, this program reads up to {VERSION}")]
    Version {
        /// Version found.
        found: u32,
    },
    /// A line is no event.
    #[error("line {line} is no event")]
    Event {
        /// Line number from 1.
        line: usize,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

#[derive(Serialize, Deserialize)]
struct Header {
    meshbed_record: u32,
}

impl RunRecord {
    /// Writes the header line that comes before all events.
    pub fn write_header(to: &mut impl Write) -> std::io::Result<()> {
        serde_json::to_writer(&mut *to, &Header { meshbed_record: VERSION })?;
        to.write_all(b"\n")
    }

    /// Writes one event as a line.
    pub fn write_event(to: &mut impl Write, event: &Stamped) -> std::io::Result<()> {
        serde_json::to_writer(&mut *to, event)?;
        to.write_all(b"\n")
    }

    /// Reads header and events. A last line that was cut off (the writer was killed) is left out.
    pub fn read(from: impl BufRead) -> Result<Self, RecordError> {
        let mut lines = from.lines().enumerate().map(|(index, line)| (index + 1, line)).peekable();
        let (_, first) = lines.next().ok_or(RecordError::Header)?;
        let first = first.map_err(|source| RecordError::Read { line: 1, source })?;
        let header: Header = serde_json::from_str(&first).map_err(|_| RecordError::Header)?;
        if header.meshbed_record > VERSION {
            return Err(RecordError::Version { found: header.meshbed_record });
        }
        let mut events = Vec::new();
        while let Some((line, text)) = lines.next() {
            let text = text.map_err(|source| RecordError::Read { line, source })?;
            match serde_json::from_str(&text) {
                Ok(event) => events.push(event),
                Err(source) if source.is_eof() && lines.peek().is_none() => {}
                Err(source) => return Err(RecordError::Event { line, source }),
            }
        }
        Ok(Self { events })
    }

    /// The facts of the run, if its first event is there.
    pub fn info(&self) -> Option<&crate::RunInfo> {
        self.events.iter().find_map(|stamped| match &stamped.event {
            Event::RunStarted(info) => Some(info),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(events: &[Stamped]) -> Vec<u8> {
        let mut bytes = Vec::new();
        RunRecord::write_header(&mut bytes).expect("a Vec takes every write");
        for event in events {
            RunRecord::write_event(&mut bytes, event).expect("a Vec takes every write");
        }
        bytes
    }

    #[test]
    fn what_is_written_is_read_back() {
        let events = vec![
            Stamped { at: Micros(5), event: Event::MeshReady },
            Stamped { at: Micros(7), event: Event::Note { text: "ä\n".into() } },
        ];
        let read = RunRecord::read(written(&events).as_slice()).expect("our own bytes");
        assert_eq!(read.events, events);
    }

    #[test]
    fn a_cut_last_line_is_left_out() {
        let mut bytes = written(&vec![Stamped { at: Micros(5), event: Event::MeshReady }; 2]);
        bytes.truncate(bytes.len() - 6);
        assert_eq!(RunRecord::read(bytes.as_slice()).expect("only the end is cut").events.len(), 1);
    }

    #[test]
    fn a_newer_record_is_refused() {
        let error = RunRecord::read(&b"{\"meshbed_record\":999}\n"[..]).expect_err("version 999");
        assert_eq!(error.to_string(), "record has version 999, this program reads up to 2");
    }
}
