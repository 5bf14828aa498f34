//! The map from addresses to identities of one node.

use std::{net::Ipv4Addr, path::Path};

use aya::maps::{
    Map, MapData, MapError,
    lpm_trie::{Key, LpmTrie},
};
use mesh_abi::{Bytes as _, IPCACHE, IpcacheKey, IpcacheValue};

use super::{MapReadError, PIN_FOLDER};

/// Bytes of a key behind the length of its prefix.
const ADDRESS_SIZE: usize = size_of::<IpcacheKey>() - size_of::<u32>();
/// Bits of an IPv4 address.
const V4_BITS: u8 = 32;

/// The open map.
pub(crate) struct IpcacheMap {
    map: LpmTrie<MapData, [u8; ADDRESS_SIZE], [u8; size_of::<IpcacheValue>()]>,
    path: std::path::PathBuf,
}

impl IpcacheMap {
    /// Opens the pin below `bpf_root`. It does not exist before the agent has started.
    pub(crate) fn open(bpf_root: &Path) -> Result<Self, MapReadError> {
        let path = bpf_root.join(PIN_FOLDER).join(IPCACHE.name);
        let opened = MapData::from_pin(&path).and_then(|data| LpmTrie::try_from(Map::LpmTrie(data)));
        match opened {
            Ok(map) => Ok(Self { map, path }),
            Err(source) => Err(MapReadError { path, source }),
        }
    }

    /// The identity that a packet from `address` would be given: that of the longest prefix around it.
    pub(crate) fn identity(&self, address: Ipv4Addr) -> Result<Option<u32>, MapReadError> {
        let key = IpcacheKey::new(address.into(), V4_BITS);
        let mut data = [0; ADDRESS_SIZE];
        data.copy_from_slice(&key.as_bytes()[size_of::<u32>()..]);
        match self.map.get(&Key::new(key.prefix_len, data), 0) {
            Ok(value) => {
                Ok(Some(IpcacheValue::from_bytes(&value).expect("the array has the size of the type").identity))
            }
            Err(MapError::KeyNotFound) => Ok(None),
            Err(source) => Err(MapReadError { path: self.path.clone(), source }),
        }
    }
}
