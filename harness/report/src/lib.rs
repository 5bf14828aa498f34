//! Every report of a run as a pure function of its [`RunRecord`](meshbed_events::RunRecord): no I/O, no clock.
//!
//! All reports start from one [`Summary`], so that they cannot disagree. The exception is [`terminal::Live`], which sees
//! one event at a time, and the charts of [`html`], which also need each request's time.

pub mod agents;
pub mod bundle;
pub mod conformance;
pub mod diff;
pub mod formats;
pub mod github;
pub mod html;
pub mod junit;
pub mod maps;
pub mod markdown;
pub mod matrix;
pub mod repeats;
pub mod terminal;
pub mod yaml;

mod changes;
mod distribution;
mod findings;
mod places;
mod schema;
mod stale;
mod summary;
mod tally;
mod words;

pub use changes::{Change, Changes, Leg, Reached};
pub use distribution::Distribution;
pub use stale::StaleEntry;
pub use summary::{
    Client, ClientTally, Ending, Expectation, Fault, MapChange, Node, NodeMaps, Note, Step, Summary, Violation,
    WrongInterval,
};
pub use tally::{Latency, Tally};
