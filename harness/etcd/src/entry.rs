//! Keys and what they have.

use etcd_client::KeyValue;

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key. Keys that are no UTF-8 are shown with replacement characters.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
    /// Revision of its last change.
    pub mod_revision: i64,
    /// Lease that it hangs on; 0 for none.
    pub lease: i64,
}

impl From<&KeyValue> for Entry {
    fn from(pair: &KeyValue) -> Self {
        Self {
            key: String::from_utf8_lossy(pair.key()).into_owned(),
            value: pair.value().to_vec(),
            mod_revision: pair.mod_revision(),
            lease: pair.lease(),
        }
    }
}

/// Keys under a prefix, all at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The revision.
    pub revision: i64,
    /// The keys in their order.
    pub entries: Vec<Entry>,
}

/// History was forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// The oldest revision that there is now; reading the one before was refused.
    pub revision: i64,
}
