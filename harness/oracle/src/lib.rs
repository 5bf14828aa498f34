//! Who may answer: a second, slow, obvious implementation of Cilium's service merge, kept apart from the agent's.
//!
//! The oracle reads the Kubernetes objects of every cluster by itself (`facts`), keeps what was true when
//! (`history`), merges services by the rules of Cilium's first service format (`merge`: remote backends are always
//! active, an exporter includes what is ready or serving), and judges every answer and error (`judge`) by what was
//! allowed at some moment of an interval: no ratios, no sampling.
//!
//! Faults are told as cuts (`cut`): what somebody can no longer hear (`knowledge`) makes several worlds possible
//! (`worlds`), and each of them is right. It shares value types with the agent, never a decision. No I/O, no clock: all
//! times are handed in.

mod cut;
mod difference;
mod facts;
mod history;
mod judge;
mod knowledge;
mod kvstore;
mod merge;
mod oracle;
mod past;
mod service_history;
mod truth;
mod truth_table;
mod worlds;

pub use cut::{Cut, CutId, Fate, Observers, Place};
pub use facts::ObjectError;
pub use judge::{Asked, Judgement, Outcome};
pub use kvstore::KvTruth;
pub use merge::AllowedBackend;
pub use oracle::{HISTORY_MAX, OBSERVATION_LAG, Oracle, RECONVERGENCE_MAX};
pub use truth::{Acceptable, FrontendBounds, FrontendChoice, FrontendTruth, MapTruth};
pub use truth_table::{
    Annotations, Cell, Expected, LocalState, RemoteState, Slots, Who, markdown, truth_table, truth_table_markdown,
};
pub use worlds::COMBINATIONS_MAX;
