//! Reads what the nodes' load-balancing maps hold, by pin path and Cilium's layout.

mod ipcache;
mod meaning;
mod node_maps;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use meshbed_events::MapState;

pub(crate) use ipcache::IpcacheMap;
pub(crate) use meaning::HOLE;
pub use node_maps::MapReadError;
use node_maps::NodeMaps;
pub(crate) use node_maps::PIN_FOLDER;

use crate::world::{NodeIndex, World};

/// Time between two readings while something changes: a third of the shortest propagation that we hope to see.
const READING_HOT: Duration = Duration::from_millis(1);
/// Time between two readings while nothing changes: stale entries that appear by themselves are seen this late.
const READING_COLD: Duration = Duration::from_millis(20);

/// What maps are read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// To measure: as often as needed for times, while something changes.
    Measure,
    /// To show them to a person, maybe for hours.
    Show,
}

/// Reads the load-balancing maps pinned below `bpf_root` once.
pub fn read_maps(bpf_root: &Path) -> Result<MapState, MapReadError> {
    NodeMaps::open(bpf_root)?.read()
}

/// Reads all nodes' maps again and again, on a thread of its own, and tells the world of every change.
pub(crate) struct Reader {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Starts reading. `bpf_roots` are in the order of the world's nodes.
    pub(crate) fn start(bpf_roots: Vec<PathBuf>, pace: Pace, world: Arc<Mutex<World>>) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let told = Arc::clone(&world);
        let thread = std::thread::Builder::new()
            .name("map-reader".to_owned())
            .spawn(move || read_until_stopped(&bpf_roots, pace, &told, &stopped))?;
        locked(&world).read_by(thread.thread().clone());
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

/// One node as the reader knows it.
#[derive(Default)]
struct Known {
    open: Option<NodeMaps>,
    last: Option<MapState>,
}

fn read_until_stopped(bpf_roots: &[PathBuf], pace: Pace, world: &Mutex<World>, stopped: &AtomicBool) {
    let slowness = locked(world).slowness();
    let mut known: Vec<Known> = bpf_roots.iter().map(|_| Known::default()).collect();
    while !stopped.load(Ordering::Relaxed) {
        let read_from = locked(world).clock.now();
        for (node, root) in bpf_roots.iter().enumerate() {
            known[node].read(node, root, world);
        }
        // This thread samples; nothing waits for it by time. Pins have no notification that it could wait for.
        let hot = {
            let mut world = locked(world);
            world.tick(read_from);
            !world.all_maps_right()
        };
        let pause = if hot && pace == Pace::Measure { READING_HOT } else { READING_COLD };
        std::thread::park_timeout(pause.mul_f64(slowness));
    }
}

impl Known {
    fn read(&mut self, node: NodeIndex, root: &Path, world: &Mutex<World>) {
        if self.open.as_ref().is_some_and(|maps| !maps.is_pinned()) {
            self.open = None;
            self.tell(node, MapState::default(), world);
        }
        if self.open.is_none() {
            self.open = NodeMaps::open(root).ok();
        }
        let Some(maps) = &self.open else { return };
        match maps.read() {
            Ok(state) => self.tell(node, state, world),
            Err(error) => {
                tracing::warn!(%error, "reading maps failed; opening them again");
                self.open = None;
            }
        }
    }

    fn tell(&mut self, node: NodeIndex, state: MapState, world: &Mutex<World>) {
        if self.last.as_ref() != Some(&state) {
            let mut world = locked(world);
            let at = world.clock.now();
            world.maps(at, node, state.clone());
            self.last = Some(state);
        }
    }
}

fn locked(world: &Mutex<World>) -> std::sync::MutexGuard<'_, World> {
    world.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
