//! Runs one scenario and leaves its reports in a folder of its own: what `run`, `conformance` and `diff-agents` share.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::lchown,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use futures::future::try_join_all;
use mesh_types::ClusterName;
use meshbed_driver::{Mesh, OUTPOSTS, Outpost, OutpostLink, Programs, RunId, UpOptions};
use meshbed_engine::{Keep, RunOptions, RunOutcome, Scenario};
use meshbed_events::Stamped;
use meshbed_scenario::AgentSpec;
use tokio_util::sync::CancellationToken;

use super::{find, guest, report};
use crate::args::AgentArgs;

/// Folder of agents' descriptions.
const AGENTS: &str = "fixtures/agents";

/// The agents under test and the programs that a mesh is made of.
#[derive(Clone)]
pub(super) struct UnderTest {
    pub(super) programs: Programs,
    pub(super) agent: AgentSpec,
    agents: BTreeMap<ClusterName, AgentSpec>,
    env: Vec<(String, String)>,
    /// Machines that have some of the clusters.
    outposts: Vec<Arc<Outpost>>,
}

impl UnderTest {
    /// What the arguments ask for; fails with everything that this machine lacks.
    pub(super) fn of(args: &AgentArgs) -> anyhow::Result<Self> {
        let mut programs = Programs::next_to(&std::env::current_exe()?);
        programs.agent_bin_dir = match &args.agent_bin_dir {
            None => None,
            Some(folder) => {
                let absolute = fs::canonicalize(folder);
                Some(absolute.with_context(|| format!("no folder `{}`", folder.display()))?)
            }
        };
        let agent = match &args.agent {
            None => AgentSpec::default(),
            Some(given) => agent(given)?,
        };
        let mut agents = BTreeMap::new();
        for (cluster, given) in &args.agent_in {
            agents.insert(cluster.parse::<ClusterName>()?, self::agent(given)?);
        }
        let under_test = Self { programs, agent, agents, env: args.agent_env.clone(), outposts: Vec::new() };
        under_test.require()?;
        Ok(under_test)
    }

    /// Waits until the machines that have some of the clusters are there, if this one leads such a mesh.
    pub(super) async fn reach_outposts(&mut self) -> anyhow::Result<()> {
        let Ok(told) = std::env::var(OUTPOSTS) else { return Ok(()) };
        let links: Vec<OutpostLink> =
            serde_json::from_str(&told).with_context(|| format!("failed to read `{OUTPOSTS}`"))?;
        let reached = try_join_all(links.into_iter().map(Outpost::reach)).await?;
        self.outposts = reached.into_iter().map(Arc::new).collect();
        Ok(())
    }

    /// How many times slower than usual the slowest machine is.
    fn slowness(&self) -> f64 {
        self.outposts.iter().map(|outpost| outpost.hello().slowness).fold(guest::slowness(), f64::max)
    }

    /// The same with another agent.
    pub(super) fn with_agent(&self, agent: AgentSpec) -> anyhow::Result<Self> {
        let other = Self { agent, agents: BTreeMap::new(), ..self.clone() };
        other.require()?;
        Ok(other)
    }

    /// Fails with everything that this machine lacks.
    fn require(&self) -> anyhow::Result<()> {
        let mut missing = meshbed_driver::preflight(&self.programs);
        for agent in std::iter::once(&self.agent).chain(self.agents.values()) {
            missing.extend(meshbed_driver::agent_preflight(agent, &self.programs));
        }
        if missing.is_empty() {
            return Ok(());
        }
        let line =
            |missing: &meshbed_driver::Missing| format!("  {}: {}\n    {}", missing.what, missing.why, missing.how);
        let lines: Vec<String> = missing.iter().map(line).collect();
        anyhow::bail!("this machine cannot run a mesh yet:\n{}", lines.join("\n"))
    }

    /// Options for a run of these.
    pub(super) fn up_options(&self, run: RunId, seed: u64) -> UpOptions {
        let mut up = UpOptions::new(run, self.programs.clone());
        up.seed = seed;
        up.agent = self.agent.clone();
        up.agents.clone_from(&self.agents);
        up.env.clone_from(&self.env);
        up.outposts.clone_from(&self.outposts);
        up
    }
}

/// A description by its file or its name.
pub(super) fn agent(given: &str) -> anyhow::Result<AgentSpec> {
    Ok(AgentSpec::load(agent_file(given)?)?)
}

/// Its file.
pub(super) fn agent_file(given: &str) -> anyhow::Result<PathBuf> {
    find::file(given, AGENTS)
}

/// One run.
pub(super) struct Run {
    pub(super) scenario: Scenario,
    /// A mesh to run it on, instead of a new one.
    pub(super) mesh: Option<Mesh>,
    pub(super) keep: Keep,
    pub(super) seed: u64,
    pub(super) repeat: u32,
    /// The command that runs the same again.
    pub(super) reproduce: String,
}

/// What came of it.
pub(super) struct Ran {
    pub(super) outcome: RunOutcome,
    pub(super) folder: PathBuf,
}

impl UnderTest {
    /// Runs it and writes its reports below `reports`.
    pub(super) async fn run(
        &self,
        run: Run,
        reports: &Path,
        interrupt: CancellationToken,
        listener: impl FnMut(&Stamped) + Send + 'static,
    ) -> anyhow::Result<Ran> {
        if guest::leads_others() && self.outposts.is_empty() {
            anyhow::bail!("the machines that have other clusters of the mesh were not reached");
        }
        let id = RunId::random()?;
        let folder = reports.join(folder_name(&id, run.scenario.name()));
        fs::create_dir_all(&folder).with_context(|| format!("failed to make `{}`", folder.display()))?;
        let slowness = self.slowness();
        let options = RunOptions {
            up: self.up_options(id, run.seed).slowed(slowness),
            scenario: run.scenario.slowed(slowness),
            mesh: run.mesh,
            keep: run.keep,
            seed: run.seed,
            repeat: run.repeat,
            reproduce: run.reproduce,
            record: folder.join(report::RECORD),
            listener: Box::new(listener),
        };
        let outcome = meshbed_engine::run(options, interrupt)
            .await
            .with_context(|| format!("failed to write the record in `{}`", folder.display()))?;
        report::write(&outcome.record, &folder)?;
        give_to_invoker(&folder);
        Ok(Ran { outcome, folder })
    }
}

/// `<UTC date>-<time>-<scenario>-<run>`: sorts by time, and tells what it is.
fn folder_name(run: &RunId, scenario: &str) -> PathBuf {
    let now = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S");
    PathBuf::from(format!("{now}-{scenario}-{run}"))
}

/// Under sudo the reports belong to the person, not to root.
pub(super) fn give_to_invoker(folder: &Path) {
    let id = |name: &str| std::env::var(name).ok().and_then(|id| id.parse::<u32>().ok());
    let (Some(user), Some(group)) = (id("SUDO_UID"), id("SUDO_GID")) else { return };
    let mut waiting = vec![folder.to_owned()];
    waiting.extend(folder.ancestors().skip(1).take(2).map(Path::to_owned));
    while let Some(path) = waiting.pop() {
        if let Err(error) = lchown(&path, Some(user), Some(group)) {
            tracing::warn!(path = %path.display(), %error, "failed to hand over");
        }
        if path.starts_with(folder) {
            waiting.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
    }
}

/// The command line that runs a scenario with these agents and this seed again; `name` is how it is found.
pub(super) fn reproduce(
    scenario: &Scenario,
    name: &str,
    set: &[(String, String)],
    agent: &AgentArgs,
    seed: u64,
) -> String {
    let mut words = vec!["meshbed".to_owned(), "run".to_owned(), name.to_owned()];
    words.extend(set.iter().flat_map(|(name, value)| ["--set".to_owned(), format!("{name}={value}")]));
    words.extend(agent.words());
    words.extend(guest::kernel_flags(scenario.topology()));
    words.extend(["--seed".to_owned(), seed.to_string()]);
    // A word with a NUL in it cannot have been typed.
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_default()
}

/// A seed when nobody gives one.
pub(super) fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    // The standard library keys its hashers with random numbers of the kernel.
    RandomState::new().build_hasher().finish()
}
