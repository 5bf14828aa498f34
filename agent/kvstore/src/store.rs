//! What reader and writer ask of a kvstore: little enough that an etcd and a memory can do the same.
//!
//! `tests/store` holds every implementation against one suite, faults included.

use std::time::Duration;

use crate::SessionError;

/// Makes connections to one kvstore.
pub trait Connect: Send + Sync + 'static {
    /// What a connection is.
    type Store: Kvstore;

    /// Makes a new connection, with whatever is configured by now.
    fn connect(&mut self) -> impl Future<Output = Result<Self::Store, SessionError>> + Send;

    /// Whether what is configured by now could be used; in words, why not.
    fn check(&self) -> Result<(), String>;
}

/// A connection to a kvstore with revisions, as etcd has them. Clones share the connection.
///
/// `act` is what is being done, in words for an error.
pub trait Kvstore: Clone + Send + Sync + 'static {
    /// A running watch.
    type Watch: Watch;

    /// All keys of `range` at one revision, sorted by key. [`SessionError::Compacted`] asks to begin again.
    fn list(
        &self,
        act: &'static str,
        range: KeyRange<'_>,
    ) -> impl Future<Output = Result<Listing, SessionError>> + Send;

    /// A watch on `range` that sees every change after revision `after`.
    fn watch(
        &self,
        act: &'static str,
        range: KeyRange<'_>,
        after: i64,
    ) -> impl Future<Output = Result<Self::Watch, SessionError>> + Send;

    /// Gives `key` a value, hung on `lease` (0 for none); returns the revision.
    fn put(
        &self,
        key: &str,
        value: Vec<u8>,
        lease: i64,
    ) -> impl Future<Output = Result<i64, SessionError>> + Send + 'static;

    /// Deletes `key`, if it is there; returns the revision.
    fn delete(&self, key: &str) -> impl Future<Output = Result<i64, SessionError>> + Send + 'static;

    /// A new lease, which lives for `ttl` (whole seconds) without a sign of life.
    fn grant(&self, ttl: Duration) -> impl Future<Output = Result<i64, SessionError>> + Send;

    /// Gives a lease its whole time to live again; [`SessionError::LeaseLost`] when it is gone.
    fn keep_alive(&self, lease: i64) -> impl Future<Output = Result<(), SessionError>> + Send + 'static;

    /// ID of the etcd cluster behind the connection, once an answer came. An answer of another one is
    /// [`SessionError::OtherEtcd`]: revisions of several replicas are not comparable.
    fn cluster_id(&self) -> Option<u64>;
}

/// A running watch on a range.
pub trait Watch: Send + 'static {
    /// The next change, in the order of revisions. Dropping the future before it ends loses nothing.
    /// [`SessionError::Compacted`] when changes that were asked for are forgotten.
    fn next(&mut self) -> impl Future<Output = Result<Change, SessionError>> + Send;
}

/// Which keys a request is about. etcd checks a role's rights against the range that is asked for, not against the keys
/// that it holds: a role that may read one key is refused a prefix of the same letters (etcd, `server/auth/range_perm_cache.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRange<'a> {
    /// This key.
    Key(&'a str),
    /// Every key that starts with this.
    Prefix(&'a str),
}

impl<'a> KeyRange<'a> {
    /// The first key that can be in it.
    pub fn start(self) -> &'a str {
        match self {
            Self::Key(start) | Self::Prefix(start) => start,
        }
    }

    /// Whether a key is in it.
    pub fn holds(self, key: &[u8]) -> bool {
        match self {
            Self::Key(only) => key == only.as_bytes(),
            Self::Prefix(prefix) => key.starts_with(prefix.as_bytes()),
        }
    }

    /// Whether all of `other` is in it.
    pub fn covers(self, other: KeyRange<'_>) -> bool {
        match (self, other) {
            (Self::Key(_), KeyRange::Prefix(_)) => false,
            _ => self.holds(other.start().as_bytes()),
        }
    }
}

/// All keys of a range at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Sorted by key.
    pub entries: Vec<Entry>,
    /// The revision that they are of.
    pub revision: i64,
}

/// A key with what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The whole key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
    /// The revision that gave it the value.
    pub revision: i64,
    /// The lease that it hangs on; 0 for none.
    pub lease: i64,
}

/// One change in a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The key has this value now.
    Put {
        /// The whole key.
        key: Vec<u8>,
        /// The value.
        value: Vec<u8>,
        /// The revision that made it so.
        revision: i64,
    },
    /// The key is gone.
    Delete {
        /// The whole key.
        key: Vec<u8>,
        /// The revision that made it so.
        revision: i64,
    },
}

impl Change {
    /// The whole key.
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Put { key, .. } | Self::Delete { key, .. } => key,
        }
    }

    /// The revision of the change.
    pub fn revision(&self) -> i64 {
        match self {
            Self::Put { revision, .. } | Self::Delete { revision, .. } => *revision,
        }
    }
}
