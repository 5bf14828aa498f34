//! Reads what the nodes' load-balancing maps hold, by pin path and Cilium's layout.

mod ipcache;
mod meaning;
mod node_maps;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::{JoinHandle, Thread},
    time::Duration,
};

use meshbed_driver::monotonic_ns;
use meshbed_events::MapState;
use serde::{Deserialize, Serialize};

pub(crate) use ipcache::IpcacheMap;
pub(crate) use meaning::HOLE;
pub use node_maps::MapReadError;
use node_maps::NodeMaps;
pub(crate) use node_maps::PIN_FOLDER;

use crate::world::{NodeIndex, ReaderIndex, World};

/// Time between two readings while something changes: a third of the shortest propagation that we hope to see.
const READING_HOT: Duration = Duration::from_millis(1);
/// Time between two readings while nothing changes: stale entries that appear by themselves are seen this late.
const READING_COLD: Duration = Duration::from_millis(20);

/// What maps are read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// Who is told what was read.
pub(crate) trait Audience: Send + 'static {
    /// The maps of the node at this position hold something else than before.
    fn changed(&mut self, node: usize, state: MapState);
    /// All maps were read, beginning at this `CLOCK_MONOTONIC` in nanoseconds. Returns whether something changes at the moment.
    fn read_all(&mut self, from: u64) -> bool;
}

/// Reads all nodes' maps again and again, on a thread of its own, and tells of every change.
pub(crate) struct Reader {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Starts reading; everything takes `slowness` times as long as usual.
    pub(crate) fn start(
        bpf_roots: Vec<PathBuf>,
        pace: Pace,
        slowness: f64,
        mut audience: impl Audience,
    ) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("map-reader".to_owned())
            .spawn(move || read_until_stopped(&bpf_roots, pace, slowness, &mut audience, &stopped))?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Reads for the world: the maps of its nodes with these numbers.
    pub(crate) fn for_world(
        nodes: Vec<(NodeIndex, PathBuf)>,
        pace: Pace,
        world: Arc<Mutex<World>>,
    ) -> std::io::Result<Self> {
        let slowness = locked(&world).slowness();
        let wanted: Arc<OnceLock<Thread>> = Arc::default();
        let reader = {
            let wanted = Arc::clone(&wanted);
            locked(&world).read_by(move || wanted.get().into_iter().for_each(Thread::unpark))
        };
        let (nodes, bpf_roots) = nodes.into_iter().unzip();
        let this = Self::start(bpf_roots, pace, slowness, Told { world, nodes, reader })?;
        this.thread.iter().for_each(|thread| drop(wanted.set(thread.thread().clone())));
        Ok(this)
    }

    /// Lets it read now.
    pub(crate) fn wake(&self) {
        self.thread.iter().for_each(|thread| thread.thread().unpark());
    }
}

/// The world as an audience.
struct Told {
    world: Arc<Mutex<World>>,
    nodes: Vec<NodeIndex>,
    reader: ReaderIndex,
}

impl Audience for Told {
    fn changed(&mut self, node: usize, state: MapState) {
        let mut world = locked(&self.world);
        let at = world.clock.now();
        world.maps(at, self.nodes[node], state);
    }

    fn read_all(&mut self, from: u64) -> bool {
        let mut world = locked(&self.world);
        let from = world.clock.at(from);
        world.tick(self.reader, from);
        !world.all_maps_right()
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

fn read_until_stopped(
    bpf_roots: &[PathBuf],
    pace: Pace,
    slowness: f64,
    audience: &mut impl Audience,
    stopped: &AtomicBool,
) {
    let mut known: Vec<Known> = bpf_roots.iter().map(|_| Known::default()).collect();
    while !stopped.load(Ordering::Relaxed) {
        let read_from = monotonic_ns();
        for (node, root) in bpf_roots.iter().enumerate() {
            known[node].read(node, root, audience);
        }
        // This thread samples; nothing waits for it by time. Pins have no notification that it could wait for.
        let hot = audience.read_all(read_from);
        let pause = if hot && pace == Pace::Measure { READING_HOT } else { READING_COLD };
        std::thread::park_timeout(pause.mul_f64(slowness));
    }
}

impl Known {
    fn read(&mut self, node: usize, root: &Path, audience: &mut impl Audience) {
        if self.open.as_ref().is_some_and(|maps| !maps.is_pinned()) {
            self.open = None;
            self.tell(node, MapState::default(), audience);
        }
        if self.open.is_none() {
            self.open = NodeMaps::open(root).ok();
        }
        let Some(maps) = &self.open else { return };
        match maps.read() {
            Ok(state) => self.tell(node, state, audience),
            Err(error) => {
                tracing::warn!(%error, "reading maps failed; opening them again");
                self.open = None;
            }
        }
    }

    fn tell(&mut self, node: usize, state: MapState, audience: &mut impl Audience) {
        if self.last.as_ref() != Some(&state) {
            audience.changed(node, state.clone());
            self.last = Some(state);
        }
    }
}

fn locked(world: &Mutex<World>) -> std::sync::MutexGuard<'_, World> {
    world.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
