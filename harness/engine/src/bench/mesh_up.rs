//! Mesh-up time: from nothing to the first answer of a backend to a client.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::Scenario;
use meshbed_driver::{Mesh, Programs};
use meshbed_events::{Event, Outcome, StepOutcome};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{BenchError, up};
use crate::{
    Recorder, RunClock, kubernetes::Cluster, logs::Since, observers::Observers, probe::lock, stage::Stage, world::World,
};

/// When a mesh was ready, and when the first backend answered, both from the start.
pub(super) struct Times {
    pub(super) ready: Duration,
    pub(super) first_answer: Duration,
}

/// Brings a mesh up, runs the first step of the scenario, and takes the mesh down.
pub(super) async fn measure(
    scenario: &Scenario,
    programs: &Programs,
    interrupt: &CancellationToken,
) -> Result<Times, BenchError> {
    let clock = RunClock::start();
    let mesh = up(scenario.topology(), programs).await?;
    let ready = clock.now().since(meshbed_events::Micros(0));
    let measured = tokio::select! {
        () = interrupt.cancelled() => Err("interrupted".into()),
        first_answer = first_answer(&mesh, scenario, programs, clock) => first_answer,
    };
    mesh.down().await?;
    Ok(Times { ready, first_answer: measured? })
}

async fn first_answer(
    mesh: &Mesh,
    scenario: &Scenario,
    programs: &Programs,
    clock: RunClock,
) -> Result<Duration, BenchError> {
    let (answered, first) = oneshot::channel();
    let mut answered = Some(answered);
    let recorder = Recorder::new(
        None,
        Box::new(move |stamped| {
            if let Event::Request(request) = &stamped.event
                && matches!(request.outcome, Outcome::Answered(_))
                && let Some(answered) = answered.take()
            {
                // Nobody listens any more when the step has failed: then its own error counts.
                let _unheard = answered.send(request.done).is_err();
            }
        }),
    )?;
    let world = Arc::new(Mutex::new(World::new(scenario.topology(), scenario.grace(), clock, recorder)));
    let observers = Observers::start(mesh.control(), Since::Beginning, &world).await?;
    let clusters: BTreeMap<_, Cluster> = observers.clusters().clone();
    let program = programs.meshbed_pod.clone();
    let stage = Stage::new(scenario.clone(), mesh.control().clone(), clusters, Arc::clone(&world), program, 0);
    let outcome = tokio::select! {
        biased;
        done = first => Ok(done?.since(meshbed_events::Micros(0))),
        outcome = stage.run(0) => Err(outcome),
    };
    stage.stop_probes().await;
    drop(observers);
    outcome.map_err(|outcome: StepOutcome| {
        let told = lock(&world).recorder().record().events.iter().rev().find_map(|stamped| match &stamped.event {
            Event::Expectation { findings, .. } => findings.first().cloned(),
            _ => None,
        });
        format!("no backend answered, the step ended as {outcome:?}: {}", told.unwrap_or_default()).into()
    })
}
