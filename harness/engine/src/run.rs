//! One run: mesh up, steps, mesh down, verdict.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use mesh_types::ClusterName;
use meshbed_driver::{Mesh, RunState, UpOptions};
use meshbed_events::{Event, RunInfo, RunRecord, StepOutcome, Verdict};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Listener, Recorder, RunClock, fence,
    kubernetes::Cluster,
    language::Scenario,
    logs::Logs,
    maps::{Pace, Reader},
    probe::lock,
    propagation,
    stage::{Stage, chain},
    watch,
    world::World,
};

/// What becomes of the mesh after the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It is taken down.
    No,
    /// It stays up, for `status`, `exec` and `kubectl`.
    Yes,
}

/// What a run needs.
pub struct RunOptions {
    /// The scenario and its topology.
    pub scenario: Scenario,
    /// How the mesh is brought up: run ID, programs, agents.
    pub up: UpOptions,
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
}

/// Runs the scenario. Whatever happens, the mesh is taken down at the end unless it is to be kept.
///
/// # Errors
///
/// Only when the record cannot be created: everything else is an event of the record.
pub async fn run(options: RunOptions, interrupt: CancellationToken) -> std::io::Result<RunOutcome> {
    let info = info(&options);
    let RunOptions { scenario, up, keep, seed, record, listener, .. } = options;
    let clock = RunClock::start();
    let recorder = Recorder::new(Some(&record), listener)?;
    let world = World::new(scenario.topology(), scenario.grace(), clock, recorder).slowed(scenario.slowness());
    let world = Arc::new(Mutex::new(world));
    lock(&world).emit(Event::RunStarted(info));
    if scenario.slowness() > 1.0 {
        let text = format!(
            "this machine is {:.1} times slower than usual: so much longer may things take",
            scenario.slowness()
        );
        lock(&world).emit(Event::Note { text });
    }
    let pod_program = up.programs.meshbed_pod.clone();

    let progress = |what: &str| lock(&world).emit(Event::MeshProgress { what: what.to_owned() });
    let brought_up = tokio::select! {
        biased;
        () = interrupt.cancelled() => Err(Verdict::Interrupted),
        mesh = meshbed_driver::up(scenario.topology(), up, progress) => mesh.map_err(|error| {
            lock(&world).emit(Event::Note { text: chain(&error) });
            Verdict::Environment
        }),
    };
    let (verdict, kept) = match brought_up {
        Err(verdict) => (verdict, None),
        Ok(mesh) => {
            let verdict = on_mesh(&mesh, &scenario, pod_program, seed, &world, &interrupt).await;
            let kept = match (keep, verdict) {
                (Keep::Yes, _) => leave(mesh, &world),
                (Keep::No, _) => {
                    take_down(mesh, &world).await;
                    None
                }
            };
            (verdict, kept)
        }
    };
    let mut world = lock(&world);
    world.run_ends();
    world.emit(Event::RunFinished { verdict, exit_code: exit_code(verdict) });
    world.recorder().flush();
    Ok(RunOutcome { record: world.recorder().record().clone(), verdict, kept })
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

/// Watches, reads and runs the steps on a mesh that is up.
async fn on_mesh(
    mesh: &Mesh,
    scenario: &Scenario,
    pod_program: PathBuf,
    seed: u64,
    world: &Arc<Mutex<World>>,
    interrupt: &CancellationToken,
) -> Verdict {
    lock(world).emit(Event::MeshReady);
    let observed = match Observers::start(mesh.state(), world).await {
        Ok(observed) => observed,
        Err(error) => {
            lock(world).emit(Event::Note { text: chain(error.as_ref()) });
            return Verdict::Environment;
        }
    };
    let clusters = observed.clusters().clone();
    let stage = Stage::new(scenario.clone(), mesh.control().clone(), clusters, Arc::clone(world), pod_program, seed);
    let verdict = tokio::select! {
        biased;
        () = interrupt.cancelled() => Verdict::Interrupted,
        exited = mesh.exited() => {
            let text = format!("`{}` ended unexpectedly ({}); end of its log:\n{}", exited.name, exited.status, exited.tail);
            lock(world).emit(Event::Note { text });
            Verdict::Environment
        }
        verdict = all_steps(&stage) => verdict,
    };
    stage.stop_probes().await;
    lock(world).follow_changes(&mesh.control().state());
    if verdict == Verdict::Passed && lock(world).violations_between_steps() > 0 {
        return Verdict::Failed;
    }
    verdict
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

/// Everything that tells the world what happens; stops when dropped.
pub(crate) struct Observers {
    clusters: BTreeMap<ClusterName, Cluster>,
    tasks: JoinSet<()>,
    /// Kept because they stop when they are dropped.
    _maps: Option<Reader>,
    _logs: Option<Logs>,
}

impl Observers {
    pub(crate) fn clusters(&self) -> &BTreeMap<ClusterName, Cluster> {
        &self.clusters
    }

    /// Everything that can be seen of the mesh.
    pub(crate) async fn start(state: &RunState, world: &Arc<Mutex<World>>) -> Result<Self, Unobserved> {
        let mut objects = Self::of_objects(state, world).await?;
        let maps = Reader::start(bpf_roots(state), Pace::Measure, Arc::clone(world))?;
        let logs = Logs::follow(state, Arc::clone(world))?;
        propagation::follow(&state.clusters, &mut objects.tasks, world);
        Ok(Self { _maps: Some(maps), _logs: Some(logs), ..objects })
    }

    /// What a person looks at: Kubernetes objects, then maps. Clusters that give no list within `lists_max` are gone for
    /// now; of the others no map is called wrong only because its services are not known yet.
    pub(crate) async fn of_view(
        state: &RunState,
        world: &Arc<Mutex<World>>,
        lists_max: Duration,
    ) -> Result<Self, Unobserved> {
        let objects = Self::of_objects(state, world).await?;
        let missing = listed(world, &BTreeSet::new(), lists_max).await;
        if !missing.is_empty() {
            tracing::info!(?missing, "going on without");
        }
        let maps = Reader::start(bpf_roots(state), Pace::Show, Arc::clone(world))?;
        Ok(Self { _maps: Some(maps), ..objects })
    }

    /// Only Kubernetes objects.
    pub(crate) async fn of_objects(state: &RunState, world: &Arc<Mutex<World>>) -> Result<Self, Unobserved> {
        let mut clusters = BTreeMap::new();
        let mut tasks = JoinSet::new();
        let (sender, mut seen) = mpsc::channel(watch::QUEUE_MAX);
        for cluster in &state.clusters {
            let connected = Cluster::connect(cluster.name.clone(), &cluster.kubeconfig_host).await?;
            watch::watch(&connected, &mut tasks, &sender);
            clusters.insert(cluster.name.clone(), connected);
        }
        let of_watches = Arc::clone(world);
        tasks.spawn(async move {
            while let Some(seen) = seen.recv().await {
                lock(&of_watches).seen(seen);
            }
        });
        tasks.spawn(fence::follow(Arc::new(clusters.clone()), Arc::clone(world)));
        Ok(Self { clusters, tasks, _maps: None, _logs: None })
    }
}

/// Waits until the watches know what there is in every cluster that is not `silent`; returns what is missing when
/// `wait_max` has passed.
pub(crate) async fn listed(
    world: &Arc<Mutex<World>>,
    silent: &BTreeSet<ClusterName>,
    wait_max: Duration,
) -> Vec<String> {
    let mut changes = lock(world).changes();
    let deadline = Instant::now() + wait_max;
    loop {
        changes.mark_unchanged();
        let missing = lock(world).unlisted(silent);
        if missing.is_empty() || timeout_at(deadline, changes.changed()).await.is_err() {
            return missing;
        }
    }
}

/// Why the mesh could not be observed.
type Unobserved = Box<dyn std::error::Error + Send + Sync>;

/// bpffs of every node, in the order of the world's nodes.
fn bpf_roots(state: &RunState) -> Vec<PathBuf> {
    state.clusters.iter().flat_map(|cluster| &cluster.nodes).map(|node| node.bpf_root.clone()).collect()
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
    let nodes = |cluster: &meshbed_scenario::Cluster| {
        cluster.nodes().iter().map(|node| node.name().to_owned()).collect::<Vec<_>>()
    };
    RunInfo {
        run: up.run.to_string(),
        scenario: scenario.name().to_owned(),
        question: scenario.question().to_owned(),
        scenario_file: scenario.file().display().to_string(),
        topology: topology.name().to_owned(),
        environment: "netns".to_owned(),
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
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
fn agents(up: &UpOptions, topology: &meshbed_scenario::Topology) -> String {
    if up.agents.is_empty() {
        return up.agent.name().to_owned();
    }
    let of =
        |cluster: &meshbed_scenario::Cluster| format!("{}: {}", cluster.name(), up.agent_of(cluster.name()).name());
    topology.clusters().iter().map(of).collect::<Vec<_>>().join(", ")
}
