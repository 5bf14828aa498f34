//! Reads what the nodes' load-balancing maps hold, by pin path and Cilium's layout.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use aya::maps::{HashMap, Map, MapData, MapError};
use mesh_abi::{BACKENDS, BackendKey, BackendValue, Bytes, SERVICES, ServiceKey, ServiceValue};
use meshbed_events::{MapFrontend, MapState};

use crate::world::{NodeIndex, World};

/// Folder of the pins below a bpffs, as Cilium has it.
const PIN_FOLDER: &str = "tc/globals";
/// Time between two readings while something changes: a third of the shortest propagation that we hope to see.
const READING_HOT: Duration = Duration::from_millis(1);
/// Time between two readings while nothing changes: stale entries that appear by themselves are seen this late.
const READING_COLD: Duration = Duration::from_millis(20);
/// Readings of one node that may be inconsistent in a row (a writer was in the middle) before the last is taken as it is.
const TORN_READINGS_MAX: usize = 16;

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

/// The open maps of one node.
struct NodeMaps {
    services: HashMap<MapData, [u8; size_of::<ServiceKey>()], [u8; size_of::<ServiceValue>()]>,
    backends: HashMap<MapData, [u8; size_of::<BackendKey>()], [u8; size_of::<BackendValue>()]>,
    paths: [PathBuf; 2],
}

impl NodeMaps {
    /// Opens the pins below `bpf_root`. They do not exist before the agent has started.
    fn open(bpf_root: &Path) -> Result<Self, MapReadError> {
        let folder = bpf_root.join(PIN_FOLDER);
        let paths = [folder.join(SERVICES.name), folder.join(BACKENDS.name)];
        let failed = |path: &PathBuf| {
            let path = path.clone();
            move |source| MapReadError { path, source }
        };
        let data = |path: &PathBuf| MapData::from_pin(path).map(Map::HashMap).map_err(failed(path));
        Ok(Self {
            services: HashMap::try_from(data(&paths[0])?).map_err(failed(&paths[0]))?,
            backends: HashMap::try_from(data(&paths[1])?).map_err(failed(&paths[1]))?,
            paths,
        })
    }

    /// Reads both maps. A writer may be at work meanwhile; such a torn reading is repeated.
    fn read(&self) -> Result<MapState, MapReadError> {
        for _ in 0..TORN_READINGS_MAX {
            let services = self.entries(&self.services, 0)?;
            let backends = self.entries(&self.backends, 1)?;
            if let Some(state) = meaning(&services, &backends) {
                return Ok(state);
            }
        }
        let (services, backends) = (self.entries(&self.services, 0)?, self.entries(&self.backends, 1)?);
        Ok(meaning_with_holes(&services, &backends))
    }

    /// All entries of a map. An entry that is deleted between its key and its value is left out.
    fn entries<K: Bytes + Ord, V: Bytes, const KEY: usize, const VALUE: usize>(
        &self,
        map: &HashMap<MapData, [u8; KEY], [u8; VALUE]>,
        path: usize,
    ) -> Result<BTreeMap<K, V>, MapReadError> {
        let failed = |source| MapReadError { path: self.paths[path].clone(), source };
        let mut entries = BTreeMap::new();
        for key in map.keys() {
            let key = key.map_err(failed)?;
            let value = match map.get(&key, 0) {
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

/// Reads the load-balancing maps pinned below `bpf_root` once.
pub fn read_maps(bpf_root: &Path) -> Result<MapState, MapReadError> {
    NodeMaps::open(bpf_root)?.read()
}

type Services = BTreeMap<ServiceKey, ServiceValue>;
type Backends = BTreeMap<BackendKey, BackendValue>;

/// The maps by meaning; `None` when a slot or its backend is missing, as in the middle of a write.
fn meaning(services: &Services, backends: &Backends) -> Option<MapState> {
    let state = meaning_with_holes(services, backends);
    let whole = |addresses: &Vec<String>| addresses.iter().all(|address| !address.ends_with(HOLE));
    state.frontends.values().all(|frontend| whole(&frontend.active) && whole(&frontend.inactive)).then_some(state)
}

/// How a slot that leads nowhere is shown: it would make connections fail, so it must not be left out.
const HOLE: &str = "(no backend)";

fn meaning_with_holes(services: &Services, backends: &Backends) -> MapState {
    let mut state = MapState::default();
    for (key, master) in services.iter().filter(|(key, _)| key.slot == 0 && !key.is_wildcard()) {
        let Some(address) = key.frontend() else { continue };
        let slot = |slot: u16| {
            let value = services.get(&key.with_slot(slot));
            let backend = value.and_then(|value| backends.get(&BackendKey(value.backend_id())));
            match backend.and_then(BackendValue::backend) {
                Some(backend) => backend.to_string(),
                None => format!("slot {slot} {HOLE}"),
            }
        };
        let sorted = |slots: std::ops::RangeInclusive<u16>| -> Vec<String> {
            slots.map(slot).collect::<BTreeSet<_>>().into_iter().collect()
        };
        let last = master.count.saturating_add(master.qcount);
        let frontend =
            MapFrontend { active: sorted(1..=master.count), inactive: sorted(master.count.saturating_add(1)..=last) };
        state.frontends.insert(address.to_string(), frontend);
    }
    state
}

/// Reads all nodes' maps again and again, on a thread of its own, and tells the world of every change.
pub(crate) struct Reader {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Starts reading. `bpf_roots` are in the order of the world's nodes.
    pub(crate) fn start(bpf_roots: Vec<PathBuf>, world: Arc<Mutex<World>>) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("map-reader".to_owned())
            .spawn(move || read_until_stopped(&bpf_roots, &world, &stopped))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("the map reader panicked");
            }
        }
    }
}

fn read_until_stopped(bpf_roots: &[PathBuf], world: &Mutex<World>, stopped: &AtomicBool) {
    let mut open: Vec<Option<NodeMaps>> = bpf_roots.iter().map(|_| None).collect();
    let mut last: Vec<Option<MapState>> = bpf_roots.iter().map(|_| None).collect();
    while !stopped.load(Ordering::Relaxed) {
        for (node, root) in bpf_roots.iter().enumerate() {
            read_node(node, root, &mut open[node], &mut last[node], world);
        }
        // This thread samples; nothing waits for it by time. Pins have no notification that it could wait for.
        let hot = !locked(world).wrong_maps().is_empty();
        std::thread::park_timeout(if hot { READING_HOT } else { READING_COLD });
    }
}

fn read_node(
    node: NodeIndex,
    root: &Path,
    open: &mut Option<NodeMaps>,
    last: &mut Option<MapState>,
    world: &Mutex<World>,
) {
    if open.is_none() {
        *open = NodeMaps::open(root).ok();
    }
    let Some(maps) = open else { return };
    match maps.read() {
        Ok(state) if last.as_ref() != Some(&state) => {
            let mut world = locked(world);
            let at = world.clock.now();
            world.maps(at, node, state.clone());
            *last = Some(state);
        }
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(%error, "reading maps failed; opening them again");
            *open = None;
        }
    }
}

fn locked(world: &Mutex<World>) -> std::sync::MutexGuard<'_, World> {
    world.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use mesh_abi::{Be16, Be32, protocol};

    use super::*;

    fn service(slot: u16, union: u32, count: u16) -> (ServiceKey, ServiceValue) {
        let address = Be32::from(std::net::Ipv4Addr::new(10, 101, 0, 10));
        let key = ServiceKey::master(address, Be16::new(80), protocol::TCP, 0).with_slot(slot);
        (key, ServiceValue { union, count, ..ServiceValue::default() })
    }

    fn backend(id: u32, last: u8) -> (BackendKey, BackendValue) {
        let address = mesh_types::BackendAddress {
            ip: std::net::Ipv4Addr::new(10, 1, 1, last),
            port: 80,
            protocol: mesh_types::Protocol::Tcp,
        };
        (BackendKey(id), BackendValue::new(address, mesh_types::BackendState::Active))
    }

    #[test]
    fn slots_are_told_by_the_addresses_of_their_backends() {
        let services = Services::from([service(0, 0, 2), service(1, 7, 0), service(2, 9, 0)]);
        let state = meaning(&services, &Backends::from([backend(7, 3), backend(9, 2)])).expect("whole");
        assert_eq!(state.frontends["10.101.0.10:80/TCP"].active, ["10.1.1.2:80/TCP", "10.1.1.3:80/TCP"]);
    }

    #[test]
    fn a_slot_without_backend_is_a_torn_reading_and_is_shown_when_it_stays() {
        let services = Services::from([service(0, 0, 1), service(1, 7, 0)]);
        assert_eq!(meaning(&services, &Backends::new()), None);
        let state = meaning_with_holes(&services, &Backends::new());
        assert_eq!(state.frontends["10.101.0.10:80/TCP"].active, ["slot 1 (no backend)"]);
    }
}
