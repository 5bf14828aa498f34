//! Clients of the view's own, in the pods of a deployment.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, Mutex},
    time::Duration,
};

use mesh_types::{ClusterName, ServiceKey};
use meshbed_driver::{ClusterState, RunState};
use meshbed_node::PodState;
use meshbed_scenario::{DeploymentKey, Located, Position, Probe, ProbeMode};

use crate::{
    probe::{Client, Target, lock},
    world::World,
};

/// Requests a second of one client: enough to see a change, too few to disturb.
const RATE: NonZeroU32 = NonZeroU32::new(50).expect("it is not zero");
/// How long a client waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Namespace of names without one.
const DEFAULT_NAMESPACE: &str = "default";

/// Every ready pod of a deployment asks a service. Written `deployment/x-wing=rebel-base:80`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewerProbe {
    /// Whose pods ask.
    pub deployment: DeploymentKey,
    /// Who is asked.
    pub service: ServiceKey,
    /// The service's port.
    pub port: u16,
}

impl FromStr for ViewerProbe {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || "expected deployment/[NAMESPACE/]NAME=[NAMESPACE/]SERVICE:PORT".to_owned();
        let (deployment, asked) = text.split_once('=').ok_or_else(wrong)?;
        let (service, port) = asked.rsplit_once(':').ok_or_else(wrong)?;
        let deployment = deployment.strip_prefix("deployment/").ok_or_else(wrong)?;
        let named = |text: &str| -> Option<(String, String)> {
            let (namespace, name) = text.split_once('/').unwrap_or((DEFAULT_NAMESPACE, text));
            (!namespace.is_empty() && !name.is_empty() && !name.contains('/'))
                .then(|| (namespace.to_owned(), name.to_owned()))
        };
        let (namespace, name) = named(deployment).ok_or_else(wrong)?;
        let service = named(service).map(|(namespace, name)| ServiceKey { namespace, name }).ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| format!("`{port}` is no port"))?;
        Ok(Self { deployment: DeploymentKey { namespace, name }, service, port })
    }
}

/// The clients that there are.
pub(super) struct Probing {
    probe: Probe,
    program: PathBuf,
    /// By cluster and pod.
    clients: BTreeMap<(ClusterName, String), Client>,
}

impl Probing {
    pub(super) fn new(probe: ViewerProbe, program: PathBuf) -> Self {
        let nowhere = Located { file: Arc::from(Path::new("")), position: Position { line: 1, column: 1 }, value: () };
        let probe = Probe {
            name: "view".to_owned(),
            from: probe.deployment,
            service: probe.service,
            port: probe.port,
            rate: RATE,
            timeout: TIMEOUT,
            mode: ProbeMode::Connect,
            clusters: None,
            on: None,
            at: nowhere,
        };
        Self { probe, program, clients: BTreeMap::new() }
    }

    /// Clusters with clients.
    pub(super) fn clusters(&self) -> BTreeSet<String> {
        self.clients.keys().map(|(cluster, _)| cluster.to_string()).collect()
    }

    /// Why nobody asks.
    pub(super) fn note(&self) -> Option<String> {
        let Probe { from, service, port, .. } = &self.probe;
        self.clients.is_empty().then(|| format!("nobody asks {service}:{port}: {from} has no ready pod"))
    }

    /// Starts a client in every pod that has none. One in a pod that hangs is left alone: it goes on with its pod.
    pub(super) async fn keep_asking(&mut self, state: &RunState, world: &Arc<Mutex<World>>) {
        self.clients.retain(|_, client| !client.is_over());
        for cluster in &state.clusters {
            let Some(address) = self.address(cluster, world) else { continue };
            for pod in self.pods(cluster, world) {
                let key = (cluster.name.clone(), format!("{}/{}", pod.1.namespace, pod.1.name));
                if self.clients.contains_key(&key) {
                    continue;
                }
                let target = Target { address: address.clone(), probe: &self.probe };
                match Client::start(&cluster.name, &pod, &self.program, &target, None, world).await {
                    Ok(client) => drop(self.clients.insert(key, client)),
                    // It may be on its way out; the next time it is not listed any more.
                    Err(error) => tracing::info!(error = &error as &dyn std::error::Error, "no client"),
                }
            }
        }
    }

    /// Where the service is asked in this cluster.
    fn address(&self, cluster: &ClusterState, world: &Arc<Mutex<World>>) -> Option<String> {
        let world = lock(world);
        let service = world.objects.get(&cluster.name)?.services.get(&self.probe.service.to_string())?;
        let ip = service["spec"]["clusterIP"].as_str()?;
        ip.parse::<std::net::Ipv4Addr>().ok().map(|ip| format!("{ip}:{}", self.probe.port))
    }

    /// The ready pods of the deployment, with their nodes.
    fn pods(&self, cluster: &ClusterState, world: &Arc<Mutex<World>>) -> Vec<(String, PodState)> {
        let ready = match lock(world).objects.get(&cluster.name) {
            Some(objects) => objects.deployment_pods(&self.probe.from.to_string()),
            None => return Vec::new(),
        };
        let on_node = |node: &meshbed_driver::NodeState| {
            let pods = PodState::list(&node.kubelet_state_dir).unwrap_or_default();
            let name = node.name.clone();
            pods.into_iter().map(move |pod| (name.clone(), pod)).collect::<Vec<_>>()
        };
        let pods = cluster.nodes.iter().flat_map(on_node);
        pods.filter(|(_, pod)| ready.contains_key(&format!("{}/{}", pod.namespace, pod.name))).collect()
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::ViewerProbe;

    #[test_case("deployment/x-wing=rebel-base:80" => Ok("default/x-wing default/rebel-base 80".to_owned()))]
    #[test_case("deployment/a/x=b/y:8080" => Ok("a/x b/y 8080".to_owned()) ; "with namespaces")]
    #[test_case("deployment/x=y:http" => Err("`http` is no port".to_owned()) ; "no port")]
    fn probes(text: &str) -> Result<String, String> {
        let ViewerProbe { deployment, service, port } = text.parse()?;
        Ok(format!("{deployment} {service} {port}"))
    }

    #[test_case("x-wing=rebel-base:80" ; "no kind")]
    #[test_case("deployment/x-wing" ; "nobody asked")]
    #[test_case("deployment/=y:80" ; "no name")]
    fn no_probe(text: &str) {
        assert!(text.parse::<ViewerProbe>().is_err());
    }
}
