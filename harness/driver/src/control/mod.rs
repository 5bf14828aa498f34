//! Control over a running mesh: its processes, nodes, clusters, links, certificates and configuration files.
//!
//! Everything here changes something on purpose and returns a *witness*: what the kernel showed when it was done. Nothing
//! here knows why somebody wants it; that is the part of the engine. Undoing is explicit: what was stopped is started, what
//! was frozen is thawed, what was cut is connected.

mod certificates;
mod cgroups;
mod clusters;
mod elsewhere;
mod error;
mod etcd;
mod mesh_config;
mod nodes;
mod processes;
mod remote_status;
mod witness;

use std::{
    collections::BTreeMap,
    fs::File,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nix::fcntl::{Flock, FlockArg};
use tokio::sync::Mutex as AsyncMutex;

pub use certificates::{Authority, CertificateName, Reissued, Rotated, Validity};
pub use error::{ControlError, ControlErrorKind};
pub use mesh_config::MeshConfig;
pub(crate) use mesh_config::{ConfigAct, ConfigFile};
pub use witness::{
    ClusterBooted, ClusterCrashed, Emptied, Ended, EtcdReset, Frozen, LinkSeen, NodeBooted, NodeCrashed, Resumed,
    Started, Suspended, Thawed,
};

use crate::{
    Outpost, ProcessRole, RunId, RunState,
    error::{Act, SystemError},
    gate::Gate,
    inventory::find_run,
    layout::run_json,
    process::{ExitSender, Process},
    programs::{cluster_process, node_process},
    state::{ClusterState, NodeState},
};

/// How long a process may take to end in an orderly way before [`Control::restart`] kills it.
pub const END_DEADLINE: std::time::Duration = std::time::Duration::from_secs(5);

/// Control over a running mesh. Cheap to clone; everything may be called at the same time from anywhere. What concerns one
/// process happens one after the other.
#[derive(Clone, Debug)]
pub struct Control {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<RunState>,
    /// By name; which ones there are never changes.
    processes: BTreeMap<String, AsyncMutex<Process>>,
    /// Where unexpected ends are told; nowhere for a mesh that another program made.
    exits: Option<ExitSender>,
    /// Machines that have some of the clusters.
    outposts: Vec<Arc<Outpost>>,
    /// Closed when the run is being removed.
    gate: Arc<Gate>,
    /// Ports of the Kubernetes APIs on this machine.
    _reservations: Vec<OwnedFd>,
}

impl Control {
    pub(crate) fn of_owner(
        state: RunState,
        processes: Vec<Process>,
        reservations: Vec<OwnedFd>,
        exits: ExitSender,
        outposts: Vec<Arc<Outpost>>,
        gate: &Arc<Gate>,
    ) -> Self {
        Self::new(state, processes, reservations, Some(exits), outposts, Arc::clone(gate))
    }

    fn new(
        state: RunState,
        processes: Vec<Process>,
        reservations: Vec<OwnedFd>,
        exits: Option<ExitSender>,
        outposts: Vec<Arc<Outpost>>,
        gate: Arc<Gate>,
    ) -> Self {
        let named = |process: Process| (process.state().name.clone(), AsyncMutex::new(process));
        let processes = processes.into_iter().map(named).collect();
        let shared = Shared { state: Mutex::new(state), processes, exits, outposts, gate, _reservations: reservations };
        Self { shared: Arc::new(shared) }
    }

    /// Control over a run that another program made and left (`--keep`). Processes that are started with it outlive the
    /// caller. A run whose harness is alive and has not left it is refused: it would take every end for a failure.
    pub async fn attach(run: &RunId) -> Result<Self, ControlError> {
        let act = || format!("attach to run `{run}`");
        let state = find_run(run).map_err(|error| ControlError::new(act(), error.into()))?;
        let state = state.ok_or_else(|| ControlError::new(act(), ControlErrorKind::NoRun))?;
        if !state.kept && state.harness_is_alive() {
            return Err(ControlError::new(act(), ControlErrorKind::Owned { pid: state.harness.pid }));
        }
        let adopted: Result<Vec<_>, _> = state.processes.iter().cloned().map(Process::adopt).collect();
        let processes = adopted.map_err(|error| ControlError::new(act(), error.into()))?;
        Ok(Self::new(state, processes, Vec::new(), None, Vec::new(), Arc::default()))
    }

    /// What the run consists of now.
    pub fn state(&self) -> RunState {
        self.lock_state().clone()
    }

    fn lock_state(&self) -> MutexGuard<'_, RunState> {
        // A panic of another thread cannot leave it half changed.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known of the run, here and in its `run.json`, whoever else does so at the same time.
    pub(crate) fn update(&self, change: impl FnOnce(&mut RunState)) -> Result<(), SystemError> {
        let mut known = self.lock_state();
        let act = || format!("lock `{}`", known.run_dir.display());
        let directory = File::open(&known.run_dir).act(act)?;
        let _lock = Flock::lock(directory, FlockArg::LockExclusive).map_err(|(_, error)| error).act(act)?;
        let path = run_json(&known.run);
        let mut state = RunState::load(&path)?;
        change(&mut state);
        state.store(&path)?;
        *known = state;
        Ok(())
    }

    /// Waits until none of the processes is left, not even as a zombie.
    pub(crate) async fn all_reaped(&self) {
        for process in self.shared.processes.values() {
            process.lock().await.reaped().await;
        }
    }

    fn find_node(&self, name: &str) -> Result<(ClusterState, NodeState), ControlErrorKind> {
        let state = self.lock_state();
        let found = state.find_node(name).map(|(cluster, node)| (cluster.clone(), node.clone()));
        found.ok_or_else(|| ControlErrorKind::UnknownNode(name.to_owned()))
    }

    fn find_cluster(&self, name: &str) -> Result<ClusterState, ControlErrorKind> {
        let found = self.lock_state().cluster(name).cloned();
        found.ok_or_else(|| ControlErrorKind::UnknownCluster(name.to_owned()))
    }

    /// Those of the processes called `names` that the run has.
    fn present(&self, names: impl IntoIterator<Item = String>) -> Vec<String> {
        names.into_iter().filter(|name| self.shared.processes.contains_key(name)).collect()
    }

    /// Kubelet and agent of a node.
    fn of_node(&self, node: &str) -> Vec<String> {
        self.present([ProcessRole::Kubelet, ProcessRole::Agent].map(|role| node_process(role, node)))
    }

    /// What runs in a cluster's control plane.
    fn of_control_plane(&self, cluster: &str) -> Vec<String> {
        let roles = [ProcessRole::Etcd, ProcessRole::ApiServer, ProcessRole::Exporter, ProcessRole::KvstoreMesh];
        self.present(roles.map(|role| cluster_process(role, cluster)))
    }
}

/// Runs something that blocks.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
