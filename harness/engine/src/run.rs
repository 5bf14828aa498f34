//! One run: mesh up, steps, mesh down, verdict.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use meshbed_driver::{Mesh, Rejection, RunState, UpOptions, kernel_release};
use meshbed_events::{Event, RunInfo, RunRecord, StepOutcome, Verdict};
use meshbed_scenario::{Cluster, Topology};
use tokio_util::sync::CancellationToken;

use crate::{
    Listener, Recorder, RunClock,
    language::Scenario,
    logs::Since,
    observers::Observers,
    place,
    probe::lock,
    stage::{Stage, chain},
    world::World,
};

/// What becomes of the mesh after the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It is taken down.
    No,
    /// It stays up, for `status`, `exec` and `kubectl`.
    Yes,
    /// It is given back for the next run when this one passed and left nothing behind; otherwise it is taken down.
    IfClean,
}

/// What a run needs.
pub struct RunOptions {
    /// The scenario and its topology.
    pub scenario: Scenario,
    /// How the mesh is brought up: run ID, programs, agents.
    pub up: UpOptions,
    /// An empty mesh of the same topology and agents that is to be used instead of a new one: what a run before gave back.
    pub mesh: Option<Mesh>,
    /// What becomes of the mesh.
    pub keep: Keep,
    /// Every random choice of the run comes from it.
    pub seed: u64,
    /// Number of this run among the repeats of one command, from 0.
    pub repeat: u32,
    /// The command that runs the same again, for reports.
    pub reproduce: String,
    /// File for the record; its folder exists.
    pub record: PathBuf,
    /// Told of everything as it happens.
    pub listener: Listener,
}

/// How a run ended.
pub struct RunOutcome {
    /// Everything that happened.
    pub record: RunRecord,
    /// The verdict, as in the record's last event.
    pub verdict: Verdict,
    /// The state of a mesh that was kept.
    pub kept: Option<RunState>,
    /// An empty mesh for another run, as [`Keep::IfClean`] asked for.
    pub mesh: Option<Mesh>,
}

/// Runs the scenario. Whatever happens, the mesh is taken down at the end unless it is to be kept.
///
/// # Errors
///
/// Only when the record cannot be created: everything else is an event of the record.
pub async fn run(options: RunOptions, interrupt: CancellationToken) -> std::io::Result<RunOutcome> {
    let info = info(&options);
    let RunOptions { scenario, up, mesh, keep, seed, record, listener, .. } = options;
    let clock = RunClock::start();
    let recorder = Recorder::new(Some(&record), listener)?;
    let world = World::new(scenario.topology(), scenario.grace(), clock, recorder).slowed(scenario.slowness());
    let world = world.on_kernels(foreign_kernels(&up, scenario.topology()));
    let world = Arc::new(Mutex::new(world));
    lock(&world).emit(Event::RunStarted(info));
    if scenario.slowness() > 1.0 {
        let text = format!(
            "this machine is {:.1} times slower than usual: so much longer may things take",
            scenario.slowness()
        );
        lock(&world).emit(Event::Note { text });
    }
    for outpost in &up.outposts {
        let text = format!(
            "{} on a machine of its own with kernel {}; its clock is known to within {:.1?}",
            outpost.names(),
            outpost.hello().kernel,
            outpost.clock_error()
        );
        lock(&world).emit(Event::Note { text });
    }
    let pod_program = up.programs.meshbed_pod.clone();

    let logs = if mesh.is_some() { Since::Now } else { Since::Beginning };
    let brought_up = match mesh {
        Some(mesh) => {
            let text = format!("on the mesh of run {}, which the run before left empty", mesh.state().run);
            lock(&world).emit(Event::Note { text });
            Ok(mesh)
        }
        None => bring_up(&scenario, up, &world, &interrupt).await,
    };
    let (mut kept, mut reusable) = (None, None);
    let verdict = match brought_up {
        Err(verdict) => verdict,
        Ok(mesh) => {
            let run = OnMesh { mesh: &mesh, scenario: &scenario, pod_program, seed, logs, keep };
            let (verdict, left) = run.run(&world, &interrupt).await;
            match (keep, left) {
                (Keep::Yes, _) => kept = leave(mesh, &world),
                (Keep::IfClean, Left::Empty) => reusable = Some(mesh),
                (Keep::No | Keep::IfClean, _) => take_down(mesh, &world).await,
            }
            verdict
        }
    };
    let mut world = lock(&world);
    world.run_ends();
    world.emit(Event::RunFinished { verdict, exit_code: exit_code(verdict) });
    world.recorder().flush();
    Ok(RunOutcome { record: world.recorder().record().clone(), verdict, kept, mesh: reusable })
}

async fn bring_up(
    scenario: &Scenario,
    up: UpOptions,
    world: &Arc<Mutex<World>>,
    interrupt: &CancellationToken,
) -> Result<Mesh, Verdict> {
    let progress = |what: &str| lock(world).emit(Event::MeshProgress { what: what.to_owned() });
    tokio::select! {
        biased;
        () = interrupt.cancelled() => Err(Verdict::Interrupted),
        mesh = meshbed_driver::up(scenario.topology(), up, progress) => mesh.map_err(|error| {
            lock(world).emit(Event::Note { text: chain(&error) });
            error.rejection().map_or(Verdict::Environment, |(process, why)| rejected(process, why, world))
        }),
    }
}

/// The kernel does not take a program of a process: that is no trouble of the environment but an agent that does not work on
/// this kernel.
fn rejected(process: &str, rejection: &Rejection, world: &Arc<Mutex<World>>) -> Verdict {
    let mut world = lock(world);
    world.rejected(process, &rejection.why);
    for line in &rejection.lines {
        world.emit(Event::Note { text: format!("verifier: {line}") });
    }
    Verdict::Failed
}

/// The documented exit code of a verdict.
pub(crate) fn exit_code(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Passed => 0,
        Verdict::Failed => 1,
        Verdict::Environment => 3,
        Verdict::Invalid => 4,
        Verdict::TimedOut => 5,
        Verdict::Interrupted => 130,
    }
}

/// What a run left on its mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// Nothing: it is as if it had just come up.
    Empty,
    /// Whatever there is.
    Anything,
}

/// A run on a mesh that is up.
struct OnMesh<'r> {
    mesh: &'r Mesh,
    scenario: &'r Scenario,
    pod_program: PathBuf,
    seed: u64,
    logs: Since,
    keep: Keep,
}

impl OnMesh<'_> {
    /// Watches, reads and runs the steps.
    async fn run(self, world: &Arc<Mutex<World>>, interrupt: &CancellationToken) -> (Verdict, Left) {
        lock(world).emit(Event::MeshReady);
        let observed = match Observers::start(self.mesh.control(), self.logs, world).await {
            Ok(observed) => observed,
            Err(error) => {
                lock(world).emit(Event::Note { text: chain(error.as_ref()) });
                return (Verdict::Environment, Left::Anything);
            }
        };
        let clusters = observed.clusters().clone();
        let control = self.mesh.control().clone();
        let stage =
            Stage::new(self.scenario.clone(), control, clusters, Arc::clone(world), self.pod_program, self.seed);
        let verdict = unless_ended(self.mesh, world, interrupt, all_steps(&stage)).await;
        stage.stop_probes().await;
        let traces = place::fetch_traces(self.mesh.control()).await;
        lock(world).follow_changes(&self.mesh.control().state(), &traces);
        let cleared = async {
            match stage.clear().await {
                Ok(()) => Verdict::Passed,
                Err(error) => {
                    note(world, format!("the mesh is not used again: {}", error.findings().join("; ")));
                    Verdict::Failed
                }
            }
        };
        let again = self.keep == Keep::IfClean && verdict == Verdict::Passed;
        let empty = again && unless_ended(self.mesh, world, interrupt, cleared).await == Verdict::Passed;
        // What was wrong while the mesh was emptied counts, too.
        if verdict == Verdict::Passed && lock(world).violations_between_steps() > 0 {
            return (Verdict::Failed, Left::Anything);
        }
        (verdict, if empty { Left::Empty } else { Left::Anything })
    }
}

/// What comes of `doing`, unless a person or the end of a process ends it.
async fn unless_ended(
    mesh: &Mesh,
    world: &Arc<Mutex<World>>,
    interrupt: &CancellationToken,
    doing: impl Future<Output = Verdict>,
) -> Verdict {
    tokio::select! {
        biased;
        () = interrupt.cancelled() => Verdict::Interrupted,
        exited = mesh.exited() => {
            let text = format!("`{}` ended unexpectedly ({}); {}", exited.name, exited.status, exited.log);
            lock(world).emit(Event::Note { text });
            exited.log.rejection.map_or(Verdict::Environment, |why| rejected(&exited.name, &why, world))
        }
        verdict = doing => verdict,
    }
}

async fn all_steps(stage: &Stage) -> Verdict {
    let count = stage.scenario.steps().len();
    for index in 0..count {
        let outcome = stage.run(index).await;
        let verdict = match outcome {
            StepOutcome::Passed | StepOutcome::Skipped => continue,
            StepOutcome::Failed => Verdict::Failed,
            StepOutcome::TimedOut => Verdict::TimedOut,
            StepOutcome::Invalid => Verdict::Invalid,
        };
        for step in index + 1..count {
            lock(&stage.world).emit(Event::StepFinished { step, outcome: StepOutcome::Skipped });
        }
        return verdict;
    }
    Verdict::Passed
}

fn leave(mesh: Mesh, world: &Mutex<World>) -> Option<RunState> {
    match mesh.keep() {
        Ok(state) => Some(state),
        Err(error) => {
            note(world, format!("the mesh could not be kept: {}", chain(&error)));
            None
        }
    }
}

async fn take_down(mesh: Mesh, world: &Mutex<World>) {
    if let Err(error) = mesh.down().await {
        note(world, format!("the mesh was not taken down completely: {}; `meshbed down` tries again", chain(&error)));
    }
}

fn note(world: &Mutex<World>, text: String) {
    world.lock().unwrap_or_else(std::sync::PoisonError::into_inner).emit(Event::Note { text });
}

fn info(options: &RunOptions) -> RunInfo {
    let RunOptions { scenario, up, .. } = options;
    let topology = scenario.topology();
    let nodes = |cluster: &Cluster| cluster.nodes().iter().map(|node| node.name().to_owned()).collect::<Vec<_>>();
    RunInfo {
        run: up.run.to_string(),
        scenario: scenario.name().to_owned(),
        question: scenario.question().to_owned(),
        scenario_file: scenario.file().display().to_string(),
        topology: topology.name().to_owned(),
        environment: "netns".to_owned(),
        kernel: kernels(up, topology),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: jiff::Timestamp::now().to_string(),
        clusters: topology.clusters().iter().map(|cluster| (cluster.name().to_string(), nodes(cluster))).collect(),
        rate_per_second: scenario.probes().first().map_or(0, |probe| probe.rate.get()),
        grace_us: u64::try_from(scenario.grace().as_micros()).unwrap_or(u64::MAX),
        steps: scenario.steps().iter().map(|step| step.name.clone()).collect(),
        agent: agents(up, topology),
        seed: options.seed,
        repeat: options.repeat,
        reproduce: options.reproduce.clone(),
        links: topology
            .links()
            .iter()
            .map(|link| format!("{} -> {}: {}", link.from, link.to, link.conditions))
            .collect(),
    }
}

/// The agent under test, or which cluster has which.
fn agents(up: &UpOptions, topology: &Topology) -> String {
    if up.agents.is_empty() {
        return up.agent.name().to_owned();
    }
    let of = |cluster: &Cluster| format!("{}: {}", cluster.name(), up.agent_of(cluster.name()).name());
    topology.clusters().iter().map(of).collect::<Vec<_>>().join(", ")
}

/// Release of the kernel; of each cluster's when they are on different machines.
fn kernels(up: &UpOptions, topology: &Topology) -> String {
    let ours = kernel_release();
    if up.outposts.is_empty() {
        return ours;
    }
    let of = |cluster: &Cluster| {
        let kernel = up.outpost_of(cluster.name()).map_or(&ours, |outpost| &outpost.hello().kernel);
        format!("{}: {kernel}", cluster.name())
    };
    topology.clusters().iter().map(of).collect::<Vec<_>>().join(", ")
}

/// Kernels that are not ours, by the names of the clusters and nodes that are on them.
fn foreign_kernels(up: &UpOptions, topology: &Topology) -> Vec<(String, String)> {
    let mut kernels = Vec::new();
    for cluster in topology.clusters() {
        let Some(outpost) = up.outpost_of(cluster.name()) else { continue };
        let nodes = cluster.nodes().iter().map(meshbed_scenario::Node::name);
        let names = std::iter::once(cluster.name().as_str()).chain(nodes);
        kernels.extend(names.map(|name| (name.to_owned(), outpost.hello().kernel.clone())));
    }
    kernels
}
