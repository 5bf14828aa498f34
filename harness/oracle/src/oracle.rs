//! The oracle: facts in, who may answer out.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
    time::Duration,
};

use mesh_types::{ClusterName, FrontendAddress, Protocol, Scope, ServiceKey};
use meshbed_events::Micros;
use serde_json::Value;

use crate::{
    AllowedBackend, Asked, FrontendTruth, Judgement, MapTruth, ObjectError,
    facts::{self, PortFacts, ServiceFacts, SliceFacts},
    history::Timeline,
    judge::{self, Moment},
    merge::{self, ClusterView, ServiceView},
};

/// Changes that the oracle remembers over all services. A run of minutes has hundreds; at about 1 KiB each this many
/// stay below the memory of a small machine. When it is full, every judgement is [`Judgement::Wrong`] and says so.
pub const HISTORY_MAX: usize = 200_000;

/// How much later than the agents the harness may learn of a change: both watch the same API server, and on a busy
/// machine the harness's watch can be the slower one. A backend that becomes allowed within this time after an
/// answer counts as allowed.
pub const OBSERVATION_LAG: Duration = Duration::from_millis(250);

/// Pods whose processes are known to be dead, by address.
pub(crate) type DeadPods = BTreeSet<(ClusterName, Ipv4Addr)>;

/// Knows from the objects of all clusters and the faults in force who may answer whom, and when.
#[derive(Debug)]
pub struct Oracle {
    clusters: BTreeSet<ClusterName>,
    grace: Duration,
    observation_lag: Duration,
    services: BTreeMap<ServiceKey, Timeline<ServiceView>>,
    dead: Timeline<DeadPods>,
    /// The service that each known slice belongs to, by cluster, namespace and name.
    slices: BTreeMap<(ClusterName, ServiceKey), ServiceKey>,
    changes: usize,
}

impl Oracle {
    /// An oracle for a mesh of `clusters` that knows of no object yet and looks back `grace` before each request.
    pub fn new(clusters: impl IntoIterator<Item = ClusterName>, grace: Duration) -> Self {
        Self {
            clusters: clusters.into_iter().collect(),
            grace,
            observation_lag: OBSERVATION_LAG,
            services: BTreeMap::new(),
            dead: Timeline::default(),
            slices: BTreeMap::new(),
            changes: 0,
        }
    }

    /// Another observation lag than [`OBSERVATION_LAG`].
    pub fn with_observation_lag(mut self, lag: Duration) -> Self {
        self.observation_lag = lag;
        self
    }

    /// A Service of `cluster` was seen (`deleted`: for the last time). Times of one service must not go back.
    pub fn service(
        &mut self,
        at: Micros,
        cluster: &ClusterName,
        object: &Value,
        deleted: bool,
    ) -> Result<(), ObjectError> {
        let key = facts::key(object)?;
        let facts = if deleted { None } else { Some(Arc::new(ServiceFacts::read(object)?)) };
        self.change(at, key, cluster, |view| view.service = facts);
        Ok(())
    }

    /// An EndpointSlice of `cluster` was seen (`deleted`: for the last time).
    pub fn slice(
        &mut self,
        at: Micros,
        cluster: &ClusterName,
        object: &Value,
        deleted: bool,
    ) -> Result<(), ObjectError> {
        let key = facts::key(object)?;
        let owner = if deleted { None } else { facts::owner(object)? };
        let facts = Arc::new(SliceFacts::read(object)?);
        let place = (cluster.clone(), key.clone());
        let owner_before = match &owner {
            Some(owner) => self.slices.insert(place, owner.clone()),
            None => self.slices.remove(&place),
        };
        if let Some(before) = owner_before.filter(|before| Some(before) != owner.as_ref()) {
            self.change(at, before, cluster, |view| {
                view.slices.remove(&key.name);
            });
        }
        if let Some(owner) = owner {
            self.change(at, owner, cluster, |view| {
                view.slices.insert(key.name.clone(), facts);
            });
        }
        Ok(())
    }

    /// The process behind the pod address `ip` is known to be dead, although the API may still list it. `at` is just
    /// before it was killed.
    pub fn pod_dead(&mut self, at: Micros, cluster: &ClusterName, ip: Ipv4Addr) {
        self.change_dead(at, |dead| {
            dead.insert((cluster.clone(), ip));
        });
    }

    /// The pod address `ip` has a living process (again).
    pub fn pod_alive(&mut self, at: Micros, cluster: &ClusterName, ip: Ipv4Addr) {
        self.change_dead(at, |dead| {
            dead.remove(&(cluster.clone(), ip));
        });
    }

    /// Whether [`HISTORY_MAX`] was reached: no judgement is possible any more.
    pub fn is_full(&self) -> bool {
        self.changes >= HISTORY_MAX
    }

    /// Who may answer clients of `cluster` that ask TCP port `port` of `service` at the instant `at`, as the API
    /// objects say. Backends that are listed and dead are among them.
    pub fn allowed(
        &self,
        at: Micros,
        cluster: &ClusterName,
        service: &ServiceKey,
        port: u16,
    ) -> BTreeSet<AllowedBackend> {
        self.services.get(service).map(|timeline| allowed(timeline.at(at), cluster, port)).unwrap_or_default()
    }

    /// From when on everything that matters to [`Self::judge`] has been told: the end of the request plus the
    /// observation lag. Judging earlier can call an answer wrong whose permission is still on its way.
    pub fn judgeable_from(&self, asked: &Asked) -> Micros {
        forward(asked.done, self.observation_lag)
    }

    /// Judges one request by everything that was true at some moment from `grace` before it was sent until the
    /// observation lag after it was done.
    pub fn judge(&self, asked: &Asked) -> Judgement {
        if self.is_full() {
            return Judgement::Wrong { message: format!("the oracle's history is full ({HISTORY_MAX} changes)") };
        }
        let start = asked.sent.back(self.grace);
        let end = self.judgeable_from(asked);
        judge::judge(asked, start, &self.moments(asked, start, end))
    }

    /// What the maps of every node of `cluster` must hold now.
    pub fn truth(&self, cluster: &ClusterName) -> MapTruth {
        let mut truth = MapTruth::default();
        for (key, timeline) in &self.services {
            let view = timeline.now();
            let Some(service) = view.get(cluster).and_then(|view| view.service.as_ref()) else { continue };
            let Some(ip) = service.cluster_ip else { continue };
            for port in &service.ports {
                let Some(selection) = merge::select(view, cluster, port) else { continue };
                let address =
                    FrontendAddress { ip, port: port.number, protocol: port.protocol, scope: Scope::External };
                let frontend = FrontendTruth::new(key.clone(), &selection);
                truth.frontends.insert(address, frontend);
            }
        }
        truth
    }

    /// What was allowed and who was dead at the start and after every change up to the end.
    fn moments(&self, asked: &Asked, start: Micros, end: Micros) -> Vec<Moment> {
        let nothing = Timeline::default();
        let service = self.services.get(&asked.service).unwrap_or(&nothing);
        let mut times: BTreeSet<Micros> = BTreeSet::from([start]);
        times.extend(service.times(start, end));
        times.extend(self.dead.times(start, end));
        let moment = |at: Micros| {
            let allowed = allowed(service.at(at), &asked.cluster, asked.port);
            let dead = self.dead.at(at);
            let is_dead = |backend: &&AllowedBackend| dead.contains(&(backend.cluster.clone(), backend.address.ip));
            Moment { dead: allowed.iter().filter(is_dead).cloned().collect(), allowed }
        };
        times.into_iter().map(moment).collect()
    }

    fn change(
        &mut self,
        at: Micros,
        service: ServiceKey,
        cluster: &ClusterName,
        change: impl FnOnce(&mut ClusterView),
    ) {
        assert!(self.clusters.contains(cluster), "cluster `{cluster}` was not given to Oracle::new");
        if !self.is_full() {
            let timeline = self.services.entry(service).or_default();
            let grew = timeline.change(at, |view| change(view.entry(cluster.clone()).or_default()));
            self.changes += usize::from(grew);
        }
    }

    fn change_dead(&mut self, at: Micros, change: impl FnOnce(&mut DeadPods)) {
        if !self.is_full() {
            self.changes += usize::from(self.dead.change(at, change));
        }
    }
}

/// Who may be chosen for TCP port `port` of the service: nobody when the cluster has no such frontend.
fn allowed(view: &ServiceView, cluster: &ClusterName, port: u16) -> BTreeSet<AllowedBackend> {
    let service = view.get(cluster).and_then(|view| view.service.as_deref());
    let frontend = service.filter(|service| service.cluster_ip.is_some()).and_then(|service| {
        service.ports.iter().find(|found: &&PortFacts| found.number == port && found.protocol == Protocol::Tcp)
    });
    let selection = frontend.and_then(|frontend| merge::select(view, cluster, frontend));
    selection.map(|selection| selection.active).unwrap_or_default()
}

fn forward(at: Micros, by: Duration) -> Micros {
    Micros(at.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
}
