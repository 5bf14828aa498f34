//! The open maps of one node.

use std::{
    collections::BTreeMap,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use aya::maps::{HashMap, Map, MapData, MapError};
use mesh_abi::{
    BACKENDS, BackendKey, BackendValue, Bytes, REVERSE_NAT, ReverseNatKey, ReverseNatValue, SERVICES, ServiceKey,
    ServiceValue,
};
use meshbed_events::MapState;

use super::meaning::Entries;

/// Folder of the pins below a bpffs, as Cilium has it.
pub(crate) const PIN_FOLDER: &str = "tc/globals";
/// Readings of one node that may contradict themselves in a row (a writer was in the middle) before the last is believed.
const TORN_READINGS_MAX: usize = 32;

/// Why maps could not be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to read map `{}`", path.display())]
pub struct MapReadError {
    /// Path of the pin.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: MapError,
}

/// A hash map with keys and values as bytes, and where it is pinned.
struct Pinned<const KEY: usize, const VALUE: usize> {
    map: HashMap<MapData, [u8; KEY], [u8; VALUE]>,
    path: PathBuf,
}

impl<const KEY: usize, const VALUE: usize> Pinned<KEY, VALUE> {
    fn open(path: PathBuf) -> Result<Self, MapReadError> {
        let opened = MapData::from_pin(&path).and_then(|data| HashMap::try_from(Map::HashMap(data)));
        match opened {
            Ok(map) => Ok(Self { map, path }),
            Err(source) => Err(MapReadError { path, source }),
        }
    }

    /// All entries. An entry that is deleted between its key and its value is left out.
    fn entries<K: Bytes + Ord, V: Bytes>(&self) -> Result<BTreeMap<K, V>, MapReadError> {
        let failed = |source| MapReadError { path: self.path.clone(), source };
        let mut entries = BTreeMap::new();
        for key in self.map.keys() {
            let key = key.map_err(failed)?;
            let value = match self.map.get(&key, 0) {
                Ok(value) => value,
                Err(MapError::KeyNotFound) => continue,
                Err(source) => return Err(failed(source)),
            };
            let key = K::from_bytes(&key).expect("the array has the size of the type");
            entries.insert(key, V::from_bytes(&value).expect("the array has the size of the type"));
        }
        Ok(entries)
    }
}

/// See the module.
pub(super) struct NodeMaps {
    services: Pinned<{ size_of::<ServiceKey>() }, { size_of::<ServiceValue>() }>,
    backends: Pinned<{ size_of::<BackendKey>() }, { size_of::<BackendValue>() }>,
    /// Not every agent has it.
    reverse_nat: Option<Pinned<{ size_of::<ReverseNatKey>() }, { size_of::<ReverseNatValue>() }>>,
    /// Inode of the first pin: another one means that the pins were made again.
    inode: u64,
}

impl NodeMaps {
    /// Opens the pins below `bpf_root`. They do not exist before the agent has started.
    pub(super) fn open(bpf_root: &Path) -> Result<Self, MapReadError> {
        let folder = bpf_root.join(PIN_FOLDER);
        let inode = inode(&folder.join(SERVICES.name)).unwrap_or(0);
        Ok(Self {
            inode,
            services: Pinned::open(folder.join(SERVICES.name))?,
            backends: Pinned::open(folder.join(BACKENDS.name))?,
            reverse_nat: Pinned::open(folder.join(REVERSE_NAT.name)).ok(),
        })
    }

    /// Whether the pins are still those that were opened: an agent that starts afresh may replace them.
    pub(super) fn is_pinned(&self) -> bool {
        inode(&self.services.path) == Some(self.inode)
    }

    /// Reads the maps. A writer may be at work meanwhile: a reading that contradicts itself is repeated.
    pub(super) fn read(&self) -> Result<MapState, MapReadError> {
        let mut state = self.read_once()?;
        for _ in 0..TORN_READINGS_MAX {
            if state.defects.is_empty() {
                break;
            }
            state = self.read_once()?;
        }
        Ok(state)
    }

    fn read_once(&self) -> Result<MapState, MapReadError> {
        let entries = Entries {
            services: self.services.entries()?,
            backends: self.backends.entries()?,
            reverse_nat: self.reverse_nat.as_ref().map(Pinned::entries).transpose()?,
        };
        Ok(entries.meaning())
    }
}

fn inode(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|metadata| metadata.ino())
}
