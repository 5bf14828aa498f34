//! Measurements, printed beside a baseline of the same run: the machine may be shared and noisy, so only ratios and
//! percentiles mean something.

mod etcd;
mod failover;
mod feed;
mod generated;
mod mesh_up;
mod propagation;
mod samples;
mod scale;
mod sizes;
mod synthetic;
mod usage;

use meshbed_driver::{Mesh, Programs, RunId, UpOptions};
use meshbed_scenario::Topology;
use tokio_util::sync::CancellationToken;

pub use failover::{Failover, FailoverOptions, failover};
pub use generated::CLUSTERS_MAX;
pub use samples::Samples;
pub use scale::{Agent, ScaleOptions, Scaled, scale};
pub use sizes::{Size, SizesOptions, sizes};
pub use synthetic::{Dimensions, DimensionsError};
pub use usage::Usage;

use crate::Scenario;

/// Why a measurement could not be made.
pub type BenchError = Box<dyn std::error::Error + Send + Sync>;

/// What the mesh-up and propagation times are measured with.
pub struct PropagationOptions {
    /// The programs that meshes are made of.
    pub programs: Programs,
    /// A scenario whose first step deploys clients and backends: the mesh-up time ends with its first answer.
    pub scenario: Scenario,
    /// Meshes brought up for the mesh-up time.
    pub meshes: u32,
    /// Endpoints removed and put back for the propagation time.
    pub repeat: u32,
}

/// One row of the result.
pub struct Measured {
    /// What was measured.
    pub what: &'static str,
    /// The samples.
    pub samples: Samples,
}

/// Measures mesh-up and propagation times. `told` hears of each part that is done.
pub async fn propagation(
    options: PropagationOptions,
    interrupt: &CancellationToken,
    mut told: impl FnMut(&str),
) -> Result<Vec<Measured>, BenchError> {
    let mut rows = Vec::new();
    let (mut ready, mut answered) = (Samples::default(), Samples::default());
    for mesh in 0..options.meshes {
        let times = mesh_up::measure(&options.scenario, &options.programs, interrupt).await?;
        ready.add(times.ready);
        answered.add(times.first_answer);
        told(&format!(
            "mesh {} of {}: ready {:?}, first answer {:?}",
            mesh + 1,
            options.meshes,
            times.ready,
            times.first_answer
        ));
    }
    rows.push(Measured { what: "mesh up: all processes ready", samples: ready });
    rows.push(Measured { what: "mesh up: first answer of a backend", samples: answered });
    let mesh = up(options.scenario.topology(), &options.programs).await?;
    let measured = tokio::select! {
        () = interrupt.cancelled() => Err("interrupted".into()),
        measured = propagation::measure(mesh.state(), options.repeat) => measured,
    };
    mesh.down().await?;
    rows.extend(measured?);
    Ok(rows)
}

async fn up(topology: &Topology, programs: &Programs) -> Result<Mesh, BenchError> {
    let options = UpOptions::new(RunId::random()?, programs.clone());
    Ok(meshbed_driver::up(topology, options, |_: &str| {}).await?)
}
