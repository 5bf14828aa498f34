//! The harness's hand on the keys of a mesh's etcds: reading them for the oracle, tampering with them, compaction, the loss
//! of leases and of rights. It speaks etcd's own protocol and knows nothing of what keys mean.
//!
//! What concerns etcd as a process (kill, stop, new cluster ID) and who its users are is the driver's part.

mod connection;
mod entry;
mod error;
mod lease;
mod role;
mod watch;

pub use connection::Etcd;
pub use entry::{Compacted, Entry, Listing};
pub use error::{EtcdError, EtcdErrorKind};
pub use lease::Revoked;
pub use watch::{CHANGES_WAITING_MAX, Change, Changes};
