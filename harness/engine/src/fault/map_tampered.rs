//! Map tampered: an entry of a node's maps is changed behind the agent's back.
//!
//! Effect: the node sends requests to where nothing is, or to where they do not belong. It proves that the harness notices:
//! a run with it must be red. Witness: the entry reads as it was written. Heal: the bytes as they were.

use std::{fmt, net::Ipv4Addr, path::PathBuf};

use aya::maps::{HashMap, Map, MapData};
use futures::{FutureExt, future::BoxFuture};
use mesh_abi::{BACKENDS, BackendKey, BackendValue, Bytes};
use meshbed_scenario::{NodeRef, record};

use super::{Fault, FaultError, Injected, Injection};
use crate::{maps::PIN_FOLDER, world::Strike};

/// Where tampered backends point to: an address that no node has (RFC 5737).
const NOWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 66);

const KEY: usize = size_of::<BackendKey>();
const VALUE: usize = size_of::<BackendValue>();
type Backends = HashMap<MapData, [u8; KEY], [u8; VALUE]>;

record! {
    /// An entry of a node's backends map is changed behind the agent's back: it points to an address that nobody has. It
    /// proves that the harness notices.
    pub struct MapTampered {
        /// The node.
        pub node: NodeRef,
        /// Address of the backend, such as `10.1.1.2`; the first one in the map when it is not given.
        pub backend: Option<String>,
    }
}

impl fmt::Display for MapTampered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tamper with the backends map of {}", self.node)
    }
}

impl Fault for MapTampered {
    fn kind(&self) -> &'static str {
        "map-tampered"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        async move {
            let state = injection.control.state();
            let nodes = state.cluster(self.node.cluster.as_str()).map_or(&[][..], |cluster| &cluster.nodes);
            let root = nodes.iter().find(|node| node.name == self.node.node).map(|node| node.bpf_root.clone());
            let root = root.ok_or_else(|| FaultError::NoTarget { what: format!("there is no node {}", self.node) })?;
            let path = root.join(PIN_FOLDER).join(BACKENDS.name);
            let (key, before) = self.find(&path)?;
            let mut after = before;
            after[..4].copy_from_slice(&NOWHERE.octets());
            let id = injection.strike(Strike::at(format!("backends map of {}", self.node)).hits(&self.node.cluster));
            write(&path, key, after)?;
            if read(&path, key)? != after {
                return Err(FaultError::NoWitness { what: "the entry reads otherwise than it was written".to_owned() });
            }
            injection.witnessed(id, format!("backend {} leads to {NOWHERE}", u32::from_ne_bytes(key)));
            let healing = async move {
                write(&path, key, before)?;
                Ok(format!("backend {} is as it was", u32::from_ne_bytes(key)))
            };
            Ok(vec![Injected { id, healing: healing.boxed() }])
        }
        .boxed()
    }
}

impl MapTampered {
    fn find(&self, path: &PathBuf) -> Result<([u8; KEY], [u8; VALUE]), FaultError> {
        let map = open(path)?;
        for entry in map.iter() {
            let (key, value) = entry.map_err(FaultError::failed("read the backends map"))?;
            let Some(backend) = BackendValue::from_bytes(&value).ok().and_then(|value| value.backend()) else {
                continue;
            };
            if self.backend.as_ref().is_none_or(|wanted| *wanted == backend.ip.to_string()) {
                return Ok((key, value));
            }
        }
        Err(FaultError::NoTarget { what: format!("the backends map of {} has no such entry", self.node) })
    }
}

fn open(path: &PathBuf) -> Result<Backends, FaultError> {
    let opened = MapData::from_pin(path).and_then(|data| HashMap::try_from(Map::HashMap(data)));
    opened.map_err(FaultError::failed(format!("open map `{}`", path.display())))
}

fn read(path: &PathBuf, key: [u8; KEY]) -> Result<[u8; VALUE], FaultError> {
    open(path)?.get(&key, 0).map_err(FaultError::failed("read a backend"))
}

fn write(path: &PathBuf, key: [u8; KEY], value: [u8; VALUE]) -> Result<(), FaultError> {
    open(path)?.insert(key, value, 0).map_err(FaultError::failed("write a backend"))
}
