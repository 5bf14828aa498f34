//! Describes our own node and its pods to everybody in the cluster, and through the exporter to the mesh: a CiliumNode,
//! a CiliumEndpoint for each pod with an address, and the CiliumIdentities that they need.
//!
//! Nothing of this may hold up the load balancer: requests are made one after the other beside everything else, what fails is
//! tried again, and whoever changes our objects meanwhile finds them put right. Identities that nobody uses any more stay;
//! in Cilium its operator collects them.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use mesh_core::{Identities, PodLabels};
use mesh_k8s::{
    AddressPair, ApiError, CiliumEndpoint, CiliumEndpointStatus, CiliumIdentity, CiliumNode, CiliumNodeAddress,
    CiliumNodeIpam, CiliumNodeSpec, CiliumObjects, EndpointIdentity, EndpointNetworking, EndpointPort, Kind,
    LocalEvent, LocalNamespace, LocalNode, LocalPod,
};
use mesh_types::{ClusterId, ClusterName, MaxConnectedClusters, NumericIdentity};
use mesh_wire::IdentityLabels;
use tokio::time::{Instant, sleep_until};

/// What must be known before anything is written: without the identities of others we would make new ones.
const NEEDED: [Kind; 5] = [Kind::Nodes, Kind::Namespaces, Kind::Pods, Kind::CiliumIdentities, Kind::CiliumEndpoints];
/// The first wait after a request that failed.
const RETRY_FIRST: Duration = Duration::from_millis(50);
/// The longest one.
const RETRY_LAST: Duration = Duration::from_secs(5);

/// Namespace and name of a pod and of its endpoint.
type Name = (String, String);

/// Who we are.
#[derive(Clone, Debug)]
pub(crate) struct Describes {
    pub(crate) cluster: ClusterName,
    pub(crate) cluster_id: ClusterId,
    pub(crate) limit: MaxConnectedClusters,
    /// Name of the node.
    pub(crate) node: String,
}

/// An endpoint of our node, as the API has it.
struct Found {
    uid: Option<String>,
    status: CiliumEndpointStatus,
}

/// A request to the API.
#[derive(Clone, Debug, PartialEq)]
enum Request {
    Define,
    Node(Box<CiliumNode>),
    Identity(NumericIdentity, IdentityLabels),
    Endpoint(Name, Box<CiliumEndpoint>),
    DeleteEndpoint(Name, Option<String>),
}

/// What came of a request.
struct Outcome {
    request: Request,
    result: Result<Option<CiliumIdentity>, ApiError>,
}

/// See the module.
pub(crate) struct Describer {
    who: Describes,
    objects: CiliumObjects,
    wanted: Wanted,
    running: Option<BoxFuture<'static, Outcome>>,
    failures: u32,
    not_before: Option<Instant>,
}

/// What should be there, and what is. Pure.
struct Wanted {
    who: Describes,
    listed: BTreeSet<Kind>,
    defined: bool,
    node: Option<LocalNode>,
    node_written: bool,
    namespaces: BTreeMap<String, LocalNamespace>,
    identities: Identities,
    pods: BTreeMap<Name, LocalPod>,
    endpoints: BTreeMap<Name, Found>,
    /// What may have to be written or deleted.
    dirty: BTreeSet<Name>,
    /// What failed: it is tried again when everything else had its turn.
    failed: BTreeSet<Name>,
}

impl Describer {
    pub(crate) fn new(who: Describes, objects: CiliumObjects) -> Self {
        let wanted = Wanted::new(who.clone());
        Self { who, objects, wanted, running: None, failures: 0, not_before: None }
    }

    /// Takes in what changed in the cluster.
    pub(crate) fn take(&mut self, event: &LocalEvent) {
        self.wanted.take(event);
    }

    /// Makes one request after the other, for ever. Nothing is lost when the wait is given up.
    pub(crate) async fn work(&mut self) {
        loop {
            if self.running.is_none() {
                if let Some(at) = self.not_before {
                    sleep_until(at).await;
                    self.not_before = None;
                }
                let Some(request) = self.wanted.next() else { return pending().await };
                self.running = Some(carry_out(self.objects.clone(), request).boxed());
            }
            let Some(running) = &mut self.running else { continue };
            let outcome = running.await;
            self.running = None;
            self.finished(outcome);
        }
    }

    fn finished(&mut self, Outcome { request, result }: Outcome) {
        match result {
            Ok(identity) => {
                self.failures = 0;
                self.wanted.done(request, identity);
            }
            Err(error) => {
                let wait = RETRY_FIRST.saturating_mul(2_u32.saturating_pow(self.failures)).min(RETRY_LAST);
                tracing::warn!(%error, node = self.who.node, again = ?wait, "Failed to describe the node and its pods");
                self.failures = self.failures.saturating_add(1);
                self.not_before = Some(Instant::now() + wait);
                self.wanted.failed(request);
            }
        }
    }
}

async fn carry_out(objects: CiliumObjects, request: Request) -> Outcome {
    let result = match &request {
        Request::Define => objects.define().await.map(|()| None),
        Request::Node(node) => objects.put_node(node).await.map(|()| None),
        Request::Identity(number, labels) => {
            objects.create_identity(*number, &CiliumIdentity::new(*number, labels)).await.map(Some)
        }
        Request::Endpoint(_, endpoint) => objects.put_endpoint(endpoint).await.map(|()| None),
        Request::DeleteEndpoint((namespace, name), uid) => {
            objects.delete_endpoint(namespace, name, uid.as_deref()).await.map(|()| None)
        }
    };
    Outcome { request, result }
}

impl Wanted {
    fn new(who: Describes) -> Self {
        Self {
            who,
            listed: BTreeSet::new(),
            defined: false,
            node: None,
            node_written: false,
            namespaces: BTreeMap::new(),
            identities: Identities::new(),
            pods: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            dirty: BTreeSet::new(),
            failed: BTreeSet::new(),
        }
    }

    fn take(&mut self, event: &LocalEvent) {
        match event {
            LocalEvent::Node { name, node } if *name == self.who.node && self.node != *node => {
                self.node.clone_from(node);
                self.node_written = false;
                self.dirty.extend(self.pods.keys().cloned());
            }
            LocalEvent::Namespace { name, namespace } => {
                match namespace {
                    Some(namespace) => self.namespaces.insert(name.clone(), namespace.clone()),
                    None => self.namespaces.remove(name),
                };
                self.dirty.extend(self.pods.keys().filter(|(namespace, _)| namespace == name).cloned());
            }
            LocalEvent::Pod { namespace, name, pod } => {
                let name = (namespace.clone(), name.clone());
                match pod {
                    Some(pod) => self.pods.insert(name.clone(), pod.clone()),
                    None => self.pods.remove(&name),
                };
                self.dirty.insert(name);
            }
            LocalEvent::CiliumIdentity { number, identity } => {
                let labels = identity.as_ref().map(|identity| identity.identity_labels());
                if self.identities.set(*number, labels) {
                    self.dirty.extend(self.pods.keys().cloned());
                }
            }
            LocalEvent::CiliumEndpoint { namespace, name, endpoint } => {
                self.found(namespace, name, endpoint.as_deref())
            }
            LocalEvent::Listed(kind) => {
                self.listed.insert(*kind);
            }
            _ => {}
        }
    }

    fn found(&mut self, namespace: &str, name: &str, endpoint: Option<&CiliumEndpoint>) {
        let name = (namespace.to_owned(), name.to_owned());
        let before = self.endpoints.remove(&name);
        if let Some(endpoint) = endpoint {
            let found = Found { uid: endpoint.metadata.uid.clone(), status: endpoint.status.clone() };
            self.endpoints.insert(name.clone(), found);
        }
        let ours = |found: &Found| Some(found.status.networking.node.as_str()) == self.address().as_deref();
        let is_ours = self.pods.contains_key(&name) || before.iter().chain(self.endpoints.get(&name)).any(ours);
        if is_ours {
            self.dirty.insert(name);
        }
    }

    /// The address by which others reach the node.
    fn address(&self) -> Option<String> {
        let node = self.node.as_ref()?;
        node.addresses.iter().find(|(kind, _)| kind == "InternalIP").map(|(_, ip)| ip.clone())
    }

    /// What is to be done next, if anything.
    fn next(&mut self) -> Option<Request> {
        if !self.defined {
            return Some(Request::Define);
        }
        if !self.node_written
            && let Some(node) = &self.node
        {
            return Some(Request::Node(Box::new(self.describe(node))));
        }
        if !NEEDED.iter().all(|kind| self.listed.contains(kind)) {
            return None;
        }
        let ours = self.address()?;
        if self.dirty.is_empty() {
            self.dirty = std::mem::take(&mut self.failed);
        }
        while let Some(name) = self.dirty.pop_first() {
            let found = self.endpoints.get(&name);
            match self.pods.get(&name).filter(|pod| !pod.addresses.is_empty()) {
                // Its labels are part of the identity: the pod has its turn when it is known.
                Some(_) if !self.namespaces.contains_key(&name.0) => {}
                Some(pod) => {
                    let labels = self.labels(&name.0, pod);
                    let Some(number) = self.identities.number(&labels) else {
                        let free = self.identities.free(&labels, self.who.cluster_id, self.who.limit);
                        let Some(number) = free else {
                            tracing::error!(pod = name.1, "no identity is left for it");
                            continue;
                        };
                        self.dirty.insert(name);
                        return Some(Request::Identity(number, labels));
                    };
                    let endpoint = endpoint(&name, pod, number, &labels, &ours);
                    if found.is_none_or(|found| found.status != endpoint.status) {
                        return Some(Request::Endpoint(name, Box::new(endpoint)));
                    }
                }
                // A pod that moved to another node is described there.
                None => {
                    if let Some(found) = found.filter(|found| found.status.networking.node == ours) {
                        return Some(Request::DeleteEndpoint(name, found.uid.clone()));
                    }
                }
            }
        }
        None
    }

    /// A request was carried out.
    fn done(&mut self, request: Request, identity: Option<CiliumIdentity>) {
        match request {
            Request::Define => self.defined = true,
            Request::Node(node) => {
                // It may have changed meanwhile.
                self.node_written = self.node.as_ref().is_some_and(|now| self.describe(now).spec == node.spec);
            }
            Request::Identity(number, _) => {
                let labels = identity.map(|identity| identity.identity_labels());
                self.identities.set(number, labels);
            }
            Request::Endpoint(name, endpoint) => {
                let uid = self.endpoints.get(&name).and_then(|found| found.uid.clone());
                self.endpoints.insert(name, Found { uid, status: endpoint.status });
            }
            Request::DeleteEndpoint(name, _) => {
                self.endpoints.remove(&name);
            }
        }
    }

    /// A request failed: it is made again, if it is still needed then.
    fn failed(&mut self, request: Request) {
        match request {
            Request::Endpoint(name, _) | Request::DeleteEndpoint(name, _) => {
                self.failed.insert(name);
            }
            Request::Define | Request::Node(_) | Request::Identity(..) => {}
        }
    }

    fn labels(&self, namespace: &str, pod: &LocalPod) -> IdentityLabels {
        let labels = PodLabels {
            namespace,
            service_account: &pod.service_account,
            labels: Some(&pod.labels),
            namespace_labels: self.namespaces.get(namespace).map(|namespace| &namespace.labels),
        };
        labels.identity(&self.who.cluster)
    }

    fn describe(&self, node: &LocalNode) -> CiliumNode {
        let address = |(kind, ip): &(String, String)| CiliumNodeAddress { kind: kind.clone(), ip: ip.clone() };
        let spec = CiliumNodeSpec {
            addresses: node.addresses.iter().map(address).collect(),
            ipam: CiliumNodeIpam { pod_cidrs: node.pod_cidrs.clone() },
            ..CiliumNodeSpec::default()
        };
        let mut described = CiliumNode::new(&self.who.node, spec);
        described.metadata.labels = Some(node.labels.clone());
        described.owned_by(&node.uid)
    }
}

fn endpoint(
    name: &Name,
    pod: &LocalPod,
    number: NumericIdentity,
    labels: &IdentityLabels,
    node: &str,
) -> CiliumEndpoint {
    let text = |(key, label): (&str, &mesh_wire::Label)| format!("{}:{key}={}", label.source, label.value);
    let pair = |ip: &String| match ip.contains(':') {
        true => AddressPair { ipv6: ip.clone(), ..AddressPair::default() },
        false => AddressPair { ipv4: ip.clone(), ..AddressPair::default() },
    };
    let port = |(name, port, protocol): &(String, u16, String)| EndpointPort {
        name: name.clone(),
        port: *port,
        protocol: protocol.clone(),
    };
    let status = CiliumEndpointStatus {
        identity: EndpointIdentity { id: number.get(), labels: labels.iter().map(text).collect() },
        networking: EndpointNetworking { addressing: pod.addresses.iter().map(pair).collect(), node: node.to_owned() },
        state: "ready".to_owned(),
        named_ports: pod.named_ports.iter().map(port).collect(),
        service_account: pod.service_account.clone(),
        ..CiliumEndpointStatus::default()
    };
    CiliumEndpoint::new(&name.0, &name.1, status).owned_by(&pod.uid)
}

#[cfg(test)]
mod tests;
