//! The engine's own watches of every cluster's Kubernetes API.

use std::{collections::BTreeSet, time::Duration};

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Node, Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject},
    runtime::{
        utils::Backoff,
        watcher::{self, Event},
    },
};
use mesh_types::ClusterName;
use serde_json::Value;
use tokio::{sync::mpsc, task::JoinSet};

use crate::{kubernetes::Cluster, kubernetes::version_of};

/// Objects that may wait between the watches and the world. More would mean that the harness is far behind.
pub(crate) const QUEUE_MAX: usize = 4096;

/// The version of an object whose deletion nobody told: a new list no longer has it. No API counts from 0.
pub(crate) const VANISHED: u64 = 0;

/// Kinds that the engine watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Service,
    EndpointSlice,
    Pod,
    Deployment,
    Node,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [Self::Service, Self::EndpointSlice, Self::Pod, Self::Deployment, Self::Node];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Pod => "Pod",
            Self::Deployment => "Deployment",
            Self::Node => "Node",
        }
    }

    pub(crate) fn resource(self) -> ApiResource {
        match self {
            Self::Service => ApiResource::erase::<Service>(&()),
            Self::EndpointSlice => ApiResource::erase::<EndpointSlice>(&()),
            Self::Pod => ApiResource::erase::<Pod>(&()),
            Self::Deployment => ApiResource::erase::<Deployment>(&()),
            Self::Node => ApiResource::erase::<Node>(&()),
        }
    }
}

/// What a watch saw.
#[derive(Debug)]
pub(crate) enum Seen {
    /// An object as it is now, or as it was when it was deleted.
    Object { cluster: ClusterName, kind: Kind, name: String, version: u64, object: Value, deleted: bool },
    /// The first complete list of a kind was seen.
    Listed { cluster: ClusterName, kind: Kind },
}

/// Watches all kinds of a cluster until the set is dropped. Errors are retried by the watcher with its back-off.
pub(crate) fn watch(cluster: &Cluster, tasks: &mut JoinSet<()>, to: &mpsc::Sender<Seen>) {
    for kind in Kind::ALL {
        tasks.spawn(watch_kind(cluster.clone(), kind, to.clone()));
    }
}

/// Time between two attempts to watch an API that is gone. Agents come back within tens of milliseconds, and we must not
/// know less than they: the oracle waits for what is told by its observation lag at most.
const RETRY_EVERY: Duration = Duration::from_millis(25);

/// The same wait again and again. We have one machine's APIs to ourselves: nobody is overwhelmed by it.
struct Every;

impl Iterator for Every {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(RETRY_EVERY)
    }
}

impl Backoff for Every {
    fn reset(&mut self) {}
}

async fn watch_kind(cluster: Cluster, kind: Kind, to: mpsc::Sender<Seen>) {
    let api: Api<DynamicObject> = Api::all_with(cluster.client(), &kind.resource());
    let stream = kube::runtime::WatchStreamExt::backoff(watcher::watcher(api, watcher::Config::default()), Every);
    pin_mut!(stream);
    let mut known: BTreeSet<String> = BTreeSet::new();
    let mut listing: BTreeSet<String> = BTreeSet::new();
    while let Some(event) = stream.next().await {
        let seen = match event {
            Ok(Event::Init) => {
                listing.clear();
                continue;
            }
            Ok(Event::InitApply(object)) => {
                let seen = present(&cluster, kind, object);
                listing.insert(name_of(&seen));
                vec![seen]
            }
            Ok(Event::InitDone) => {
                let gone = known.difference(&listing).map(|name| vanished(&cluster, kind, name));
                let seen = gone.chain([Seen::Listed { cluster: cluster.name.clone(), kind }]).collect();
                known.clone_from(&listing);
                seen
            }
            Ok(Event::Apply(object)) => {
                let seen = present(&cluster, kind, object);
                known.insert(name_of(&seen));
                vec![seen]
            }
            Ok(Event::Delete(object)) => {
                known.remove(&qualified(&object));
                vec![convert(&cluster, kind, object, true)]
            }
            Err(error) => {
                tracing::debug!(cluster = %cluster.name, kind = kind.as_str(), %error, "watch failed; trying again");
                continue;
            }
        };
        for seen in seen {
            if to.send(seen).await.is_err() {
                return;
            }
        }
    }
}

fn qualified(object: &DynamicObject) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

fn name_of(seen: &Seen) -> String {
    match seen {
        Seen::Object { name, .. } => name.clone(),
        Seen::Listed { .. } => String::new(),
    }
}

fn present(cluster: &Cluster, kind: Kind, object: DynamicObject) -> Seen {
    convert(cluster, kind, object, false)
}

fn convert(cluster: &Cluster, kind: Kind, object: DynamicObject, deleted: bool) -> Seen {
    let (name, version) = (qualified(&object), version_of(&object));
    let object = serde_json::to_value(&object).unwrap_or(Value::Null);
    Seen::Object { cluster: cluster.name.clone(), kind, name, version, object, deleted }
}

/// An object that a new list no longer has: its deletion was missed.
fn vanished(cluster: &Cluster, kind: Kind, qualified: &str) -> Seen {
    let (namespace, name) = qualified.split_once('/').unwrap_or(("", qualified));
    let object = serde_json::json!({"metadata": {"namespace": namespace, "name": name}});
    let name = qualified.to_owned();
    Seen::Object { cluster: cluster.name.clone(), kind, name, version: VANISHED, object, deleted: true }
}
