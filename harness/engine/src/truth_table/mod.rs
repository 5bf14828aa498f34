//! The truth table, tried: every cell on a real mesh of two clusters, against what the oracle computed for it.
//!
//! Each cell is a service of its own, without selector, with an endpoint slice that says in which state its one backend
//! is; the backend is a real pod that listens whatever the slice says. So all cells are there at the same time, on one
//! mesh, and nothing has to be changed between them. For the cells whose other cluster is dead it dies once, at the end.
//!
//! What is looked at is outside of agent and oracle: who answers requests of client pods on every node of the asking
//! cluster, and whose addresses are in the slots of the nodes' maps.

mod ask;
mod observe;
mod stand;

use std::time::Duration;

use meshbed_driver::{Mesh, Programs, RunId, UpOptions};
use meshbed_oracle::{Cell, Expected, RemoteState};
use meshbed_scenario::Topology;
use tokio_util::sync::CancellationToken;

use observe::Place;
use stand::Stand;

/// Why the table could not be tried.
pub type TruthTableError = Box<dyn std::error::Error + Send + Sync>;

/// How long maps may take to hold what they should after everything was applied, and after the other cluster died. It
/// passes whole only when a cell does not match.
const MAPS_WAIT_MAX: Duration = Duration::from_secs(10);

/// What is tried on what.
pub struct TruthTableOptions {
    /// The programs that the mesh is made of.
    pub programs: Programs,
    /// Two clusters; clients are in the first one.
    pub topology: Topology,
    /// The cells.
    pub cells: Vec<Cell>,
}

/// One cell as it was found.
#[derive(Clone, Debug)]
pub struct Tried {
    /// The cell, with what was expected.
    pub cell: Cell,
    /// What was found, in the table's terms.
    pub found: Expected,
    /// What does not match, one sentence each; empty when all does.
    pub findings: Vec<String>,
}

/// Tries the cells on a mesh of their own. `told` hears of each part that is done.
pub async fn try_truth_table(
    options: TruthTableOptions,
    interrupt: &CancellationToken,
    mut told: impl FnMut(&str),
) -> Result<Vec<Tried>, TruthTableError> {
    let up = UpOptions::new(RunId::random()?, options.programs.clone());
    let mesh = meshbed_driver::up(&options.topology, up, |_: &str| {}).await?;
    told("the mesh is up");
    let tried = tokio::select! {
        () = interrupt.cancelled() => Err("interrupted".into()),
        tried = all(&mesh, &options, &mut told) => tried,
    };
    mesh.down().await?;
    tried
}

async fn all(
    mesh: &Mesh,
    options: &TruthTableOptions,
    told: &mut impl FnMut(&str),
) -> Result<Vec<Tried>, TruthTableError> {
    let stand = Stand::build(mesh.control(), &options.topology, &options.programs.meshbed_pod).await?;
    told("backends and clients are ready");
    let places = stand.deploy(&options.cells).await?;
    told(&format!("{} services are there in both clusters", places.len()));
    let is_dead = |place: &&Place| place.cell.remote == RemoteState::ClusterDead;
    let (dead, alive): (Vec<&Place>, Vec<&Place>) = places.iter().partition(is_dead);
    // All of them, so that the cluster that dies is known everywhere before it does.
    stand.wait_for_maps(places.iter().collect(), MAPS_WAIT_MAX).await?;
    let mut tried = stand.look(&alive).await?;
    told(&format!("{} cells were tried", tried.len()));
    if !dead.is_empty() {
        mesh.control().crash_cluster(stand.there().as_str()).await?;
        stand.wait_for_maps(dead.clone(), MAPS_WAIT_MAX).await?;
        tried.extend(stand.look(&dead).await?);
        told(&format!("{} cells with a dead cluster were tried", dead.len()));
    }
    let position = |tried: &Tried| options.cells.iter().position(|cell| *cell == tried.cell);
    tried.sort_by_key(position);
    Ok(tried)
}
