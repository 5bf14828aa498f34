//! The controllers: what makes pods of deployments, nodes of pods, and endpoint slices of ready pods.
//!
//! They are level-driven (each task looks at the state as it is, not at what changed) and run right after the change
//! that concerns them, until nothing is left to do. A task writes only what differs, so the chain ends.

mod deployment;
mod endpoint_slices;
mod endpoints;
mod garbage;
mod membership;
mod namespace;
mod record;
mod replica_set;
mod rollout;
mod scheduler;

use std::collections::{BTreeSet, VecDeque};

use crate::json;
use crate::kinds::{Kind, pod_is_ready};
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
}

/// The controllers of one cluster and what they have to do.
#[derive(Debug, Default)]
pub(crate) struct Controllers {
    queue: VecDeque<Task>,
    queued: BTreeSet<Task>,
}

impl Controllers {
    /// Reacts to all changes since the last time, and to those that the reactions make.
    pub(crate) fn react(&mut self, state: &mut State) {
        state.actor = Actor::Controller;
        for _ in 0..TASKS_MAX {
            while let Some(change) = state.next_unseen() {
                self.dispatch(&change, state);
            }
            let Some(task) = self.queue.pop_front() else { break };
            self.queued.remove(&task);
            run(state, task);
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

    fn dispatch(&mut self, change: &Change, state: &State) {
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
            Kind::Deployment if concerns_controller(change) => self.enqueue(Task::Deployment(name.clone())),
            Kind::Node => self.node_changed(change, state),
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
        if !change.deleted && json::text(pod.value(), "/spec/nodeName").is_empty() {
            self.enqueue(Task::Schedule(name));
        }
        self.enqueue_controller(pod, "ReplicaSet", Task::ReplicaSet);
    }

    fn node_changed(&mut self, change: &Change, state: &State) {
        let node = &change.object;
        if change.deleted {
            self.enqueue(Task::NodeGone(node.name().to_owned()));
            return;
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

fn run(state: &mut State, task: Task) {
    match task {
        Task::EndpointSlices(service) => endpoint_slices::reconcile(state, &service),
        Task::Endpoints(service) => endpoints::reconcile(state, &service),
        Task::Schedule(pod) => scheduler::reconcile(state, &pod),
        Task::ReplicaSet(set) => replica_set::reconcile(state, &set),
        Task::Deployment(deployment) => deployment::reconcile(state, &deployment),
        Task::Collect(uid) => garbage::collect(state, &uid),
        Task::Namespace(name) => namespace::reconcile(state, &name),
        Task::NodeGone(name) => garbage::node_gone(state, &name),
    }
}
