//! From changes to the writes that are left to do. Pure: looks at [`IpcacheContents`], changes nothing.

use mesh_abi::{IpcacheKey, IpcacheValue};
use mesh_types::IpPrefix;

use super::{IpcacheChange, IpcacheContents};

/// What is to be written, and what is to be removed after that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    /// Entries that are not there, or are others.
    pub put: Vec<(IpcacheKey, IpcacheValue)>,
    /// Keys of entries that are there and shall not be.
    pub remove: Vec<IpcacheKey>,
}

/// The writes that make the map say what `changes` say. Of several changes of a prefix the last one counts.
pub fn update(contents: &IpcacheContents, changes: &[IpcacheChange]) -> Writes {
    let mut order: Vec<&IpcacheChange> = changes.iter().collect();
    // Stable, so that changes of a prefix keep their order among themselves.
    order.sort_by_key(|change| change.prefix());
    let mut writes = Writes::default();
    for of_prefix in order.chunk_by(|one, next| one.prefix() == next.prefix()) {
        match of_prefix.last() {
            Some(IpcacheChange::Upsert(prefix, entry)) => {
                let (key, value) = (IpcacheKey::from(*prefix), IpcacheValue::from(*entry));
                if contents.get(&key) != Some(value) {
                    writes.put.push((key, value));
                }
            }
            Some(IpcacheChange::Delete(prefix)) => {
                let key = IpcacheKey::from(*prefix);
                if contents.get(&key).is_some() {
                    writes.remove.push(key);
                }
            }
            None => {}
        }
    }
    writes
}

/// Keys of the entries that go when only those of certain prefixes are kept. Those that are not of our making go too.
pub fn prune(contents: &IpcacheContents, keep: &dyn Fn(IpPrefix) -> bool) -> Vec<IpcacheKey> {
    contents.keys().filter(|key| !key.prefix().is_some_and(keep)).copied().collect()
}
