//! The harness's hand on the keys of a mesh's etcds: reading them for the oracle, tampering with them, compaction and the
//! loss of leases. It speaks etcd's own protocol and knows nothing of what keys mean.
//!
//! A crate of its own because of its client: building that takes longer than building the driver. What concerns etcd as
//! a process (kill, stop, new cluster ID) is the driver's `Control`.

mod connection;
mod entry;
mod error;
mod lease;
mod watch;

pub use connection::Etcd;
pub use entry::{Compacted, Entry, Listing};
pub use error::{EtcdError, EtcdErrorKind};
pub use lease::Revoked;
pub use watch::{CHANGES_WAITING_MAX, Change, Changes};
