//! The agent under test: what a mesh starts on its nodes and beside its etcds.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{Diagnostics, Template};

/// The description that is used when none is given.
const DEFAULT: &str = include_str!("../../../fixtures/agents/mesh-agent.yaml");
/// What findings about [`DEFAULT`] call it.
const DEFAULT_FILE: &str = "fixtures/agents/mesh-agent.yaml";

/// A cluster mesh agent, as a file of `kind: Agent` describes it. Valid by construction: every placeholder is known
/// where it is used, and files are written below the run's folder only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentSpec {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) setup: Option<Role>,
    pub(crate) node: Role,
    pub(crate) exporter: Option<Role>,
    pub(crate) kvstoremesh: Option<Role>,
    pub(crate) pins: PathBuf,
    pub(crate) capabilities: BTreeSet<Capability>,
    pub(crate) stop: StopSignal,
    pub(crate) needs: Needs,
}

impl AgentSpec {
    /// Reads and checks the description `path`.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Diagnostics> {
        crate::read_agent::load(path.as_ref())
    }

    /// Reads and checks `text`; `file_name` is what findings call it.
    pub fn parse(text: &str, file_name: impl AsRef<Path>) -> Result<Self, Diagnostics> {
        crate::read_agent::parse(text, file_name.as_ref())
    }

    /// Its name, part of the names of conformance reports.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is, for people.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// A command that prepares a cluster once, when its Kubernetes API answers and before anything else of the agent starts
    /// there. It has to end with 0.
    pub fn setup(&self) -> Option<&Role> {
        self.setup.as_ref()
    }

    /// What runs on every node.
    pub fn node(&self) -> &Role {
        &self.node
    }

    /// What runs once in every cluster and writes its services to its etcd.
    pub fn exporter(&self) -> Option<&Role> {
        self.exporter.as_ref()
    }

    /// What runs once in every cluster of a mesh with KVStoreMesh and copies remote clusters into the cluster's etcd.
    pub fn kvstoremesh(&self) -> Option<&Role> {
        self.kvstoremesh.as_ref()
    }

    /// Folder of the pinned maps, relative to the node's bpffs.
    pub fn pins(&self) -> &Path {
        &self.pins
    }

    /// What it claims to be able to do.
    pub fn capabilities(&self) -> &BTreeSet<Capability> {
        &self.capabilities
    }

    /// The signal that asks it to end.
    pub fn stop(&self) -> StopSignal {
        self.stop
    }

    /// What it needs of the machine and of its nodes.
    pub fn needs(&self) -> &Needs {
        &self.needs
    }

    /// The same agent with `program` in place of the program of all roles.
    #[must_use]
    pub fn with_program(mut self, program: &str) -> Self {
        let roles = [Some(&mut self.node), self.exporter.as_mut(), self.kvstoremesh.as_mut()];
        for role in roles.into_iter().flatten() {
            role.command[0] = Template::literal(program);
            if let Some(status) = &mut role.status {
                status[0] = Template::literal(program);
            }
        }
        self
    }
}

impl Default for AgentSpec {
    /// The agent of this project, from the description that is built in.
    fn default() -> Self {
        Self::parse(DEFAULT, DEFAULT_FILE).expect("the description that is built in is valid, a test holds that")
    }
}

/// One of an agent's programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    pub(crate) command: Vec<Template>,
    pub(crate) env: BTreeMap<String, Template>,
    pub(crate) files: Vec<AgentFile>,
    pub(crate) ready: Ready,
    pub(crate) timeout: Duration,
    pub(crate) trace: Option<Template>,
    pub(crate) status: Option<Vec<Template>>,
}

impl Role {
    /// Program and arguments; never empty.
    pub fn command(&self) -> &[Template] {
        &self.command
    }

    /// Additions to its environment.
    pub fn env(&self) -> &BTreeMap<String, Template> {
        &self.env
    }

    /// Files that are written before each start.
    pub fn files(&self) -> &[AgentFile] {
        &self.files
    }

    /// When it counts as ready.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// File to which it appends a JSON line for each step of each change of a service, as `agent/README.md` describes.
    pub fn trace(&self) -> Option<&Template> {
        self.trace.as_ref()
    }

    /// A command that prints how its remote clusters are, as JSON in Cilium's model (`cluster-mesh` of `/v1/healthz`).
    pub fn status(&self) -> Option<&[Template]> {
        self.status.as_deref()
    }

    /// How long it may take to become ready.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// A file that an agent needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentFile {
    /// Where; below the run's folder.
    pub path: Template,
    /// What is in it.
    pub content: Template,
}

/// How a program tells that it is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ready {
    /// It sends `READY=1` to its `NOTIFY_SOCKET` (`sd_notify(3)`).
    Notify,
    /// A GET of this plain-text URL, from within its network namespace, is answered with 2xx.
    Http(Template),
    /// This command, run in its place, ends with 0.
    Exec(Vec<Template>),
    /// This path exists, as the program sees it.
    Exists(Template),
    /// It ended with 0. Only for [`AgentSpec::setup`].
    Ended,
}

/// The signal that asks an agent to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopSignal {
    /// SIGTERM.
    #[default]
    Term,
    /// SIGINT.
    Int,
    /// SIGQUIT.
    Quit,
}

impl StopSignal {
    /// All of them and their names in files.
    pub(crate) const ALL: [(&'static str, Self); 3] = [("TERM", Self::Term), ("INT", Self::Int), ("QUIT", Self::Quit)];
}

/// What an agent needs apart from its own programs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// Its nodes have a cgroup namespace each, with their cgroup v2 mounted as root at `/sys/fs/cgroup`.
    pub cgroup_namespace: bool,
    /// Programs that it calls itself, found in its folder of programs or in `PATH`.
    pub programs: Vec<String>,
    /// Files and folders that must be on the machine; only `{binDir}` may be in them.
    pub files: Vec<Template>,
    /// Kinds that its setup brings into every cluster.
    pub crds: Option<NeededCrds>,
}

/// CustomResourceDefinitions that an agent needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeededCrds {
    /// Folder with their manifests; only `{binDir}` may be in it.
    pub folder: Template,
    /// Their names, such as `ciliumnodes.cilium.io`.
    pub names: Vec<String>,
}

/// Something that an agent claims to be able to do. Conformance cases name those that they need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Capability {
    /// Backends of a global service come from all clusters that share it.
    GlobalServices,
    /// `service.cilium.io/shared: "false"` keeps a cluster's own backends to itself.
    Shared,
    /// `service.cilium.io/affinity` prefers one side and falls back to the other.
    Affinity,
    /// The annotations' old names, `io.cilium/…`, count.
    LegacyAnnotations,
    /// Backends are chosen by the name of the service port.
    PortNames,
    /// UDP services are balanced.
    Udp,
    /// `sessionAffinity: ClientIP` is kept in the maps.
    SessionAffinity,
    /// Terminating backends that still serve are used when there are no others.
    TerminatingFallback,
    /// The RevNAT map is filled.
    RevNat,
    /// Configuration files of remote clusters may come, change and go while the agent runs.
    MeshConfig,
    /// What an unreachable remote cluster said last stays in force.
    PeerOutage,
    /// Maps and programs outlive the agent: a restart drops no connection and no backend.
    RestoredMaps,
    /// Nothing is deleted before the remote cluster says that its list is complete (`cilium/synced/…`).
    Canary,
    /// A compaction of a remote etcd under a watch leads to a new list.
    Compaction,
    /// A remote etcd that lost its data and has a new cluster ID is followed.
    ClusterIdChange,
    /// A remote cluster with our own or another one's cluster ID is refused.
    DuplicateClusterId,
    /// The exporter writes `cilium/cluster-config/…`.
    ClusterConfig,
    /// The exporter's keys hang on a lease that it keeps alive.
    Lease,
    /// The exporter writes its keys again when its etcd lost them.
    Rewrite,
}

impl Capability {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 19] = [
        Self::GlobalServices,
        Self::Shared,
        Self::Affinity,
        Self::LegacyAnnotations,
        Self::PortNames,
        Self::Udp,
        Self::SessionAffinity,
        Self::TerminatingFallback,
        Self::RevNat,
        Self::MeshConfig,
        Self::PeerOutage,
        Self::RestoredMaps,
        Self::Canary,
        Self::Compaction,
        Self::ClusterIdChange,
        Self::DuplicateClusterId,
        Self::ClusterConfig,
        Self::Lease,
        Self::Rewrite,
    ];

    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::GlobalServices => "global-services",
            Self::Shared => "shared",
            Self::Affinity => "affinity",
            Self::LegacyAnnotations => "legacy-annotations",
            Self::PortNames => "port-names",
            Self::Udp => "udp",
            Self::SessionAffinity => "session-affinity",
            Self::TerminatingFallback => "terminating-fallback",
            Self::RevNat => "rev-nat",
            Self::MeshConfig => "mesh-config",
            Self::PeerOutage => "peer-outage",
            Self::RestoredMaps => "restored-maps",
            Self::Canary => "canary",
            Self::Compaction => "compaction",
            Self::ClusterIdChange => "cluster-id-change",
            Self::DuplicateClusterId => "duplicate-cluster-id",
            Self::ClusterConfig => "cluster-config",
            Self::Lease => "lease",
            Self::Rewrite => "rewrite",
        }
    }

    /// The capability called `name`.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|capability| capability.name() == name)
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
