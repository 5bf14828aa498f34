//! Propagation: from the API patch that removes an endpoint in one cluster to the last map of the other.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use meshbed_driver::{ClusterState, RunState};
use serde_json::{Value, json};

use super::{BenchError, Measured, Samples, etcd};
use crate::{kubernetes::Cluster, read_maps};

/// Name of the service and of its slice.
const NAME: &str = "bench";
/// Backend that stays and backend that comes and goes. Nothing listens there; only maps are looked at.
const BACKENDS: [&str; 2] = ["192.0.2.1", "192.0.2.2"];
/// How long one change may take to arrive.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Time between two looks at the maps: the resolution of this measurement.
const LOOK_EVERY: Duration = Duration::from_micros(100);
/// Changes made before the measurement, to warm up connections and code.
const WARM_UP: u32 = 20;

/// Measures on a mesh that is up.
pub(super) async fn measure(state: &RunState, repeat: u32) -> Result<Vec<Measured>, BenchError> {
    let [near, far, ..] = state.clusters.as_slice() else { return Err("two clusters are needed".into()) };
    let (api_near, api_far) = (connect(near).await?, connect(far).await?);
    for api in [&api_near, &api_far] {
        api.apply(&service()).await?;
    }
    api_near.apply(&slice(2)).await?;
    let watched: Vec<PathBuf> = far.nodes.iter().map(|node| node.bpf_root.clone()).collect();
    maps_have(watched.clone(), 2).await?;

    let (mut patch, mut removed, mut added) = (Samples::default(), Samples::default(), Samples::default());
    for number in 0..repeat + WARM_UP {
        let mut results = [Duration::ZERO; 3];
        for (index, backends) in [(1, 1), (2, 2)] {
            let start = Instant::now();
            let looking = tokio::spawn(maps_have(watched.clone(), backends));
            api_near.patch_slice(NAME, &json!({"endpoints": endpoints(backends)})).await?;
            results[0] = start.elapsed();
            let last = looking.await??;
            results[index] = last.duration_since(start);
        }
        if number >= WARM_UP {
            patch.add(results[0]);
            removed.add(results[1]);
            added.add(results[2]);
        }
    }
    let of = near.clone();
    let baseline = tokio::task::spawn_blocking(move || etcd::put_to_watch(&of, repeat)).await??;
    Ok(vec![
        Measured { what: "etcd put to watch (baseline)", samples: baseline },
        Measured { what: "API patch answered", samples: patch },
        Measured { what: "endpoint removed in the API to the last remote map", samples: removed },
        Measured { what: "endpoint added in the API to the last remote map", samples: added },
    ])
}

async fn connect(cluster: &ClusterState) -> Result<Cluster, BenchError> {
    Ok(Cluster::connect(cluster.name.clone(), &cluster.kubeconfig_host).await?)
}

/// When the last of the nodes had exactly `backends` backends of the service in its maps.
async fn maps_have(nodes: Vec<PathBuf>, backends: usize) -> Result<Instant, BenchError> {
    tokio::task::spawn_blocking(move || {
        let deadline = Instant::now() + WAIT_MAX;
        let mut missing = nodes;
        loop {
            missing.retain(|node| held(node) != Some(backends));
            let now = Instant::now();
            if missing.is_empty() {
                return Ok(now);
            }
            if now > deadline {
                return Err(format!("{} did not hold {backends} backends within {WAIT_MAX:?}", missing[0].display()));
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
    })
    .await?
    .map_err(Into::into)
}

fn held(bpf_root: &std::path::Path) -> Option<usize> {
    let state = read_maps(bpf_root).ok()?;
    let ours = |frontend: &&meshbed_events::MapFrontend| {
        frontend.active.iter().any(|backend| backend.starts_with(BACKENDS[0]))
    };
    state.frontends.values().find(ours).map(|frontend| frontend.active.len())
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": NAME, "annotations": {"service.cilium.io/global": "true"}},
        "spec": {"ports": [{"port": 80}]},
    })
}

fn endpoints(count: usize) -> Value {
    BACKENDS.iter().take(count).map(|ip| json!({"addresses": [ip], "conditions": {"ready": true}})).collect()
}

fn slice(count: usize) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": NAME, "labels": {"kubernetes.io/service-name": NAME}},
        "addressType": "IPv4", "endpoints": endpoints(count),
        "ports": [{"name": "", "port": 80, "protocol": "TCP"}],
    })
}
