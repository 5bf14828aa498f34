//! Objects, their revisions, and who hears about changes.
//!
//! Everything lives in memory under one lock ([`State`]), and in a file besides if there is to be one: a write is a few microseconds, and because the controllers
//! run under the same lock their reaction is committed before the writer has its answer.

mod change;
mod collection;
mod entropy;
mod fields;
mod journal;
mod labels;
mod object;
mod state;

pub(crate) use change::{Change, EventType, frame};
pub(crate) use collection::{Collection, HistoryLost};
pub(crate) use entropy::{Entropy, safe_encode};
pub(crate) use fields::{FieldSelector, FieldSelectorError};
pub(crate) use journal::Journal;
pub use journal::JournalError;
pub(crate) use labels::{LabelSelector, LabelSelectorError};
pub(crate) use object::{Key, Name, Object};
pub(crate) use state::{Actor, State, timestamp};
