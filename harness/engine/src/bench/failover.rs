//! Failover: one backend is killed in one cluster, again and again, while clients of all clusters ask.
//!
//! Each kill is a step of a scenario, with all that belongs to one: the witness, the stopwatch, the oracle's judgement of
//! every answer and every map.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use meshbed_driver::{Mesh, Programs};
use meshbed_events::{Event, Micros, RunRecord, StepOutcome};
use tokio_util::sync::CancellationToken;

use super::{BenchError, Samples, etcd, up};
use crate::{
    Recorder, RunClock, Scenario, logs::Since, observers::Observers, probe::lock, propagation::Traces, stage::Stage,
    world::World,
};

/// Steps before the first kill, which are not measured.
const STEPS_BEFORE: usize = 1;

/// What is measured how often.
pub struct FailoverOptions {
    /// The programs that the mesh is made of.
    pub programs: Programs,
    /// Folder of the manifests and topologies, absolute.
    pub fixtures: std::path::PathBuf,
    /// Kills.
    pub repeat: u32,
}

/// What came of it.
pub struct Failover {
    /// Everything that happened from the first kill on.
    pub record: RunRecord,
    /// Put to watch of the same etcd, measured after the kills.
    pub baseline: Samples,
}

/// Measures. `told` hears of each kill.
pub async fn failover(
    options: FailoverOptions,
    interrupt: &CancellationToken,
    mut told: impl FnMut(&str),
) -> Result<Failover, BenchError> {
    let scenario = scenario(&options.fixtures, options.repeat)?;
    let mesh = up(scenario.topology(), &options.programs).await?;
    let measured = tokio::select! {
        () = interrupt.cancelled() => Err("interrupted".into()),
        measured = measure(&mesh, &scenario, &options, &mut told) => measured,
    };
    mesh.down().await?;
    measured
}

/// One rebel-base in alpha that is killed and replaced `repeat` times, two in beta that answer meanwhile.
fn scenario(fixtures: &Path, repeat: u32) -> Result<Scenario, BenchError> {
    let text = format!(
        "apiVersion: meshbed.dev/v1alpha1
kind: Scenario
name: bench-failover
question: How soon is a backend that was killed replaced by those of the other cluster, and what is lost?
topology: topologies/two-clusters.yaml
probes:
- name: x-wing
  from: {{deployment: x-wing}}
  to: {{service: rebel-base, port: 80}}
  rate: 200
  timeout: 3s
steps:
- name: deploy
  do:
  - apply:
      clusters: [alpha, beta]
      files: [manifests/star-wars/services.yaml, \"manifests/star-wars/{{cluster}}.yaml\"]
  - scale: {{clusters: [alpha], deployment: rebel-base, replicas: 1}}
  - annotate: {{clusters: [alpha, beta], service: rebel-base, set: {{service.cilium.io/global: \"true\"}}}}
  - startProbe: x-wing
- repeat:
    times: {repeat}
    steps:
    - name: kill ${{iteration}}
      do: [{{fault: {{podKill: {{clusters: [alpha], deployment: rebel-base}}, as: \"killed-${{iteration}}\"}}}}]
      steady: {{requests: 5}}
    - name: heal ${{iteration}}
      do: [{{heal: \"killed-${{iteration}}\"}}]
      steady: {{requests: 5}}
"
    );
    Ok(Scenario::parse(&text, fixtures.join("bench-failover.yaml"))?)
}

async fn measure(
    mesh: &Mesh,
    scenario: &Scenario,
    options: &FailoverOptions,
    told: &mut impl FnMut(&str),
) -> Result<Failover, BenchError> {
    let recorder = Recorder::new(None, Box::new(|_| {}))?;
    let clock = RunClock::start();
    let world = Arc::new(Mutex::new(World::new(scenario.topology(), scenario.grace(), clock, recorder)));
    let observers = Observers::start(mesh.control(), Since::Beginning, &world).await?;
    let (clusters, pods) = (observers.clusters().clone(), options.programs.meshbed_pod.clone());
    let stage = Stage::new(scenario.clone(), mesh.control().clone(), clusters, Arc::clone(&world), pods, 0);
    let mut began = clock.now();
    for (index, step) in scenario.steps().iter().enumerate() {
        if index == STEPS_BEFORE {
            began = clock.now();
        }
        let outcome = stage.run(index).await;
        if outcome != StepOutcome::Passed {
            return Err(format!("step `{}` ended as {outcome:?}: {}", step.name, why(lock(&world).recorder())).into());
        }
        if step.name.starts_with("kill") {
            told(&step.name);
        }
    }
    stage.stop_probes().await;
    lock(&world).follow_changes(&mesh.control().state(), &Traces::new());
    let of = mesh.state().clusters.first().cloned().ok_or("there is no cluster")?;
    let repeat = options.repeat;
    let baseline = tokio::task::spawn_blocking(move || etcd::put_to_watch(&of, repeat)).await??;
    let record = since(began, lock(&world).recorder().record());
    Ok(Failover { record, baseline })
}

/// What was found wrong last.
fn why(recorder: &Recorder) -> String {
    let wrong = recorder.record().events.iter().rev().find_map(|stamped| match &stamped.event {
        Event::Violation { message, .. } => Some(message.clone()),
        Event::Expectation { findings, .. } if !findings.is_empty() => Some(findings.join("; ")),
        _ => None,
    });
    wrong.unwrap_or_default()
}

fn since(began: Micros, record: &RunRecord) -> RunRecord {
    let mut events = record.events.clone();
    events.retain(|stamped| stamped.at >= began);
    RunRecord { events }
}
