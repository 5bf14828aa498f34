//! Everything that can happen in a run, as one versioned enum, and the record of a run.
//!
//! This is the contract between what runs (engine, driver) and what tells about it (report): every report is a
//! pure function of a [`RunRecord`]. No I/O except reading and writing the record's lines through the
//! caller's reader and writer.

mod event;
mod map_difference;
mod record;
mod request;
mod time;

pub use event::{
    Event, FaultId, Hop, HopStage, MapFrontend, MapState, RunInfo, SourcePlace, StepOutcome, Stopwatch, Verdict,
};
pub use map_difference::{DifferenceKind, MapDifference};
pub use record::{RecordError, RunRecord, Stamped, VERSION};
pub use request::{Answer, ErrorKind, Outcome, Request};
pub use time::Micros;
