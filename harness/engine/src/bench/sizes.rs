//! How bringing a mesh up grows with its size: generated meshes with Star Wars in every cluster, all services global.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use meshbed_driver::{Mesh, Programs};
use meshbed_events::Micros;
use meshbed_scenario::Topology;
use tokio_util::sync::CancellationToken;

use super::{BenchError, Usage, generated, up};
use crate::{
    Recorder, RunClock, kubernetes::Cluster, logs::Since, observers::Observers, probe::lock, stage::wait_until,
    world::World,
};

/// Nodes of each cluster.
const NODES: u32 = 2;
/// How long a mesh may take to have everything in its maps.
const WAIT_MAX: Duration = Duration::from_secs(120);

/// What is measured.
pub struct SizesOptions {
    /// The programs that meshes are made of.
    pub programs: Programs,
    /// Numbers of clusters, in order.
    pub clusters: Vec<u32>,
    /// Manifests of the first cluster of Star Wars; those of the others are made of them.
    pub manifests: Vec<PathBuf>,
}

/// One size.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Its clusters.
    pub clusters: u32,
    /// Its nodes.
    pub nodes: u32,
    /// From nothing until every process was ready.
    pub ready: Duration,
    /// From nothing until every pod was ready and every node's maps held what the oracle says.
    pub right: Duration,
    /// How long it took to take everything down.
    pub down: Duration,
    /// What it took while it was up.
    pub usage: Usage,
}

/// Measures every size. `told` hears of each part that is done.
pub async fn sizes(
    options: SizesOptions,
    interrupt: &CancellationToken,
    mut told: impl FnMut(&str),
) -> Result<Vec<Size>, BenchError> {
    let read = |path: &PathBuf| std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
    let manifests = options.manifests.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let mut sizes = Vec::new();
    for clusters in options.clusters {
        let topology = generated::topology(clusters, NODES)?;
        let size = measure(clusters, &topology, &manifests, &options.programs, interrupt).await?;
        told(&format!("{clusters} clusters: ready {:?}, maps right {:?}", size.ready, size.right));
        sizes.push(size);
    }
    Ok(sizes)
}

async fn measure(
    clusters: u32,
    topology: &Topology,
    manifests: &[String],
    programs: &Programs,
    interrupt: &CancellationToken,
) -> Result<Size, BenchError> {
    let clock = RunClock::start();
    let since_start = || clock.now().since(Micros(0));
    let mesh = up(topology, programs).await?;
    let ready = since_start();
    let settled = tokio::select! {
        () = interrupt.cancelled() => Err("interrupted".into()),
        settled = deploy(&mesh, topology, manifests, clock) => settled,
    };
    let right = since_start();
    let usage = Usage::of(mesh.state());
    let going_down = since_start();
    mesh.down().await?;
    let down = since_start().saturating_sub(going_down);
    settled?;
    Ok(Size { clusters, nodes: clusters * NODES, ready, right, down, usage: usage? })
}

/// Deploys Star Wars in all clusters at the same time and waits until all maps are right.
async fn deploy(mesh: &Mesh, topology: &Topology, manifests: &[String], clock: RunClock) -> Result<(), BenchError> {
    let recorder = Recorder::new(None, Box::new(|_| {}))?;
    let world = Arc::new(Mutex::new(World::new(topology, Duration::ZERO, clock, recorder)));
    let observers = Observers::start(mesh.control(), Since::Beginning, &world).await?;
    let clusters = observers.clusters().values().map(|cluster| {
        let number = topology.cluster(&cluster.name).map_or(0, |cluster| usize::from(cluster.id().get()));
        apply(cluster, manifests, number, &world)
    });
    futures::future::try_join_all(clusters).await?;
    let missing = |world: &World| {
        let mut reasons = world.unsettled_objects();
        reasons.extend(world.wrong_maps());
        reasons
    };
    wait_until(&world, WAIT_MAX, missing).await.map_err(|error| error.findings().join("\n").into())
}

async fn apply(
    cluster: &Cluster,
    manifests: &[String],
    number: usize,
    world: &Arc<Mutex<World>>,
) -> Result<(), BenchError> {
    for object in generated::star_wars(manifests, number)? {
        let changed = cluster.apply(&object).await?;
        lock(world).must_see(&cluster.name, changed);
    }
    Ok(())
}
