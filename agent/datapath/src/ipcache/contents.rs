//! A mirror of what is in the map.

use std::collections::BTreeMap;

use mesh_abi::{IpcacheFlags, IpcacheKey, IpcacheValue};

/// All entries, in order of family, address and prefix length.
///
/// Compact, because there is one for each pod of the mesh: entries share the part of their value that says where they
/// are, of which there are few (one for each node, and a handful more).
#[derive(Clone, Debug, Default)]
pub struct IpcacheContents {
    entries: BTreeMap<IpcacheKey, Packed>,
    whereabouts: Interned,
}

/// A value in 8 bytes.
#[derive(Clone, Copy, Debug)]
struct Packed {
    identity: u32,
    /// Number of its whereabouts.
    whereabouts: u32,
}

impl IpcacheContents {
    /// The entry of exactly this key.
    pub fn get(&self, key: &IpcacheKey) -> Option<IpcacheValue> {
        self.entries.get(key).map(|packed| self.unpack(*packed))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All entries in order.
    pub fn iter(&self) -> impl Iterator<Item = (IpcacheKey, IpcacheValue)> {
        self.entries.iter().map(|(key, packed)| (*key, self.unpack(*packed)))
    }

    /// All keys in order.
    pub fn keys(&self) -> impl Iterator<Item = &IpcacheKey> {
        self.entries.keys()
    }

    /// Records an entry that was written.
    pub fn put(&mut self, key: IpcacheKey, value: IpcacheValue) {
        let packed = Packed { identity: value.identity, whereabouts: self.whereabouts.take(Whereabouts::of(&value)) };
        if let Some(old) = self.entries.insert(key, packed) {
            self.whereabouts.give_back(old.whereabouts);
        }
    }

    /// Records an entry that was removed.
    pub fn remove(&mut self, key: &IpcacheKey) {
        if let Some(old) = self.entries.remove(key) {
            self.whereabouts.give_back(old.whereabouts);
        }
    }

    fn unpack(&self, Packed { identity, whereabouts }: Packed) -> IpcacheValue {
        let Whereabouts { tunnel_endpoint, pad, encrypt_key, flags } = self.whereabouts.get(whereabouts);
        IpcacheValue { identity, tunnel_endpoint, pad, encrypt_key, flags }
    }
}

/// A value without the identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Whereabouts {
    tunnel_endpoint: [u8; 16],
    pad: u16,
    encrypt_key: u8,
    flags: IpcacheFlags,
}

impl Whereabouts {
    fn of(value: &IpcacheValue) -> Self {
        let IpcacheValue { identity: _, tunnel_endpoint, pad, encrypt_key, flags } = *value;
        Self { tunnel_endpoint, pad, encrypt_key, flags }
    }
}

/// Whereabouts by number, with the number of entries that have them.
#[derive(Clone, Debug, Default)]
struct Interned {
    numbers: BTreeMap<Whereabouts, u32>,
    /// By number. What nobody has any more is in `free`.
    used: Vec<(Whereabouts, usize)>,
    free: Vec<u32>,
}

impl Interned {
    /// The number of `whereabouts`, for one more entry.
    fn take(&mut self, whereabouts: Whereabouts) -> u32 {
        if let Some(&number) = self.numbers.get(&whereabouts) {
            self.used[number as usize].1 += 1;
            return number;
        }
        let number = match self.free.pop() {
            Some(number) => {
                self.used[number as usize] = (whereabouts, 1);
                number
            }
            None => {
                self.used.push((whereabouts, 1));
                u32::try_from(self.used.len() - 1).expect("a map has less than 2^32 entries")
            }
        };
        self.numbers.insert(whereabouts, number);
        number
    }

    /// One entry less has them.
    fn give_back(&mut self, number: u32) {
        let (whereabouts, count) = &mut self.used[number as usize];
        *count -= 1;
        if *count == 0 {
            self.numbers.remove(whereabouts);
            self.free.push(number);
        }
    }

    fn get(&self, number: u32) -> Whereabouts {
        self.used[number as usize].0
    }
}

#[cfg(test)]
mod tests {
    use mesh_types::{IpPrefix, IpcacheEntry};

    use super::*;

    fn key(prefix: &str) -> IpcacheKey {
        prefix.parse::<IpPrefix>().unwrap().into()
    }

    fn value(identity: u32, node: u8) -> IpcacheValue {
        IpcacheEntry { identity, tunnel_endpoint: Some([172, 18, 1, node].into()), ..IpcacheEntry::default() }.into()
    }

    #[test]
    fn whereabouts_are_kept_once_and_as_long_as_somebody_is_there() {
        let mut contents = IpcacheContents::default();
        contents.put(key("10.1.0.1/32"), value(1, 1));
        contents.put(key("10.1.0.2/32"), value(2, 1));
        contents.put(key("10.1.0.3/32"), value(3, 2));
        assert_eq!(contents.whereabouts.used.len(), 2);
        contents.put(key("10.1.0.3/32"), value(3, 1));
        assert_eq!(
            (contents.whereabouts.numbers.len(), contents.whereabouts.free.len()),
            (1, 1),
            "nobody is on node 2"
        );
        contents.put(key("10.1.0.4/32"), value(4, 3));
        assert_eq!(contents.whereabouts.used.len(), 2, "its number was used again");
        contents.remove(&key("10.1.0.1/32"));
        contents.remove(&key("10.1.0.1/32"));
        contents.remove(&key("10.1.0.2/32"));
        let left: Vec<_> = contents.iter().collect();
        assert_eq!(left, [(key("10.1.0.3/32"), value(3, 1)), (key("10.1.0.4/32"), value(4, 3))]);
        assert_eq!((contents.get(&key("10.1.0.3/32")), contents.get(&key("10.1.0.0/24"))), (Some(value(3, 1)), None));
    }
}
