//! Maps in memory: for tests of whatever drives a datapath.

use std::{collections::BTreeMap, io};

use mesh_abi::MapSpec;

use crate::{
    Balancer, DatapathError, DatapathErrorKind, Interrupted, MapSource, MapStore, RawEntry, Write, sys::Command,
};

/// A datapath that serves nobody but remembers every write.
pub type RecordingDatapath = Balancer<MemoryMaps>;

impl RecordingDatapath {
    /// An empty one.
    pub fn empty() -> Self {
        Self::open(MemoryMaps::default()).expect("empty maps in memory can be read")
    }
}

/// Maps in memory, which can be told to fail.
#[derive(Clone, Debug, Default)]
pub struct MemoryMaps {
    entries: BTreeMap<(&'static str, Vec<u8>), Vec<u8>>,
    record: Vec<Write>,
    fail_after: Option<usize>,
}

impl MemoryMaps {
    /// Every write so far, in order.
    pub fn record(&self) -> &[Write] {
        &self.record
    }

    /// Lets `writes` more writes succeed and then every one fail as if the kernel were out of memory, until
    /// [`recover`](Self::recover).
    pub fn fail_after(&mut self, writes: usize) {
        self.fail_after = Some(writes);
    }

    /// Lets all writes succeed again.
    pub fn recover(&mut self) {
        self.fail_after = None;
    }

    /// Puts raw bytes into a map, as another writer would.
    pub fn put(&mut self, map: &'static MapSpec, key: &[u8], value: &[u8]) {
        self.entries.insert((map.name, key.to_vec()), value.to_vec());
    }

    fn apply_one(&mut self, write: &Write) -> Result<(), DatapathError> {
        let map = write.map();
        let refuse = |errno| {
            let kind =
                DatapathErrorKind::Bpf { command: Command::MapUpdateElem, source: io::Error::from_raw_os_error(errno) };
            DatapathError::new(format!("write map `{map}`"), kind)
        };
        match &mut self.fail_after {
            Some(0) => return Err(refuse(libc::ENOMEM)),
            Some(left) => *left -= 1,
            None => {}
        }
        let key = (map.name, write.key().to_vec());
        match write.value() {
            Some(value) => {
                let used = self.entries.keys().filter(|(name, _)| *name == map.name).count();
                if !self.entries.contains_key(&key) && used >= map.max_entries as usize {
                    return Err(refuse(libc::E2BIG));
                }
                self.entries.insert(key, value.to_vec());
            }
            None => {
                self.entries.remove(&key);
            }
        }
        self.record.push(*write);
        Ok(())
    }
}

impl MapSource for MemoryMaps {
    fn entries(&self, map: &'static MapSpec) -> Result<Vec<RawEntry>, DatapathError> {
        let of_map = self.entries.iter().filter(|((name, _), _)| *name == map.name);
        Ok(of_map.map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }
}

impl MapStore for MemoryMaps {
    fn apply(&mut self, writes: &[Write]) -> Result<(), Interrupted> {
        for (done, write) in writes.iter().enumerate() {
            self.apply_one(write).map_err(|source| Interrupted { done, source })?;
        }
        Ok(())
    }
}
