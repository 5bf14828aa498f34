//! The controllers: what makes pods of deployments, nodes of pods, and endpoint slices of ready pods.
//!
//! They are level-driven (each task looks at the state as it is, not at what changed) and run right after the change
//! that concerns them, until nothing is left to do. A task writes only what differs, so the chain ends.

mod definition;
mod deployment;
mod disruption;
mod endpoint_slices;
mod endpoints;
mod eviction;
mod garbage;
mod membership;
mod namespace;
mod node_lifecycle;
mod record;
mod replica_set;
mod rollout;
mod scheduler;
mod taints;
mod timers;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::node_lifecycle::NodeLifecycle;
use self::timers::{Timer, Timers};
use crate::json;
use crate::kinds::{Kind, pod_is_ready};
use crate::registry;
use crate::store::{Actor, Change, LabelSelector, Name, Object, State};

/// Tasks that one request may lead to. Five thousand pods of a deployment make about six tasks each; a chain that is
/// longer goes on with the next request, and is a bug to be told of.
const TASKS_MAX: usize = 100_000;

/// Something to be put in order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    /// The endpoint slices of a service.
    EndpointSlices(Name),
    /// The endpoints of a service.
    Endpoints(Name),
    /// Where a pod runs.
    Schedule(Name),
    /// The pods of a replica set.
    ReplicaSet(Name),
    /// The replica sets of a deployment.
    Deployment(Name),
    /// What an owner left behind: its UID.
    Collect(String),
    /// A namespace that is new or going.
    Namespace(String),
    /// The pods of a node that is gone.
    NodeGone(String),
    /// The taints of a node.
    Taint(String),
    /// The readiness of the pods of a node that is no longer ready.
    UnreadyPods(String),
    /// The pods of a node that its taints drive away.
    EvictFrom(String),
    /// A pod that its node's taints drive away.
    Evict(Name),
    /// The kind that a client defined.
    Definition(String),
    /// What a disruption budget allows.
    DisruptionBudget(Name),
}

/// The controllers of one cluster and what they have to do.
#[derive(Debug)]
pub(crate) struct Controllers {
    node_lifecycle: NodeLifecycle,
    timers: Timers,
    /// Definitions that were deleted, in their last state: their objects go, too.
    gone_definitions: Vec<Arc<Object>>,
    queue: VecDeque<Task>,
    queued: BTreeSet<Task>,
}

impl Controllers {
    /// Controllers that bear `grace` of silence from nodes with leases.
    pub(crate) fn new(grace: Duration) -> Self {
        Self {
            node_lifecycle: NodeLifecycle::new(grace),
            timers: Timers::default(),
            gone_definitions: Vec::new(),
            queue: VecDeque::new(),
            queued: BTreeSet::new(),
        }
    }

    /// When time alone gives them something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Does what time alone asks for.
    pub(crate) fn on_time(&mut self, state: &mut State, now: Instant) {
        state.actor = Actor::Controller;
        while let Some((due, timer)) = self.timers.take_due(now) {
            match timer {
                Timer::Silence(node) => self.node_lifecycle.silent(state, &node, &mut self.timers, due, now),
                Timer::Eviction(pod, uid) => eviction::due(state, &pod, &uid),
            }
        }
        state.actor = Actor::Client;
    }

    /// Looks at everything as if it had just come to be: after a restart, when nothing is known of the past.
    pub(crate) fn resume(&mut self, state: &State, now: Instant) {
        for kind in state.kinds() {
            for object in state.list(kind, None) {
                let change = Change::new((state.revision(), kind, Actor::Client), None, object.clone(), false);
                self.dispatch(&change, state, now);
            }
        }
    }

    /// Reacts to all changes since the last time, and to those that the reactions make.
    pub(crate) fn react(&mut self, state: &mut State, now: Instant) {
        state.actor = Actor::Controller;
        for _ in 0..TASKS_MAX {
            while let Some(change) = state.next_unseen() {
                self.dispatch(&change, state, now);
            }
            while let Some(definition) = self.gone_definitions.pop() {
                definition::gone(state, &definition);
            }
            let Some(task) = self.queue.pop_front() else {
                if state.has_unseen() {
                    continue;
                }
                break;
            };
            self.queued.remove(&task);
            self.run(state, task, now);
        }
        if !self.queue.is_empty() {
            tracing::error!(tasks = self.queue.len(), "controllers do not come to rest");
        }
        state.actor = Actor::Client;
    }

    fn enqueue(&mut self, task: Task) {
        if self.queued.insert(task.clone()) {
            self.queue.push_back(task);
        }
    }

    fn dispatch(&mut self, change: &Change, state: &State, now: Instant) {
        let object = &change.object;
        let name = Name::new(object.namespace(), object.name());
        match change.kind {
            Kind::Pod => self.pod_changed(change, name.clone(), state),
            Kind::Service => self.service_changed(name.clone()),
            // Its own writes need no second look.
            Kind::EndpointSlice if change.actor == Actor::Client => {
                let service = endpoint_slices::service_of(object).to_owned();
                self.enqueue(Task::EndpointSlices(Name::new(object.namespace(), service)));
            }
            Kind::ReplicaSet => {
                if concerns_controller(change) {
                    self.enqueue(Task::ReplicaSet(name.clone()));
                }
                self.enqueue_controller(object, "Deployment", Task::Deployment);
            }
            Kind::Deployment if concerns_controller(change) => {
                self.enqueue(Task::Deployment(name.clone()));
                for budget in state.list(Kind::PodDisruptionBudget, Some(&name.namespace)) {
                    self.enqueue(Task::DisruptionBudget(Name::new(budget.namespace(), budget.name())));
                }
            }
            Kind::Node => self.node_changed(change, state, now),
            Kind::Lease => self.node_lifecycle.lease_changed(change, &mut self.timers, now),
            Kind::PodDisruptionBudget if change.actor == Actor::Client => {
                self.enqueue(Task::DisruptionBudget(name.clone()));
            }
            Kind::CustomResourceDefinition if change.deleted => self.gone_definitions.push(object.clone()),
            Kind::CustomResourceDefinition => self.enqueue(Task::Definition(object.name().to_owned())),
            Kind::Namespace => self.enqueue(Task::Namespace(object.name().to_owned())),
            _ => {}
        }
        if change.deleted {
            self.enqueue(Task::Collect(object.uid().to_owned()));
            if !name.namespace.is_empty() {
                self.enqueue(Task::Namespace(name.namespace));
            }
        }
    }

    fn service_changed(&mut self, name: Name) {
        self.enqueue(Task::EndpointSlices(name.clone()));
        self.enqueue(Task::Endpoints(name));
    }

    fn pod_changed(&mut self, change: &Change, name: Name, state: &State) {
        let pod = &change.object;
        let previous = change.previous.as_deref();
        if change.deleted || previous.is_none_or(|previous| concerns_services(previous, pod)) {
            let services: Vec<Name> = state
                .list(Kind::Service, Some(pod.namespace()))
                .filter(|service| {
                    let selector = LabelSelector::from_map(json::map(service.value(), "/spec/selector"));
                    !selector.is_empty()
                        && [previous, Some(pod)].into_iter().flatten().any(|pod| selector.matches(pod.value()))
                })
                .map(|service| Name::new(service.namespace(), service.name()))
                .collect();
            // All slices first: they are what the mesh waits for.
            services.iter().cloned().for_each(|service| self.enqueue(Task::EndpointSlices(service)));
            services.into_iter().for_each(|service| self.enqueue(Task::Endpoints(service)));
        }
        let budgets = [previous, Some(pod)].into_iter().flatten().flat_map(|pod| registry::budgets_of(state, pod));
        budgets.for_each(|budget| {
            self.enqueue(Task::DisruptionBudget(Name::new(budget.namespace(), budget.name())));
        });
        if change.deleted {
            self.timers.cancel(&Timer::Eviction(name, pod.uid().to_owned()));
        } else if json::text(pod.value(), "/spec/nodeName").is_empty() {
            self.enqueue(Task::Schedule(name));
        } else if eviction::concerns(state, pod) {
            self.enqueue(Task::Evict(name));
        }
        self.enqueue_controller(pod, "ReplicaSet", Task::ReplicaSet);
    }

    fn node_changed(&mut self, change: &Change, state: &State, now: Instant) {
        let node = &change.object;
        self.node_lifecycle.node_changed(change, state, &mut self.timers, now);
        if change.deleted {
            self.enqueue(Task::NodeGone(node.name().to_owned()));
            return;
        }
        if self.node_lifecycle.watches(node.name()) {
            if node_lifecycle::ceased_to_be_ready(change) {
                self.enqueue(Task::UnreadyPods(node.name().to_owned()));
            }
            self.enqueue(Task::Taint(node.name().to_owned()));
        }
        let taints = |node: &Object| json::get(node.value(), "/spec/taints").cloned();
        if change.previous.as_deref().is_none_or(|before| taints(before) != taints(node)) {
            self.enqueue(Task::EvictFrom(node.name().to_owned()));
        }
        for pod in state.list(Kind::Pod, None) {
            if json::text(pod.value(), "/spec/nodeName").is_empty() {
                self.enqueue(Task::Schedule(Name::new(pod.namespace(), pod.name())));
            }
        }
        let zone = |node: &Object| endpoint_slices::zone(node).map(str::to_owned);
        if change.previous.as_deref().is_some_and(|previous| zone(previous) != zone(node)) {
            for service in state.list(Kind::Service, None) {
                self.enqueue(Task::EndpointSlices(Name::new(service.namespace(), service.name())));
            }
        }
    }

    fn run(&mut self, state: &mut State, task: Task, now: Instant) {
        match task {
            Task::EndpointSlices(service) => endpoint_slices::reconcile(state, &service),
            Task::Endpoints(service) => endpoints::reconcile(state, &service),
            Task::Schedule(pod) => scheduler::reconcile(state, &pod),
            Task::ReplicaSet(set) => replica_set::reconcile(state, &set),
            Task::Deployment(deployment) => deployment::reconcile(state, &deployment),
            Task::Collect(uid) => garbage::collect(state, &uid),
            Task::Namespace(name) => namespace::reconcile(state, &name),
            Task::NodeGone(name) => garbage::node_gone(state, &name),
            Task::Taint(node) => node_lifecycle::taint(state, &node),
            Task::UnreadyPods(node) => node_lifecycle::unready_pods(state, &node),
            Task::EvictFrom(node) => eviction::reconcile_node(state, &node, &mut self.timers, now),
            Task::Evict(pod) => eviction::reconcile(state, &pod, &mut self.timers, now),
            Task::Definition(name) => definition::reconcile(state, &name),
            Task::DisruptionBudget(budget) => disruption::reconcile(state, &budget),
        }
    }

    fn enqueue_controller(&mut self, object: &Object, kind: &str, task: fn(Name) -> Task) {
        if let Some((found, name, _)) = object.controller()
            && found == kind
        {
            self.enqueue(task(Name::new(object.namespace(), name)));
        }
    }
}

/// Whether a workload differs in anything but the status that its own controller has just written.
fn concerns_controller(change: &Change) -> bool {
    let spec = |object: &Object| json::number(object.value(), "/metadata/generation");
    let same = |previous: &Object| spec(previous) == spec(&change.object);
    change.actor == Actor::Client || change.deleted || !change.previous.as_deref().is_some_and(same)
}

/// Whether a pod differs in what endpoints are made of.
fn concerns_services(before: &Object, after: &Object) -> bool {
    let (one, other) = (before.value(), after.value());
    let fields =
        ["/metadata/labels", "/status/podIP", "/status/phase", "/spec/nodeName", "/metadata/deletionTimestamp"];
    pod_is_ready(one) != pod_is_ready(other)
        || fields.iter().any(|field| json::get(one, field) != json::get(other, field))
}
