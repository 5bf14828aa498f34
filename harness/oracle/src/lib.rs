//! Who may answer: a second, slow, obvious implementation of Cilium's service merge, kept apart from the agent's.
//!
//! The oracle reads the Kubernetes objects of every cluster by itself (`facts`), keeps what was true when
//! (`history`), merges services by the rules of Cilium's first service format (`merge`: remote backends are always
//! active, an exporter includes what is ready or serving), and judges every answer and error (`judge`) by what was
//! allowed at some moment of an interval: no ratios, no sampling. It shares value types with the agent, never a
//! decision. No I/O, no clock: all times are handed in.

mod facts;
mod history;
mod judge;
mod merge;
mod oracle;
mod truth;

pub use facts::ObjectError;
pub use judge::{Asked, Judgement, Outcome};
pub use merge::AllowedBackend;
pub use oracle::{HISTORY_MAX, OBSERVATION_LAG, Oracle};
pub use truth::{FrontendTruth, MapTruth};
