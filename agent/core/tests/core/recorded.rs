//! The recorded agent: from the Kubernetes objects and the kvstore that Cilium's own agent saw to the frontends
//! that it put into its maps (`bpf lb list` of the same record, by hand). And the recorded exporter.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::Ipv4Addr,
    path::PathBuf,
    time::Duration,
};

use mesh_core::{
    AddressType, Config, Event, LocalEndpoint, LocalService, LocalSlice, SERVICE_NAME_LABEL, ServiceKind, ServicePort,
    SlicePort, TargetPort, export,
};
use mesh_types::{FrontendType, Protocol, ServiceKey, TrafficPolicies, TrafficPolicy};
use mesh_wire::{ClusterService, Key};
use serde::Deserialize;
use test_case::test_case;

use crate::mesh::*;

#[derive(Deserialize)]
struct List {
    items: Vec<Object>,
}

/// As much of a Service or an EndpointSlice as matters here; any other kind reads as one with nothing in it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    kind: String,
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    address_type: String,
    #[serde(default)]
    ports: Vec<Port>,
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    #[serde(rename = "clusterIP")]
    cluster_ip: String,
    ports: Vec<Port>,
    selector: BTreeMap<String, String>,
    session_affinity: String,
    session_affinity_config: SessionAffinityConfig,
    r#type: String,
    internal_traffic_policy: String,
    external_traffic_policy: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SessionAffinityConfig {
    #[serde(rename = "clientIP")]
    client_ip: ClientIp,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClientIp {
    timeout_seconds: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    #[serde(default)]
    name: String,
    port: u16,
    #[serde(default)]
    protocol: Option<Protocol>,
    #[serde(default)]
    node_port: Option<u16>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    addresses: Vec<Ipv4Addr>,
    #[serde(default)]
    conditions: Conditions,
    node_name: Option<String>,
    hostname: Option<String>,
    zone: Option<String>,
    #[serde(default)]
    hints: Hints,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Conditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Hints {
    for_zones: Vec<ForZone>,
}

#[derive(Deserialize)]
struct ForZone {
    name: String,
}

impl Object {
    fn service(self) -> LocalService {
        let kind = match self.spec.r#type.as_str() {
            "NodePort" => ServiceKind::NodePort,
            _ => ServiceKind::ClusterIp,
        };
        let policy = |name: &str| if name == "Local" { TrafficPolicy::Local } else { TrafficPolicy::Cluster };
        let timeout = Duration::from_secs(self.spec.session_affinity_config.client_ip.timeout_seconds);
        let port = |port: Port| ServicePort {
            target: TargetPort::Number(port.port),
            name: port.name,
            port: port.port,
            protocol: port.protocol.unwrap_or(Protocol::Tcp),
            node_port: port.node_port,
        };
        LocalService {
            policies: TrafficPolicies {
                external: policy(&self.spec.external_traffic_policy),
                internal: policy(&self.spec.internal_traffic_policy),
            },
            cluster_ips: self.spec.cluster_ip.parse().into_iter().collect(),
            ports: self.spec.ports.into_iter().map(port).collect(),
            session_affinity: (self.spec.session_affinity == "ClientIP").then_some(timeout),
            annotations: self.metadata.annotations,
            labels: self.metadata.labels,
            selector: self.spec.selector,
            kind,
            ..LocalService::new(ServiceKey::new(self.metadata.namespace, self.metadata.name))
        }
    }

    fn slice(self) -> LocalSlice {
        assert_eq!(self.address_type, "IPv4");
        let port = |port: Port| {
            let protocol = port.protocol.expect("slices always name the protocol");
            SlicePort { name: port.name, protocol, port: port.port }
        };
        let endpoint = |endpoint: Endpoint| LocalEndpoint {
            addresses: endpoint.addresses,
            ready: endpoint.conditions.ready,
            serving: endpoint.conditions.serving,
            terminating: endpoint.conditions.terminating,
            hostname: endpoint.hostname,
            node_name: endpoint.node_name,
            zone: endpoint.zone,
            hints: endpoint.hints.for_zones.into_iter().map(|zone| zone.name).collect(),
        };
        LocalSlice {
            namespace: self.metadata.namespace,
            name: self.metadata.name,
            service: self.metadata.labels.get(SERVICE_NAME_LABEL).cloned(),
            labels: self.metadata.labels,
            annotations: self.metadata.annotations,
            address_type: AddressType::Ipv4,
            ports: self.ports.into_iter().map(port).collect(),
            endpoints: self.endpoints.into_iter().map(endpoint).collect(),
        }
    }
}

#[derive(Deserialize)]
struct Record {
    key: String,
    value: String,
}

fn read(file: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/vectors").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn records(file: &str) -> Vec<(Key, ClusterService)> {
    let records = read(file).lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Record>>();
    let services = records.into_iter().filter_map(|record| match record.key.parse() {
        Ok(key @ Key::Service { .. }) => Some((key, ClusterService::decode(record.value.as_bytes()).unwrap())),
        _ => None,
    });
    services.collect()
}

fn recorded_agent() -> Agent {
    // Node `node-c1`, whose address was 172.30.0.2.
    let config = Config { node_addresses: vec![ip("172.30.0.2")], ..config("alpha", 1, true) };
    let mut agent = Agent::new(config);
    agent.step(added("beta"));
    let services: List = serde_saphyr::from_str(&read("input/services.yaml")).unwrap();
    let slices: List = serde_saphyr::from_str(&read("input/endpointslices.yaml")).unwrap();
    agent.steps(services.items.into_iter().map(|object| service_event(object.service())));
    agent.steps(slices.items.into_iter().map(|object| slice_event(object.slice())));
    for (key, service) in records("kvstore/beta-hand-written.jsonl") {
        let Key::Service { cluster, key, .. } = key else { unreachable!("only services were kept") };
        agent.step(Event::RemoteService { cluster, cluster_id: service.cluster_id, key, service: Some(service) });
    }
    agent.steps([Event::LocalSynced, synced("beta")]);
    agent
}

const AFFINITY: Option<Duration> = Some(Duration::from_secs(10_800));

#[test_case("10.96.0.1", 443, FrontendType::ClusterIp, None, &["172.30.0.1:16443"] ; "kubernetes")]
#[test_case("10.96.22.45", 80, FrontendType::ClusterIp, None, &["10.1.0.11:80", "10.2.0.11:80@2", "10.2.0.12:80@2"] ; "rebel base")]
#[test_case("10.96.101.65", 8080, FrontendType::ClusterIp, AFFINITY, &["10.9.0.50:8080", "10.9.0.51:8080 terminating"] ; "nodeport, cluster ip")]
#[test_case("0.0.0.0", 31_000, FrontendType::NodePort, AFFINITY, &["10.9.0.50:8080", "10.9.0.51:8080 terminating"] ; "nodeport, surrogate")]
#[test_case("172.30.0.2", 31_000, FrontendType::NodePort, AFFINITY, &["10.9.0.50:8080", "10.9.0.51:8080 terminating"] ; "nodeport, node address")]
fn frontend_of_the_recorded_maps(
    ip: &str,
    port: u16,
    kind: FrontendType,
    affinity: Option<Duration>,
    backends: &[&str],
) {
    let agent = recorded_agent();
    let frontend = &agent.maps[&tcp(ip, port)];
    assert_eq!((frontend.kind, frontend.session_affinity), (kind, affinity));
    assert_eq!(agent.backends(frontend.address), backends, "in the order of the recorded slots");
}

#[test]
fn no_other_frontends_than_recorded() {
    let masters = |line: &&str| line.contains("(0) [") && !line.contains("/ANY");
    let recorded: BTreeSet<String> = read("cli/bpf-lb-list.txt")
        .lines()
        .filter(masters)
        .map(|line| line.split_whitespace().next().expect("an address").to_owned())
        .collect();
    let wanted: BTreeSet<String> = recorded_agent().maps.keys().map(ToString::to_string).collect();
    assert_eq!(wanted, recorded);
    assert_eq!(wanted.len(), 5);
}

/// For the same objects, the exporter gives what Cilium's clustermesh-apiserver wrote.
#[test]
fn recorded_exporter() {
    let objects: Vec<Object> = serde_saphyr::from_multiple(&read("kvstore/alpha-objects.yaml")).unwrap();
    let (mut services, mut slices) = (Vec::new(), Vec::new());
    for object in objects {
        match object.kind.as_str() {
            "Service" => services.push(object.service()),
            "EndpointSlice" => slices.push(object.slice()),
            _ => {}
        }
    }
    let recorded: BTreeMap<_, _> = records("kvstore/alpha-clustermesh-apiserver-1.20-dev.jsonl")
        .into_iter()
        .map(|(_, service)| (service.key.clone(), service))
        .collect();
    let mut exported = BTreeMap::new();
    for service in &mut services {
        // The API server gave the cluster IPs, so they stand only in the record.
        let frontends = recorded.get(&service.key).map(|recorded| recorded.frontends.keys());
        let ip = |ip: &std::net::IpAddr| ip.to_string().parse().unwrap();
        service.cluster_ips = frontends.into_iter().flatten().map(ip).collect();
        if let Some(value) = export(&cluster("alpha"), id(1), service, slices.iter()) {
            exported.insert(value.key.clone(), value);
        }
    }
    let mut expected = recorded;
    // That development version exported an endpoint that is neither ready nor serving. Releases do not.
    let rebel_base = expected.get_mut(&ServiceKey::new("default", "rebel-base")).unwrap();
    assert!(rebel_base.backends.remove(&"10.1.1.13".parse().unwrap()).is_some());
    assert_eq!(exported, expected);
    assert_eq!(exported.len(), 3, "neither the unshared nor the local-only service");
}
