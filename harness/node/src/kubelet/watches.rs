//! What the kubelet watches in the API: its pods, all services and all config maps.

use std::{collections::BTreeMap, fmt::Debug, pin::pin, sync::Arc, time::Duration};

use futures::{Stream, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::{oneshot, watch},
    task::JoinSet,
};

use super::{
    adoption,
    hosts::{self, ClusterIps},
    node::Node,
    volumes::ConfigMaps,
    worker::{self, Latest},
};

/// First and longest pause after a watch that failed. kube's own start at 800 ms, far too long for a mesh that is
/// just coming up.
const RETRY_FIRST: Duration = Duration::from_millis(5);
const RETRY_LONGEST: Duration = Duration::from_secs(1);

/// Pauses that double.
#[derive(Debug)]
struct Pauses(Duration);

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.0;
        self.0 = (pause * 2).min(RETRY_LONGEST);
        Some(pause)
    }
}

impl kube::runtime::utils::Backoff for Pauses {
    fn reset(&mut self) {
        self.0 = RETRY_FIRST;
    }
}

/// Events of a watch that goes on for ever: what fails is tried again, and what was missed is listed again.
pub(crate) fn events<K>(api: Api<K>, config: watcher::Config) -> impl Stream<Item = Event<K>> + Send
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let events = watcher(api, config).backoff(Pauses(RETRY_FIRST));
    futures::StreamExt::filter_map(events.inspect_err(|error| tracing::warn!(%error, "watch failed")), |event| {
        std::future::ready(event.ok())
    })
}

/// Keeps the config maps. Ends when nobody wants them.
pub(crate) async fn config_maps(client: Client, shared: watch::Sender<Arc<ConfigMaps>>) {
    let mut events = pin!(events(Api::<ConfigMap>::all(client), watcher::Config::default()));
    let mut listed = ConfigMaps::new();
    let key = |map: &ConfigMap| (map.namespace().unwrap_or_default(), map.name_any());
    while let Some(event) = futures::StreamExt::next(&mut events).await {
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(map) => drop(listed.insert(key(&map), map)),
            Event::InitDone => drop(shared.send_replace(Arc::new(std::mem::take(&mut listed)))),
            Event::Apply(map) => shared.send_modify(|maps| drop(Arc::make_mut(maps).insert(key(&map), map))),
            Event::Delete(map) => shared.send_modify(|maps| drop(Arc::make_mut(maps).remove(&key(&map)))),
        }
    }
}

/// Keeps the hosts files.
pub(crate) async fn services(node: Arc<Node>) {
    let mut events = pin!(events(Api::<Service>::all(node.client.clone()), watcher::Config::default()));
    let mut services = ClusterIps::new();
    let mut is_complete = false;
    while let Some(event) = futures::StreamExt::next(&mut events).await {
        match event {
            Event::Init => {
                services.clear();
                is_complete = false;
            }
            Event::InitApply(service) | Event::Apply(service) => hosts::apply(&mut services, &service),
            Event::InitDone => is_complete = true,
            Event::Delete(service) => hosts::delete(&mut services, &service),
        }
        if is_complete && let Err(error) = node.update_hosts(services.clone()) {
            tracing::error!(%error, "hosts files were not written");
        }
    }
}

/// A pod's worker, as the watch sees it.
struct Running {
    latest: watch::Sender<Latest>,
}

/// Runs the pods of this node. `synced` is told once the first list is complete.
pub(crate) async fn pods(node: Arc<Node>, synced: oneshot::Sender<()>) {
    let config = watcher::Config::default().fields(&format!("spec.nodeName={}", node.options.node_name));
    let mut events = pin!(events(Api::<Pod>::all(node.client.clone()), config));
    let mut synced = Some(synced);
    let mut running: BTreeMap<String, Running> = BTreeMap::new();
    let mut workers = JoinSet::new();
    let mut listed: Vec<String> = Vec::new();
    loop {
        let event = tokio::select! {
            Some(ended) = workers.join_next() => {
                match ended {
                    Ok(uid) => drop(running.remove::<String>(&uid)),
                    Err(error) => tracing::error!(%error, "the worker of a pod failed"),
                }
                continue;
            }
            event = futures::StreamExt::next(&mut events) => event,
        };
        let Some(event) = event else { return };
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(pod) => {
                listed.extend(pod.uid());
                take(&node, pod, &mut running, &mut workers);
            }
            Event::InitDone => {
                for (uid, worker) in &running {
                    if !listed.contains(uid) {
                        worker.latest.send_replace(None);
                    }
                }
                adoption::remove_unlisted(&node, &running.keys().cloned().collect()).await;
                // Nobody waits for it any more when the kubelet ends.
                let _told = synced.take().map(|synced| synced.send(()));
            }
            Event::Apply(pod) => take(&node, pod, &mut running, &mut workers),
            Event::Delete(pod) => {
                if let Some(worker) = pod.uid().and_then(|uid| running.get(&uid)) {
                    worker.latest.send_replace(None);
                }
            }
        }
    }
}

/// Gives a pod's new state to its worker; a new pod gets one.
fn take(node: &Arc<Node>, pod: Pod, running: &mut BTreeMap<String, Running>, workers: &mut JoinSet<String>) {
    let Some(uid) = pod.uid() else { return };
    if let Some(worker) = running.get(&uid) {
        worker.latest.send_replace(Some(pod));
        return;
    }
    let (latest, receiver) = watch::channel(Some(pod.clone()));
    running.insert(uid.clone(), Running { latest });
    let node = Arc::clone(node);
    workers.spawn(async move {
        worker::run(node, pod, receiver).await;
        uid
    });
}
