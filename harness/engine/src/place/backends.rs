//! Entries of a node's backends map, for tampering with them.

use std::path::Path;

use aya::maps::{HashMap, Map, MapData};
use mesh_abi::{BackendKey, BackendValue, Bytes};
use serde::{Deserialize, Serialize};

use crate::fault::FaultError;

const KEY: usize = size_of::<BackendKey>();
const VALUE: usize = size_of::<BackendValue>();
type Backends = HashMap<MapData, [u8; KEY], [u8; VALUE]>;

/// An entry as the bytes that the map holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Backend {
    pub(crate) key: [u8; KEY],
    pub(crate) value: [u8; VALUE],
}

/// The backend with the address `wanted`, or the first one; `None` if the map has no such entry.
pub(super) fn find(path: &Path, wanted: Option<&str>) -> Result<Option<Backend>, FaultError> {
    for entry in open(path)?.iter() {
        let (key, value) = entry.map_err(FaultError::failed("read the backends map"))?;
        let Some(backend) = BackendValue::from_bytes(&value).ok().and_then(|value| value.backend()) else { continue };
        if wanted.is_none_or(|wanted| *wanted == backend.ip.to_string()) {
            return Ok(Some(Backend { key, value }));
        }
    }
    Ok(None)
}

/// Writes an entry and returns what the map holds in its place then.
pub(super) fn write(path: &Path, backend: &Backend) -> Result<Backend, FaultError> {
    let mut map = open(path)?;
    map.insert(backend.key, backend.value, 0).map_err(FaultError::failed("write a backend"))?;
    let value = map.get(&backend.key, 0).map_err(FaultError::failed("read a backend"))?;
    Ok(Backend { key: backend.key, value })
}

fn open(path: &Path) -> Result<Backends, FaultError> {
    let opened = MapData::from_pin(path).and_then(|data| HashMap::try_from(Map::HashMap(data)));
    opened.map_err(FaultError::failed(format!("open map `{}`", path.display())))
}
