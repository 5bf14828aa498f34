//! The oracle: facts in, who may answer out.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
    time::Duration,
};

use mesh_types::{ClusterName, FrontendAddress, Protocol, ServiceKey};
use meshbed_events::Micros;
use serde_json::Value;

use crate::{
    AllowedBackend, Asked, Cut, CutId, FrontendChoice, Judgement, KvTruth, MapTruth, ObjectError,
    facts::{self, ServiceFacts, SliceFacts},
    history::Timeline,
    judge::{self, Excuse, Moment},
    knowledge::{Cuts, Knowledge, Observer, Reading, Trouble, later},
    kvstore,
    past::Past,
    service_history::{ClusterHistory, ServiceHistory},
    truth,
    worlds::worlds,
};

/// Changes that the oracle remembers over all services. A run of minutes has hundreds; at about 1 KiB each this many
/// stay below the memory of a small machine. When it is full, every judgement is [`Judgement::Wrong`] and says so.
pub const HISTORY_MAX: usize = 200_000;

/// How much later than the agents the harness may learn of a change: both watch the same API server, and the harness's
/// watch can be the slower one. A backend that becomes allowed within this time after an answer counts as allowed. On a
/// busy machine it may be more; whoever judges says until when he had to wait ([`Oracle::judge`]).
pub const OBSERVATION_LAG: Duration = Duration::from_millis(250);

/// How long after a cut was mended answers may still rest on what was known under it, when the node is not
/// reported right before: an agent's longest pause between two tries to connect, and a full list.
pub const RECONVERGENCE_MAX: Duration = Duration::from_secs(10);

/// Answers that are remembered for one service until it changes. A mesh needs one for each cluster, and one more for
/// each cluster and cut in force; judging looks at a few moments of each.
const REMEMBERED_MAX: usize = 1024;

/// Pods whose processes cannot answer, by cluster and address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Pods {
    dead: BTreeSet<(ClusterName, Ipv4Addr)>,
    hung: BTreeSet<(ClusterName, Ipv4Addr)>,
}

/// What is right behind each frontend of one service.
type ServiceTruth = Arc<BTreeMap<FrontendAddress, Arc<FrontendChoice>>>;

/// What a [`ServiceTruth`] follows from, besides the history of its service: who looks, at which change, with what
/// knowledge of clusters whose newest news may be missing.
type Question = (ClusterName, usize, Vec<(ClusterName, Knowledge)>);

/// Knows from the objects of all clusters and the faults in force who may answer whom, and when.
#[derive(Debug)]
pub struct Oracle {
    topology: BTreeMap<ClusterName, Vec<String>>,
    cluster_ids: BTreeMap<ClusterName, u16>,
    grace: Duration,
    services: BTreeMap<ServiceKey, ServiceHistory>,
    pods: Timeline<Pods>,
    cuts: Cuts,
    /// The service that each known slice belongs to, by cluster, namespace and name.
    slices: BTreeMap<(ClusterName, ServiceKey), ServiceKey>,
    changes: usize,
    /// By the cluster of the nodes that look.
    pasts: BTreeMap<ClusterName, Arc<Past>>,
    /// The newest time that was told.
    now: Micros,
    remembered: RefCell<BTreeMap<ServiceKey, BTreeMap<Question, ServiceTruth>>>,
}

impl Oracle {
    /// An oracle for a mesh of clusters with these nodes. It knows of no object yet and looks back `grace` before each
    /// request.
    pub fn new(topology: impl IntoIterator<Item = (ClusterName, Vec<String>)>, grace: Duration) -> Self {
        Self {
            topology: topology.into_iter().collect(),
            cluster_ids: BTreeMap::new(),
            grace,
            services: BTreeMap::new(),
            pods: Timeline::default(),
            cuts: Cuts::new(OBSERVATION_LAG, RECONVERGENCE_MAX),
            slices: BTreeMap::new(),
            changes: 0,
            pasts: BTreeMap::new(),
            now: Micros(0),
            remembered: RefCell::default(),
        }
    }

    /// Another observation lag than [`OBSERVATION_LAG`].
    pub fn with_observation_lag(mut self, lag: Duration) -> Self {
        self.cuts.lag = lag;
        self
    }

    /// Another tolerance after a cut than [`RECONVERGENCE_MAX`].
    pub fn with_reconvergence_max(mut self, tolerance: Duration) -> Self {
        self.cuts.reconvergence_max = tolerance;
        self
    }

    /// The ID that `cluster` must export. Without it, any one ID is right as long as all its keys agree.
    pub fn with_cluster_id(mut self, cluster: ClusterName, id: u16) -> Self {
        self.cluster_ids.insert(cluster, id);
        self
    }

    // ---- facts ----

    /// A Service of `cluster` was seen (`deleted`: for the last time). Times of one object must not go back.
    pub fn service(
        &mut self,
        at: Micros,
        cluster: &ClusterName,
        object: &Value,
        deleted: bool,
    ) -> Result<(), ObjectError> {
        let key = facts::key(object)?;
        let facts = if deleted { None } else { Some(Arc::new(ServiceFacts::read(object)?)) };
        self.change(at, key, cluster, |history| history.service.change(at, |service| *service = facts));
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
        let facts = if deleted { None } else { Some(Arc::new(SliceFacts::read(object)?)) };
        let place = (cluster.clone(), key.clone());
        let owner_before = match &owner {
            Some(owner) => self.slices.insert(place, owner.clone()),
            None => self.slices.remove(&place),
        };
        let set = |history: &mut ClusterHistory, facts: Option<Arc<SliceFacts>>| {
            history.slices.entry(key.name.clone()).or_default().change(at, |slice| *slice = facts)
        };
        if let Some(before) = owner_before.filter(|before| Some(before) != owner.as_ref()) {
            self.change(at, before, cluster, |history| set(history, None));
        }
        if let Some(owner) = owner {
            self.change(at, owner, cluster, |history| set(history, facts));
        }
        Ok(())
    }

    /// The process behind the pod address `ip` is known to be dead, although the API may still list it. `at` is just
    /// before it was killed.
    pub fn pod_dead(&mut self, at: Micros, cluster: &ClusterName, ip: Ipv4Addr) {
        self.change_pods(at, |pods| pods.dead.insert((cluster.clone(), ip)));
    }

    /// The pod address `ip` has a living process (again).
    pub fn pod_alive(&mut self, at: Micros, cluster: &ClusterName, ip: Ipv4Addr) {
        self.change_pods(at, |pods| pods.dead.remove(&(cluster.clone(), ip)));
    }

    /// The process behind the pod address `ip` is stopped, not dead: it takes connections and never answers.
    pub fn pod_hung(&mut self, at: Micros, cluster: &ClusterName, ip: Ipv4Addr) {
        self.change_pods(at, |pods| pods.hung.insert((cluster.clone(), ip)));
    }

    /// The process behind the pod address `ip` runs again.
    pub fn pod_woken(&mut self, at: Micros, cluster: &ClusterName, ip: Ipv4Addr) {
        self.change_pods(at, |pods| pods.hung.remove(&(cluster.clone(), ip)));
    }

    /// Something is about to be taken away.
    pub fn cut(&mut self, at: Micros, cut: Cut) -> CutId {
        self.tell(at);
        self.changes += 1;
        self.cuts.cut(at, cut)
    }

    /// The cut is whole again. The truth is strict from now on; answers may rest on what was known before until
    /// [`Self::node_right`], and for [`RECONVERGENCE_MAX`] at most. Mending twice changes nothing.
    pub fn mend(&mut self, at: Micros, id: CutId) {
        self.tell(at);
        self.cuts.mend(at, id);
    }

    /// The node's maps were seen to be what [`Self::truth`] says. That ends the tolerance after cuts that are mended.
    pub fn node_right(&mut self, at: Micros, cluster: &ClusterName, node: &str) {
        self.tell(at);
        self.cuts.node_right(at, cluster, node);
    }

    /// Whether [`HISTORY_MAX`] was reached: no judgement is possible any more.
    pub fn is_full(&self) -> bool {
        self.changes >= HISTORY_MAX
    }

    // ---- answers ----

    /// Who may answer clients of `cluster` that ask TCP port `port` of `service` at the instant `at`, as the API
    /// objects say, whatever is cut. Backends that are listed and dead are among them.
    pub fn allowed(
        &self,
        at: Micros,
        cluster: &ClusterName,
        service: &ServiceKey,
        port: u16,
    ) -> BTreeSet<AllowedBackend> {
        let Some(history) = self.services.get(service) else { return BTreeSet::new() };
        let view = history.view(at);
        let frontends = truth::frontends(&view, cluster).into_iter();
        let asked = frontends.filter(|(address, _)| address.port == port && address.protocol == Protocol::Tcp);
        asked.flat_map(|(_, selection)| selection.active).collect()
    }

    /// Who may answer clients on `node` of `cluster` at the instant `at`, as far as that node can know: like
    /// [`Self::allowed`], in every world that the cuts make possible.
    pub fn possible(
        &self,
        at: Micros,
        cluster: &ClusterName,
        node: &str,
        service: &ServiceKey,
        port: u16,
    ) -> BTreeSet<AllowedBackend> {
        let truth = self.service_truth(service, (cluster, node), at, Reading::Judgement);
        behind(&truth, port).flat_map(|choice| choice.acceptable.allowed().into_keys()).collect()
    }

    /// From when on everything that matters to [`Self::judge`] has been told: the end of the request plus the
    /// observation lag. Judging earlier can call an answer wrong whose permission is still on its way.
    pub fn judgeable_from(&self, asked: &Asked) -> Micros {
        later(asked.done, self.cuts.lag)
    }

    /// Judges one request by everything that was true at some moment from `grace` before it was sent (before its
    /// connection was opened) until the observation lag after it was done, or until `heard`: when the harness was certain
    /// to have heard of all that was true when the request was done, which is later on a machine that does not keep up.
    pub fn judge(&self, asked: &Asked, heard: Micros) -> Judgement {
        if self.is_full() {
            return Judgement::Wrong { message: format!("the oracle's history is full ({HISTORY_MAX} changes)") };
        }
        let start = asked.opened.unwrap_or(asked.sent).min(asked.sent).back(self.grace);
        let end = self.judgeable_from(asked).max(heard);
        let moments: Vec<Moment> = self.times(asked, start, end).into_iter().map(|at| self.moment(asked, at)).collect();
        judge::judge(asked, start, &moments)
    }

    /// What the maps of a node must hold at the newest time that was told.
    pub fn truth(&self, cluster: &ClusterName, node: &str) -> MapTruth {
        self.truth_at(self.now, cluster, node)
    }

    /// What the maps of a node must hold at `at`. Later than the newest fact it says what will be right if nothing
    /// happens until then: knowledge may have to be gone by then ([`Self::truth_changes_after`]).
    pub fn truth_at(&self, at: Micros, cluster: &ClusterName, node: &str) -> MapTruth {
        if self.cuts.maps_are_unknown(at, cluster, node, Reading::Truth) {
            return MapTruth { unknown: true, ..MapTruth::default() };
        }
        let past = self.pasts.get(cluster).cloned().unwrap_or_default();
        let mut truth = MapTruth { past, ..MapTruth::default() };
        for service in self.services.keys() {
            truth.add(&self.service_truth(service, (cluster, node), at, Reading::Truth));
        }
        truth
    }

    /// The next time after `at` at which a truth changes by itself, because of what a cut said about the future.
    pub fn truth_changes_after(&self, at: Micros) -> Option<Micros> {
        self.cuts.announced().filter(|time| *time > at).min()
    }

    /// What the etcd of `cluster` must hold at the newest time that was told.
    pub fn kvstore(&self, cluster: &ClusterName) -> KvTruth {
        self.kvstore_at(self.now, cluster)
    }

    /// What the etcd of `cluster` must hold at `at`.
    pub fn kvstore_at(&self, at: Micros, cluster: &ClusterName) -> KvTruth {
        let knowledge = self.cuts.knowledge(Observer::Kvstore, cluster, at, Reading::Truth);
        let id = self.cluster_ids.get(cluster).copied();
        kvstore::truth(cluster, id, &self.services, at, knowledge)
    }

    // ---- inside ----

    /// What is right for one service at a node, from memory when nothing has changed since.
    fn service_truth(
        &self,
        key: &ServiceKey,
        (cluster, node): (&ClusterName, &str),
        at: Micros,
        reading: Reading,
    ) -> ServiceTruth {
        let Some(history) = self.services.get(key) else { return ServiceTruth::default() };
        let observer = Observer::Node(cluster, node);
        let knowledge = |about: &ClusterName| self.cuts.knowledge(observer, about, at, reading);
        let open = history.clusters.keys().map(|about| (about, knowledge(about)));
        let open = open.filter(|(_, knowledge)| *knowledge != Knowledge::Newest);
        let open = open.map(|(about, knowledge)| (about.clone(), knowledge)).collect();
        let question: Question = (cluster.clone(), history.changes_until(at), open);
        let mut remembered = self.remembered.borrow_mut();
        let answers = remembered.entry(key.clone()).or_default();
        if let Some(known) = answers.get(&question) {
            return Arc::clone(known);
        }
        let found = Arc::new(truth::choices(key, cluster, &worlds(history, cluster, at, knowledge)));
        if answers.len() >= REMEMBERED_MAX {
            answers.clear();
        }
        answers.insert(question, Arc::clone(&found));
        found
    }

    /// The start, and every time up to the end at which something changed that matters for the request.
    fn times(&self, asked: &Asked, start: Micros, end: Micros) -> BTreeSet<Micros> {
        let mut times = BTreeSet::from([start]);
        if let Some(service) = self.services.get(&asked.service) {
            times.extend(service.times(start, end));
        }
        times.extend(self.pods.times(start, end));
        times.extend(self.cuts.times(start, end));
        times
    }

    fn moment(&self, asked: &Asked, at: Micros) -> Moment {
        let truth = self.service_truth(&asked.service, (&asked.cluster, &asked.node), at, Reading::Judgement);
        let mut moment = Moment { may_be_empty: behind(&truth, asked.port).next().is_none(), ..Moment::default() };
        let mut nodes = BTreeMap::new();
        for choice in behind(&truth, asked.port) {
            moment.may_be_empty |= choice.may_be_absent || choice.acceptable.may_be_empty();
            nodes.extend(choice.acceptable.allowed());
        }
        if self.cuts.maps_are_unknown(at, &asked.cluster, &asked.node, Reading::Judgement) {
            moment.excuses.push(Excuse::MapsUnknown);
        }
        for (backend, node) in nodes {
            moment.excuses.extend(self.excuses(asked, at, &backend, node.as_deref()));
            moment.allowed.insert(backend);
        }
        moment
    }

    /// Why a request to `backend` may fail at `at`.
    fn excuses(&self, asked: &Asked, at: Micros, backend: &AllowedBackend, node: Option<&str>) -> Vec<Excuse> {
        let pods = self.pods.at(at);
        let place = (backend.cluster.clone(), backend.address.ip);
        let home = self.services.get(&asked.service).and_then(|history| history.clusters.get(&backend.cluster));
        let client = (&asked.cluster, asked.node.as_str());
        let trouble = self.cuts.trouble(at, client, (&backend.cluster, node));
        let reasons = [
            (pods.dead.contains(&place), Excuse::Dead as fn(AllowedBackend) -> Excuse),
            (home.is_none_or(|home| !home.lists(backend.address.ip, at)), Excuse::Gone),
            (trouble == Some(Trouble::Lost), Excuse::CutOff),
            (home.is_some_and(|home| home.terminates(backend.address.ip, at)), Excuse::Leaving),
            (pods.hung.contains(&place), Excuse::Hung),
            (trouble == Some(Trouble::Late), Excuse::Slow),
        ];
        reasons.into_iter().filter(|(holds, _)| *holds).map(|(_, excuse)| excuse(backend.clone())).collect()
    }

    fn change(
        &mut self,
        at: Micros,
        service: ServiceKey,
        cluster: &ClusterName,
        change: impl FnOnce(&mut ClusterHistory) -> bool,
    ) {
        assert!(self.topology.contains_key(cluster), "cluster `{cluster}` was not given to Oracle::new");
        self.tell(at);
        if !self.is_full() {
            self.remembered.get_mut().remove(&service);
            let history = self.services.entry(service).or_default();
            let grew = change(history.clusters.entry(cluster.clone()).or_default());
            self.changes += usize::from(grew);
            let view = history.view(self.now);
            for cluster in self.topology.keys() {
                Arc::make_mut(self.pasts.entry(cluster.clone()).or_default()).note(&view, cluster);
            }
        }
    }

    fn change_pods(&mut self, at: Micros, change: impl FnOnce(&mut Pods) -> bool) {
        self.tell(at);
        if !self.is_full() {
            self.changes += usize::from(self.pods.change(at, |pods| {
                change(pods);
            }));
        }
    }

    fn tell(&mut self, at: Micros) {
        self.now = self.now.max(at);
    }
}

/// The frontends with TCP port `port`.
fn behind(truth: &BTreeMap<FrontendAddress, Arc<FrontendChoice>>, port: u16) -> impl Iterator<Item = &FrontendChoice> {
    let asked = truth.iter().filter(move |(address, _)| address.port == port && address.protocol == Protocol::Tcp);
    asked.map(|(_, choice)| &**choice)
}
