//! What cells are tried on: a backend in each cluster, clients in the first one, and a service for each cell.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use mesh_types::ClusterName;
use meshbed_driver::{ClusterState, Control};
use meshbed_node::PodState;
use meshbed_oracle::{Cell, LocalState, RemoteState};
use meshbed_scenario::Topology;
use serde_json::{Map, Value, json};

use super::{Tried, TruthTableError, ask, observe::Place};
use crate::{
    Recorder, RunClock, kubernetes::Cluster, logs::Since, observers::Observers, probe::lock, stage::wait_until,
    world::World,
};

/// Name of the deployments.
const BACKEND: &str = "backend";
const CLIENT: &str = "client";
/// Port of services and backends.
const PORT: u16 = 80;
/// How long pods may take to become ready.
const PODS_WAIT_MAX: Duration = Duration::from_secs(30);
/// Objects that are applied at the same time.
const APPLIED_AT_ONCE: usize = 8;
/// Services that are asked at the same time: each takes a process for every client.
const ASKED_AT_ONCE: usize = 4;
/// Host number of the first cell's service; the cluster's own are far below.
const FIRST_SERVICE: usize = 512;

/// See the module.
pub(super) struct Stand {
    here: Side,
    there: Side,
    clients: Vec<PodState>,
    pod_program: PathBuf,
}

/// One cluster.
struct Side {
    api: Cluster,
    state: ClusterState,
    backend: Ipv4Addr,
}

impl Stand {
    /// Deploys backends and clients and waits until they are ready.
    pub(super) async fn build(
        control: &Control,
        topology: &Topology,
        pod_program: &Path,
    ) -> Result<Self, TruthTableError> {
        let state = control.state();
        let [here, there] = state.clusters.as_slice() else { return Err("exactly two clusters are needed".into()) };
        let (api_here, api_there) = (connect(here).await?, connect(there).await?);
        let recorder = Recorder::new(None, Box::new(|_| {}))?;
        let world = Arc::new(Mutex::new(World::new(topology, Duration::ZERO, RunClock::start(), recorder)));
        // Only until the pods are ready: an oracle that looks at each of the services would be the slowest part.
        let observers = Observers::start(control, Since::Beginning, &world).await?;
        let objects = [(&api_here, backend(&here.name)), (&api_there, backend(&there.name)), (&api_here, client(here))];
        for (api, objects) in objects {
            for object in objects {
                let changed = api.apply(&object).await?;
                lock(&world).must_see(&api.name, changed);
            }
        }
        let ready = wait_until(&world, PODS_WAIT_MAX, World::unsettled_objects).await;
        ready.map_err(|error| error.findings().join("\n"))?;
        drop(observers);
        let side = |api, state: &ClusterState| {
            let backend = pods(state, BACKEND).first().map(|pod| pod.ip).ok_or("there is no backend")?;
            Ok::<_, TruthTableError>(Side { api, state: state.clone(), backend })
        };
        let clients = pods(here, CLIENT);
        let (here, there) = (side(api_here, here)?, side(api_there, there)?);
        Ok(Self { here, there, clients, pod_program: pod_program.to_owned() })
    }

    /// The cluster that does not ask.
    pub(super) fn there(&self) -> &ClusterName {
        &self.there.state.name
    }

    /// A service for each cell, in both clusters.
    pub(super) async fn deploy(&self, cells: &[Cell]) -> Result<Vec<Place>, TruthTableError> {
        let places: Vec<Place> = cells.iter().enumerate().map(|(number, cell)| self.place(number, cell)).collect();
        let objects = places.iter().enumerate().flat_map(|(number, Place { cell, .. })| {
            let name = format!("cell-{number}");
            let ips = [&self.here, &self.there].map(|side| service_ip(&side.state, number));
            let [local, remote] = [local_conditions(cell.local), remote_conditions(cell.remote)];
            [
                (&self.here.api, slice(&name, self.here.backend, local)),
                (&self.here.api, service(&name, ips[0], &cell.annotations.local)),
                (&self.there.api, slice(&name, self.there.backend, remote)),
                (&self.there.api, service(&name, ips[1], &cell.annotations.remote)),
            ]
        });
        let applied = stream::iter(objects).map(async |(api, object)| api.apply(&object).await.map(drop));
        applied.buffer_unordered(APPLIED_AT_ONCE).try_collect::<()>().await?;
        Ok(places)
    }

    fn place(&self, number: usize, cell: &Cell) -> Place {
        Place {
            cell: cell.clone(),
            service: service_ip(&self.here.state, number),
            port: PORT,
            local: self.here.backend,
            remote: self.there.backend,
        }
    }

    /// Waits until all nodes here hold what the places want, or the time is over.
    pub(super) async fn wait_for_maps(&self, places: Vec<&Place>, wait_max: Duration) -> Result<(), TruthTableError> {
        let places: Vec<Place> = places.into_iter().cloned().collect();
        let nodes = self.bpf_roots();
        tokio::task::spawn_blocking(move || super::observe::wait_for_maps(&nodes, &places, wait_max)).await?;
        Ok(())
    }

    /// Looks at what came of some places.
    pub(super) async fn look(&self, places: &[&Place]) -> Result<Vec<Tried>, TruthTableError> {
        let maps = self.bpf_roots().iter().map(|root| crate::read_maps(root)).collect::<Result<Vec<_>, _>>()?;
        let look = async |place: &&Place| {
            let mut requests = Vec::new();
            for client in &self.clients {
                let may_be_lost = place.cell.expected.lost;
                requests.push(ask::ask(client, &self.pod_program, place.service, place.port, may_be_lost).await?);
            }
            Ok::<_, TruthTableError>(place.judge(&maps, &requests))
        };
        stream::iter(places).map(look).buffered(ASKED_AT_ONCE).try_collect().await
    }

    fn bpf_roots(&self) -> Vec<PathBuf> {
        self.here.state.nodes.iter().map(|node| node.bpf_root.clone()).collect()
    }
}

async fn connect(cluster: &ClusterState) -> Result<Cluster, TruthTableError> {
    Ok(Cluster::connect(cluster.name.clone(), &cluster.kubeconfig_host).await?)
}

/// The pods of a deployment, as the kubelets wrote them down.
fn pods(cluster: &ClusterState, deployment: &str) -> Vec<PodState> {
    let of = |state: &PodState| state.labels.get("name").is_some_and(|name| name == deployment);
    let nodes = cluster.nodes.iter();
    nodes.flat_map(|node| PodState::list(&node.kubelet_state_dir).unwrap_or_default()).filter(of).collect()
}

/// Address of the service of cell `number`.
fn service_ip(cluster: &ClusterState, number: usize) -> Ipv4Addr {
    // A service CIDR of a /16 has room for far more than the table.
    let offset = u32::try_from(FIRST_SERVICE + number).unwrap_or(u32::MAX);
    Ipv4Addr::from(u32::from(cluster.service_cidr.network()).saturating_add(offset))
}

/// A web server that listens whatever is said about it.
fn backend(cluster: &ClusterName) -> Vec<Value> {
    let files = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": BACKEND}, "data": {"message": cluster.as_str()},
    });
    let mut deployment = deployment(BACKEND, "nginx", 1);
    deployment["spec"]["template"]["spec"]["volumes"] = json!([{
        "name": "html", "configMap": {"name": BACKEND, "items": [{"key": "message", "path": "index.html"}]},
    }]);
    deployment["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "html", "mountPath": "/usr/share/nginx/html/"}]);
    vec![files, deployment]
}

/// A client for each node.
fn client(cluster: &ClusterState) -> Vec<Value> {
    vec![deployment(CLIENT, "json-mock", cluster.nodes.len())]
}

fn deployment(name: &str, image: &str, replicas: usize) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"name": name}},
            "template": {
                "metadata": {"labels": {"name": name}},
                "spec": {"containers": [{"name": name, "image": image, "ports": [{"containerPort": PORT}]}]},
            },
        },
    })
}

fn service(name: &str, ip: Ipv4Addr, annotations: &[(&str, &str)]) -> Value {
    let annotations: Map<_, _> = annotations.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "annotations": annotations},
        "spec": {"clusterIP": ip, "ports": [{"port": PORT}]},
    })
}

/// `ready`, `serving`, `terminating`; `None` for no endpoint.
type Conditions = Option<[bool; 3]>;

const READY: Conditions = Some([true, true, false]);
const TERMINATING: Conditions = Some([false, true, true]);
const NOT_READY: Conditions = Some([false, false, false]);

fn local_conditions(state: LocalState) -> Conditions {
    match state {
        LocalState::None => None,
        LocalState::Ready => READY,
        LocalState::Terminating => TERMINATING,
        LocalState::NotReady => NOT_READY,
    }
}

fn remote_conditions(state: RemoteState) -> Conditions {
    match state {
        RemoteState::None => None,
        // A cluster that dies was well before.
        RemoteState::Ready | RemoteState::ClusterDead => READY,
        RemoteState::Terminating => TERMINATING,
        RemoteState::NotReady => NOT_READY,
    }
}

fn slice(service: &str, backend: Ipv4Addr, conditions: Conditions) -> Value {
    let endpoint = conditions.map(|[ready, serving, terminating]| {
        json!({
            "addresses": [backend],
            "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        })
    });
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": format!("{service}-1"), "labels": {"kubernetes.io/service-name": service}},
        "endpoints": endpoint.into_iter().collect::<Vec<_>>(),
        "ports": [{"name": "", "port": PORT, "protocol": "TCP"}],
    })
}
