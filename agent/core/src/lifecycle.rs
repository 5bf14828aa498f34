//! The life of one remote cluster, from its configuration file to its removal, as a state machine: what happened goes in,
//! what is to be done comes out. Who does it (`mesh-kvstore`) decides nothing.
//!
//! ```text
//!            Connect        ReadConfig      Reserve           Follow (canary by canary)
//! Waiting ──────────▶ Connecting ─▶ Configuring ─▶ Reserving ─▶ Following ─▶ ready when all kinds are listed
//!    ▲                    │              │             │            │
//!    └────────────────────┴──────────────┴─────────────┴────────────┘  anything fails: Disconnect, wait, try again
//! ```
//!
//! What was learnt is never dropped because something fails (Cilium: kept indefinitely), but for services when
//! [`LifecycleConfig::cache_ttl`] is set; it is drained when the cluster comes back with another ID, and by whoever removes it.

use std::{collections::BTreeSet, time::Duration};

use mesh_planted::{Defect, planted};
use mesh_types::{ClusterId, ClusterName, MaxConnectedClusters};
use mesh_wire::{Capabilities, ClusterConfig, ClusterConfigError, EndpointSlicesExportMode, Layout, Resource};

use crate::{ServiceFormat, ServiceV2};

/// Wait after the first failure in a row. A server that restarts is usually back within tens of milliseconds.
const WAIT_FIRST: Duration = Duration::from_millis(50);
/// Longest wait: long enough to spare a dead server, short enough that its return is noticed at once for whoever waits
/// for it.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// When [`Defect::DeadClusterForgotten`] forgets: time spent waiting between attempts to connect.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(2);

/// What is the same for all remote clusters of an agent.
#[derive(Clone, Debug)]
pub struct LifecycleConfig {
    /// Our own ID.
    pub cluster_id: ClusterId,
    /// Size of the mesh.
    pub limit: MaxConnectedClusters,
    /// Kinds that are read. Of services and endpoint slices, if both are named, one is read of each cluster.
    pub resources: BTreeSet<Resource>,
    /// Which format of services is read; `None`: whatever a cluster exports, for who copies and does not read.
    pub service_v2: Option<ServiceV2>,
    /// How long a cluster may not be ready before its services are dropped (`clustermesh-cache-ttl`); for ever if none.
    pub cache_ttl: Option<Duration>,
    /// How patient it is.
    pub patience: Patience,
}

/// How long things may be missing before a remote cluster is given up and tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Its heartbeat.
    pub heartbeat: Duration,
    /// Its configuration, once there is a connection.
    pub cluster_config: Duration,
}

impl Patience {
    /// Cilium's: two missed rounds of the heartbeat.
    pub const HEARTBEAT: Duration = Duration::from_secs(120);
    /// Cilium's.
    pub const CLUSTER_CONFIG: Duration = Duration::from_secs(180);
}

impl Default for Patience {
    fn default() -> Self {
        Self { heartbeat: Self::HEARTBEAT, cluster_config: Self::CLUSTER_CONFIG }
    }
}

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// The configuration file says something else, and that can be used.
    Reconfigured,
    /// There is a connection, and the heartbeat could be listed on it.
    Connected,
    /// The heartbeat was written.
    Heartbeat,
    /// What the cluster says about itself, listed or changed; `None` when it says nothing (any more).
    ClusterConfig(Option<Result<ClusterConfig, ClusterConfigError>>),
    /// The ID that was asked for is ours now, or this cluster has it.
    Reserved(Option<ClusterName>),
    /// This kind of object is written completely.
    Canary(Resource),
    /// All objects of this kind were reported.
    Listed(Resource),
    /// Something that was ordered failed or broke, in words.
    Failed(String),
    /// Nothing but time went by.
    Tick,
}

/// Something to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make a connection, and list and watch the heartbeat on it.
    Connect,
    /// End everything that uses the connection.
    Disconnect,
    /// List and watch the cluster's configuration.
    ReadConfig,
    /// Take this ID for the cluster.
    Reserve(ClusterId),
    /// Give the ID back.
    Release,
    /// Watch the canaries.
    WatchCanaries,
    /// List this kind of object, report all that there is, then watch it.
    Follow(Resource),
    /// Take back everything that was reported, under the ID that is held.
    Drain,
    /// Take back the services that were reported.
    Revoke,
}

/// Why a remote cluster cannot be used just now. All of these are tried again. The words are Cilium's.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// What was ordered failed.
    #[error("{0}")]
    Failed(String),
    /// The cluster has not written its configuration.
    #[error("cluster configuration expected to be present but not found")]
    ConfigMissing,
    /// The cluster's configuration cannot be used.
    #[error("{}", with_causes(.0))]
    ConfigInvalid(#[from] ClusterConfigError),
    /// The cluster's configuration changed in a way that asks for a new start.
    #[error("cluster configuration changed")]
    ConfigChanged,
    /// Another remote cluster has the ID.
    #[error("clusterID {id} is already used by `{holder}`")]
    IdInUse {
        /// The ID.
        id: ClusterId,
        /// Who has it.
        holder: ClusterName,
    },
    /// The heartbeat stopped.
    #[error("quorum check failed: {0:?} since last heartbeat update has been received")]
    HeartbeatLost(Duration),
}

fn with_causes(error: &ClusterConfigError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[derive(Debug)]
enum Phase {
    /// Not connected; the next attempt is at this time.
    Waiting(Duration),
    Connecting,
    /// Until when there must be a configuration.
    Configuring(Duration),
    /// With a configuration that is valid.
    Reserving(ClusterConfig),
    Following(Following),
}

#[derive(Debug)]
struct Following {
    config: ClusterConfig,
    wanted: BTreeSet<Resource>,
    followed: BTreeSet<Resource>,
    listed: BTreeSet<Resource>,
}

/// The life of one remote cluster. Times are durations since any one moment.
#[derive(Debug)]
pub struct Lifecycle {
    config: LifecycleConfig,
    phase: Phase,
    heartbeat: Duration,
    /// The ID that is reserved for it.
    held: Option<ClusterId>,
    failures_in_row: u32,
    failures: u64,
    trouble: Option<Trouble>,
    /// Since when it is not ready.
    not_ready: Option<Duration>,
    revoked: bool,
    revocations: u64,
}

impl Lifecycle {
    /// A cluster whose configuration file was seen at `now`. The first [`Input::Tick`] begins to connect.
    pub fn new(config: LifecycleConfig, now: Duration) -> Self {
        Self {
            config,
            phase: Phase::Waiting(now),
            heartbeat: now,
            held: None,
            failures_in_row: 0,
            failures: 0,
            trouble: None,
            not_ready: Some(now),
            revoked: false,
            revocations: 0,
        }
    }

    /// Takes in what happened at `now`, and returns what is to be done about it.
    pub fn step(&mut self, now: Duration, input: Input) -> Vec<Action> {
        let mut actions = match input {
            Input::Reconfigured => self.reconfigured(),
            Input::Connected => self.connected(now),
            Input::Heartbeat => {
                self.heartbeat = now;
                Vec::new()
            }
            Input::ClusterConfig(None) => Vec::new(),
            Input::ClusterConfig(Some(Err(error))) => self.fail(now, error.into()),
            Input::ClusterConfig(Some(Ok(config))) => self.configured(now, config),
            Input::Reserved(holder) => self.reserved(now, holder),
            Input::Canary(resource) => self.follow(resource),
            Input::Listed(resource) => {
                self.listed(resource);
                Vec::new()
            }
            Input::Failed(text) => self.fail(now, Trouble::Failed(text)),
            Input::Tick => Vec::new(),
        };
        actions.extend(self.time_passes(now));
        actions
    }

    /// When [`Input::Tick`] has something to do, if nothing else happens before.
    pub fn deadline(&self) -> Option<Duration> {
        let phase = match &self.phase {
            Phase::Waiting(until) => Some(*until),
            Phase::Connecting => None,
            Phase::Configuring(until) => Some((*until).min(self.heartbeat_deadline())),
            Phase::Reserving(_) | Phase::Following(_) => Some(self.heartbeat_deadline()),
        };
        [phase, self.revocation()].into_iter().flatten().min()
    }

    /// Whether the cluster's kvstore answers.
    pub fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Configuring(_) | Phase::Reserving(_) | Phase::Following(_))
    }

    /// Whether everything that is read of it is known.
    pub fn is_ready(&self) -> bool {
        matches!(&self.phase, Phase::Following(following) if following.listed == following.wanted)
    }

    /// Whether its configuration was asked for on the present connection.
    pub fn asks_config(&self) -> bool {
        self.is_connected()
    }

    /// Its configuration, once it was accepted on the present connection.
    pub fn cluster_config(&self) -> Option<&ClusterConfig> {
        match &self.phase {
            Phase::Following(following) => Some(&following.config),
            _ => None,
        }
    }

    /// Where its objects lie, once that is known.
    pub fn layout(&self) -> Option<Layout> {
        self.cluster_config().map(|config| if config.capabilities.cached { Layout::Cache } else { Layout::State })
    }

    /// Whether all objects of a kind are known; `None` for a kind that is not read of it.
    pub fn is_listed(&self, resource: Resource) -> Option<bool> {
        match &self.phase {
            Phase::Following(following) if following.wanted.contains(&resource) => {
                Some(following.listed.contains(&resource))
            }
            Phase::Following(_) => None,
            _ => self.config.resources.contains(&resource).then_some(false),
        }
    }

    /// How often anything failed, since the beginning.
    pub fn failures(&self) -> u64 {
        self.failures
    }

    /// How often its services were dropped because it was not ready for too long.
    pub fn revocations(&self) -> u64 {
        self.revocations
    }

    /// Why it cannot be used just now, if it cannot.
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// How long the next attempt is away, while there is no connection.
    pub fn waits_until(&self) -> Option<Duration> {
        match self.phase {
            Phase::Waiting(until) => Some(until),
            _ => None,
        }
    }

    fn reconfigured(&mut self) -> Vec<Action> {
        self.failures_in_row = 0;
        let mut actions = Vec::new();
        if !matches!(self.phase, Phase::Waiting(_)) {
            actions.push(Action::Disconnect);
        }
        self.phase = Phase::Connecting;
        actions.push(Action::Connect);
        actions
    }

    fn connected(&mut self, now: Duration) -> Vec<Action> {
        if !matches!(self.phase, Phase::Connecting) {
            return Vec::new();
        }
        self.phase = Phase::Configuring(now + self.config.patience.cluster_config);
        self.heartbeat = now;
        self.trouble = None;
        vec![Action::ReadConfig]
    }

    fn configured(&mut self, now: Duration, config: ClusterConfig) -> Vec<Action> {
        match &self.phase {
            Phase::Configuring(_) => {}
            Phase::Following(following) if following.config != config => {
                return self.fail(now, Trouble::ConfigChanged);
            }
            Phase::Reserving(known) if *known != config => return self.fail(now, Trouble::ConfigChanged),
            _ => return Vec::new(),
        }
        match config.validate(self.config.cluster_id, self.config.limit) {
            Err(ClusterConfigError::IdIsLocal { .. }) if planted(Defect::DuplicateClusterIdAccepted) => {}
            Err(error) => return self.fail(now, error.into()),
            Ok(()) => {}
        }
        let id = config.id;
        let mut actions = Vec::new();
        match self.held {
            Some(held) if held == id => return self.begin(config),
            // It is another cluster now: nothing of what the old one said is true of it.
            Some(_) => actions.extend([Action::Drain, Action::Release]),
            None => {}
        }
        self.held = None;
        self.phase = Phase::Reserving(config);
        actions.push(Action::Reserve(id));
        actions
    }

    fn reserved(&mut self, now: Duration, holder: Option<ClusterName>) -> Vec<Action> {
        let Phase::Reserving(config) = &self.phase else { return Vec::new() };
        let config = config.clone();
        match holder {
            Some(holder) => self.fail(now, Trouble::IdInUse { id: config.id, holder }),
            None => {
                self.held = Some(config.id);
                self.begin(config)
            }
        }
    }

    /// The configuration is accepted: objects are read, at once or when their canaries are there.
    fn begin(&mut self, config: ClusterConfig) -> Vec<Action> {
        let wanted = self.wanted(&config.capabilities);
        let gated = config.capabilities.synced_canaries && !planted(Defect::CanaryIgnored);
        let at_once = if gated { BTreeSet::new() } else { wanted.clone() };
        let mut actions: Vec<Action> = at_once.iter().copied().map(Action::Follow).collect();
        if gated {
            actions.push(Action::WatchCanaries);
        }
        self.phase = Phase::Following(Following { config, wanted, followed: at_once, listed: BTreeSet::new() });
        actions
    }

    /// What is read of a cluster with these capabilities.
    fn wanted(&self, capabilities: &Capabilities) -> BTreeSet<Resource> {
        let mut wanted = self.config.resources.clone();
        if capabilities.service_exports_enabled.is_none() {
            // The cluster has never heard of them, so there will be no canary either.
            wanted.remove(&Resource::ServiceExports);
        }
        if wanted.is_superset(&[Resource::Services, Resource::EndpointSlices].into()) {
            let read = self.read_formats(&capabilities.endpoint_slices_export_mode);
            wanted.retain(|resource| {
                !matches!(resource, Resource::Services | Resource::EndpointSlices) || read.contains(resource)
            });
        }
        wanted
    }

    /// The formats of services that are read of a cluster that exports these.
    fn read_formats(&self, exports: &EndpointSlicesExportMode) -> &'static [Resource] {
        const SERVICES: &[Resource] = &[Resource::Services];
        const SLICES: &[Resource] = &[Resource::EndpointSlices];
        const BOTH: &[Resource] = &[Resource::Services, Resource::EndpointSlices];
        let Some(setting) = self.config.service_v2 else {
            return match exports {
                EndpointSlicesExportMode::ServicesOnly => SERVICES,
                EndpointSlicesExportMode::EndpointSlicesOnly => SLICES,
                EndpointSlicesExportMode::ServicesAndEndpointSlices | EndpointSlicesExportMode::Other(_) => BOTH,
            };
        };
        match setting.reads(exports) {
            Some(ServiceFormat::Services) => SERVICES,
            Some(ServiceFormat::EndpointSlices) => SLICES,
            None => {
                tracing::error!(
                    ?setting,
                    "remote cluster exports no endpoint slices, none of its backends will be used"
                );
                &[]
            }
        }
    }

    fn follow(&mut self, resource: Resource) -> Vec<Action> {
        let Phase::Following(following) = &mut self.phase else { return Vec::new() };
        let begins = following.wanted.contains(&resource) && following.followed.insert(resource);
        begins.then_some(Action::Follow(resource)).into_iter().collect()
    }

    fn listed(&mut self, resource: Resource) {
        if let Phase::Following(following) = &mut self.phase
            && following.followed.contains(&resource)
        {
            following.listed.insert(resource);
        }
        if self.is_ready() {
            self.failures_in_row = 0;
            self.not_ready = None;
            self.revoked = false;
        }
    }

    fn fail(&mut self, now: Duration, trouble: Trouble) -> Vec<Action> {
        let connected = !matches!(self.phase, Phase::Waiting(_));
        let mut actions: Vec<Action> = connected.then_some(Action::Disconnect).into_iter().collect();
        let forgotten = planted(Defect::DeadClusterForgotten) && self.waited() >= FORGOTTEN_AFTER;
        if planted(Defect::RemoteRemovedTooEarly) || forgotten {
            actions.push(Action::Drain);
        }
        self.phase = Phase::Waiting(now + wait(self.failures_in_row));
        self.failures_in_row = self.failures_in_row.saturating_add(1);
        self.failures += 1;
        self.trouble = Some(trouble);
        self.not_ready.get_or_insert(now);
        actions
    }

    /// The sum of all waits since the first failure in a row.
    fn waited(&self) -> Duration {
        (0..self.failures_in_row).map(wait).sum()
    }

    fn time_passes(&mut self, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        match &self.phase {
            Phase::Waiting(until) if *until <= now => {
                self.phase = Phase::Connecting;
                actions.push(Action::Connect);
            }
            Phase::Configuring(until) if *until <= now => actions.extend(self.fail(now, Trouble::ConfigMissing)),
            Phase::Configuring(_) | Phase::Reserving(_) | Phase::Following(_) if self.heartbeat_deadline() <= now => {
                let since = now.saturating_sub(self.heartbeat);
                actions.extend(self.fail(now, Trouble::HeartbeatLost(since)));
            }
            _ => {}
        }
        if self.revocation().is_some_and(|at| at <= now) {
            self.revoked = true;
            self.revocations += 1;
            actions.push(Action::Revoke);
        }
        actions
    }

    fn heartbeat_deadline(&self) -> Duration {
        self.heartbeat + self.config.patience.heartbeat
    }

    /// When the services are dropped if the cluster does not become ready before. Those that were listed on the present
    /// connection are no memories: they stay, whatever else is not known yet.
    fn revocation(&self) -> Option<Duration> {
        let (since, ttl) = (self.not_ready?, self.config.cache_ttl?);
        let current =
            [Resource::Services, Resource::EndpointSlices].into_iter().any(|r| self.is_listed(r) == Some(true));
        (!self.revoked && !current).then_some(since + ttl)
    }
}

/// The wait after so many failures before.
fn wait(failures: u32) -> Duration {
    WAIT_FIRST.saturating_mul(2_u32.saturating_pow(failures)).min(WAIT_MAX)
}
