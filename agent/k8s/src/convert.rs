//! Kubernetes objects, reduced to what the mesh needs. What cannot be understood is left out, as kube-proxy does.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use k8s_openapi::{
    api::{
        core::v1::{Namespace, Node, Pod, Service, ServicePort as ApiServicePort},
        discovery::v1::{Endpoint, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use mesh_core::{
    AddressType, LocalEndpoint, LocalService, LocalSlice, SERVICE_NAME_LABEL, ServiceKind, ServicePort, SlicePort,
    TargetPort, TrafficDistribution,
};
use mesh_types::{Protocol, ServiceKey, TrafficPolicies, TrafficPolicy};

/// Kubernetes' default of `sessionAffinityConfig.clientIP.timeoutSeconds`: three hours.
const SESSION_AFFINITY_TIMEOUT: u64 = 3 * 60 * 60;

/// Reduces a Service.
pub fn service(object: &Service) -> LocalService {
    let spec = object.spec.clone().unwrap_or_default();
    let metadata = &object.metadata;
    let single = || spec.cluster_ip.iter().cloned().collect();
    let cluster_ips: Vec<String> = spec.cluster_ips.clone().filter(|ips| !ips.is_empty()).unwrap_or_else(single);
    let session_affinity = (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
        let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
        let seconds = config.and_then(|config| config.timeout_seconds).and_then(|seconds| u64::try_from(seconds).ok());
        Duration::from_secs(seconds.filter(|seconds| *seconds != 0).unwrap_or(SESSION_AFFINITY_TIMEOUT))
    });
    LocalService {
        key: ServiceKey::new(metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default()),
        // `None` of a headless service is no address.
        cluster_ips: addresses(&cluster_ips),
        external_ips: addresses(spec.external_ips.as_deref().unwrap_or_default()),
        load_balancer_ips: load_balancer_ips(object),
        ports: spec.ports.iter().flatten().filter_map(service_port).collect(),
        session_affinity,
        policies: TrafficPolicies {
            external: policy(spec.external_traffic_policy.as_deref()),
            internal: policy(spec.internal_traffic_policy.as_deref()),
        },
        distribution: match spec.traffic_distribution.as_deref() {
            Some("PreferClose" | "PreferSameZone") => TrafficDistribution::Zone,
            _ => TrafficDistribution::Any,
        },
        annotations: metadata.annotations.clone().unwrap_or_default(),
        labels: metadata.labels.clone().unwrap_or_default(),
        selector: spec.selector.clone().unwrap_or_default(),
        kind: match spec.type_.as_deref() {
            Some("NodePort") => ServiceKind::NodePort,
            Some("LoadBalancer") => ServiceKind::LoadBalancer,
            Some("ExternalName") => ServiceKind::ExternalName,
            _ => ServiceKind::ClusterIp,
        },
    }
}

/// A Namespace, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalNamespace {
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its labels, which are part of its pods' identities.
    pub labels: BTreeMap<String, String>,
}

/// Reduces a Namespace.
pub fn namespace(object: &Namespace) -> LocalNamespace {
    LocalNamespace {
        annotations: object.metadata.annotations.clone().unwrap_or_default(),
        labels: object.metadata.labels.clone().unwrap_or_default(),
    }
}

/// A Node, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalNode {
    /// Its UID.
    pub uid: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its addresses with their kinds, such as `InternalIP`; names are left out.
    pub addresses: Vec<(String, String)>,
    /// Addresses of its pods.
    pub pod_cidrs: Vec<String>,
}

impl LocalNode {
    /// Label with the zone that a node is in.
    const ZONE: &'static str = "topology.kubernetes.io/zone";

    /// The zone that it is in.
    pub fn zone(&self) -> Option<String> {
        self.labels.get(Self::ZONE).filter(|zone| !zone.is_empty()).cloned()
    }

    /// Its IPv4 addresses by which other machines reach it.
    pub fn ipv4(&self) -> Vec<Ipv4Addr> {
        self.addresses.iter().filter_map(|(_, ip)| ip.parse().ok()).collect()
    }
}

/// Reduces a Node.
pub fn node(object: &Node) -> LocalNode {
    /// Kinds of addresses that are addresses.
    const KINDS: [&str; 2] = ["InternalIP", "ExternalIP"];
    let spec = object.spec.as_ref();
    let single = || spec.and_then(|spec| spec.pod_cidr.clone()).into_iter().collect();
    let addresses = object.status.as_ref().and_then(|status| status.addresses.as_ref()).into_iter().flatten();
    LocalNode {
        uid: object.metadata.uid.clone().unwrap_or_default(),
        labels: object.metadata.labels.clone().unwrap_or_default(),
        addresses: addresses
            .filter(|address| KINDS.contains(&address.type_.as_str()))
            .map(|address| (address.type_.clone(), address.address.clone()))
            .collect(),
        pod_cidrs: spec.and_then(|spec| spec.pod_cidrs.clone()).unwrap_or_else(single),
    }
}

/// A Pod, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalPod {
    /// Its UID.
    pub uid: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its addresses; none while it has no network, after its end, and when it has its node's.
    pub addresses: Vec<String>,
    /// Its service account; empty for the default one.
    pub service_account: String,
    /// Ports that have names: name, number and protocol.
    pub named_ports: Vec<(String, u16, String)>,
}

/// Reduces a Pod.
pub fn pod(object: &Pod) -> LocalPod {
    let (spec, status) = (object.spec.as_ref(), object.status.as_ref());
    let has_own = spec.is_none_or(|spec| spec.host_network != Some(true));
    let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or_default();
    let lives = !["Succeeded", "Failed"].contains(&phase);
    let addresses = status.filter(|_| has_own && lives).map(|status| {
        let all = status.pod_ips.iter().flatten().map(|ip| ip.ip.clone()).collect::<Vec<_>>();
        if all.is_empty() { status.pod_ip.iter().cloned().collect() } else { all }
    });
    let ports =
        spec.into_iter().flat_map(|spec| &spec.containers).flat_map(|container| container.ports.iter().flatten());
    let named_ports = ports.filter_map(|port| {
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        Some((port.name.clone()?, port_number(port.container_port)?, protocol))
    });
    LocalPod {
        uid: object.metadata.uid.clone().unwrap_or_default(),
        labels: object.metadata.labels.clone().unwrap_or_default(),
        addresses: addresses.unwrap_or_default().into_iter().filter(|ip| !ip.is_empty()).collect(),
        service_account: spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_default(),
        named_ports: named_ports.collect(),
    }
}

/// Those that are IPv4.
fn addresses(texts: &[String]) -> Vec<Ipv4Addr> {
    texts.iter().filter_map(|ip| ip.parse().ok()).collect()
}

/// Addresses of the service's load balancer at which nodes may answer themselves: not those of mode `Proxy` (KEP-1860).
fn load_balancer_ips(object: &Service) -> Vec<Ipv4Addr> {
    let status = object.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.into_iter().flat_map(|status| status.ingress.iter().flatten());
    let direct = ingress.filter(|ingress| ingress.ip_mode.as_deref().is_none_or(|mode| mode == "VIP"));
    direct.filter_map(|ingress| ingress.ip.as_ref()?.parse().ok()).collect()
}

/// Anything but `Local` is `Cluster`.
fn policy(name: Option<&str>) -> TrafficPolicy {
    if name == Some("Local") { TrafficPolicy::Local } else { TrafficPolicy::Cluster }
}

fn service_port(port: &ApiServicePort) -> Option<ServicePort> {
    let number = port_number(port.port)?;
    Some(ServicePort {
        name: port.name.clone().unwrap_or_default(),
        port: number,
        protocol: protocol(port.protocol.as_deref())?,
        node_port: port.node_port.and_then(port_number),
        target: match &port.target_port {
            Some(IntOrString::String(name)) => TargetPort::Name(name.clone()),
            Some(IntOrString::Int(target)) => TargetPort::Number(port_number(*target).unwrap_or(number)),
            None => TargetPort::Number(number),
        },
    })
}

/// Reduces an EndpointSlice.
pub fn slice(object: &EndpointSlice) -> LocalSlice {
    let metadata = &object.metadata;
    LocalSlice {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        service: metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME_LABEL)).cloned(),
        labels: metadata.labels.clone().unwrap_or_default(),
        annotations: metadata.annotations.clone().unwrap_or_default(),
        address_type: match object.address_type.as_str() {
            "IPv4" => AddressType::Ipv4,
            "IPv6" => AddressType::Ipv6,
            _ => AddressType::Fqdn,
        },
        ports: object.ports.iter().flatten().filter_map(slice_port).collect(),
        endpoints: object.endpoints.iter().flatten().map(endpoint).collect(),
    }
}

fn slice_port(port: &EndpointPort) -> Option<SlicePort> {
    Some(SlicePort {
        name: port.name.clone().unwrap_or_default(),
        protocol: protocol(port.protocol.as_deref())?,
        port: port.port.and_then(port_number)?,
    })
}

fn endpoint(endpoint: &Endpoint) -> LocalEndpoint {
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    let zones = endpoint.hints.iter().flat_map(|hints| hints.for_zones.iter().flatten());
    LocalEndpoint {
        addresses: endpoint.addresses.iter().filter_map(|ip| ip.parse::<Ipv4Addr>().ok()).collect(),
        ready: conditions.ready,
        serving: conditions.serving,
        terminating: conditions.terminating,
        hostname: endpoint.hostname.clone(),
        node_name: endpoint.node_name.clone(),
        zone: endpoint.zone.clone(),
        hints: zones.map(|zone| zone.name.clone()).collect(),
    }
}

/// Absent means TCP.
fn protocol(name: Option<&str>) -> Option<Protocol> {
    name.map_or(Some(Protocol::Tcp), |name| name.parse().ok())
}

fn port_number(number: i32) -> Option<u16> {
    u16::try_from(number).ok().filter(|number| *number != 0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read_service(value: Value) -> LocalService {
        service(&serde_json::from_value(value).expect("a Service"))
    }

    #[test]
    fn a_service_keeps_what_matters() {
        let service = read_service(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "namespace": "default", "name": "rebel-base",
                "annotations": {"service.cilium.io/global": "true"}, "labels": {"a": "b"},
            },
            "spec": {
                "type": "NodePort", "clusterIP": "10.101.0.10", "clusterIPs": ["10.101.0.10", "fd00::10"],
                "selector": {"name": "rebel-base"},
                "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 42}},
                "externalTrafficPolicy": "Local", "internalTrafficPolicy": "Cluster", "trafficDistribution": "PreferClose",
                "externalIPs": ["192.0.2.7", "2001:db8::7"],
                "ports": [
                    {"port": 80, "nodePort": 31000, "targetPort": 8080, "protocol": "TCP"},
                    {"name": "dns", "port": 53, "targetPort": "dns", "protocol": "UDP"},
                    {"name": "odd", "port": 1, "protocol": "QUIC"},
                ],
            },
            "status": {"loadBalancer": {"ingress": [
                {"ip": "192.0.2.1"}, {"ip": "192.0.2.2", "ipMode": "VIP"}, {"ip": "192.0.2.3", "ipMode": "Proxy"},
                {"hostname": "lb.example.com"},
            ]}},
        }));
        assert_eq!(service.key, ServiceKey::new("default", "rebel-base"));
        assert_eq!(service.cluster_ips, [Ipv4Addr::new(10, 101, 0, 10)], "IPv6 is left out");
        assert_eq!(service.external_ips, [Ipv4Addr::new(192, 0, 2, 7)]);
        assert_eq!(service.load_balancer_ips, [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)]);
        let policies = TrafficPolicies { external: TrafficPolicy::Local, internal: TrafficPolicy::Cluster };
        assert_eq!(service.policies, policies);
        assert_eq!(service.distribution, TrafficDistribution::Zone);
        assert_eq!(service.kind, ServiceKind::NodePort);
        assert_eq!(service.session_affinity, Some(Duration::from_secs(42)));
        assert_eq!(service.selector["name"], "rebel-base");
        assert_eq!(service.annotations["service.cilium.io/global"], "true");
        let web = ServicePort {
            name: String::new(),
            port: 80,
            protocol: Protocol::Tcp,
            node_port: Some(31000),
            target: TargetPort::Number(8080),
        };
        let dns = ServicePort {
            name: "dns".into(),
            port: 53,
            protocol: Protocol::Udp,
            node_port: None,
            target: TargetPort::Name("dns".into()),
        };
        assert_eq!(service.ports, [web, dns], "a protocol that we do not know is left out");
    }

    #[test]
    fn a_headless_service_has_no_address() {
        let service = read_service(json!({
            "metadata": {"namespace": "default", "name": "x"},
            "spec": {"clusterIP": "None", "clusterIPs": ["None"], "sessionAffinity": "None"},
        }));
        assert!(service.cluster_ips.is_empty());
        assert_eq!(service.session_affinity, None);
        assert_eq!(service.kind, ServiceKind::ClusterIp);
    }

    #[test]
    fn session_affinity_without_a_time_out_lasts_three_hours() {
        for config in [json!({}), json!({"clientIP": {}}), json!({"clientIP": {"timeoutSeconds": 0}})] {
            let service = read_service(json!({
                "metadata": {"namespace": "a", "name": "b"},
                "spec": {"sessionAffinity": "ClientIP", "sessionAffinityConfig": config},
            }));
            assert_eq!(service.session_affinity, Some(Duration::from_secs(10_800)));
        }
    }

    #[test]
    fn a_single_cluster_ip_is_enough() {
        let service =
            read_service(json!({"metadata": {"namespace": "a", "name": "b"}, "spec": {"clusterIP": "10.0.0.1"}}));
        assert_eq!(service.cluster_ips, [Ipv4Addr::new(10, 0, 0, 1)]);
    }

    #[test]
    fn a_slice_keeps_what_matters() {
        let object = json!({
            "metadata": {
                "namespace": "default", "name": "rebel-base-x7", "labels": {"kubernetes.io/service-name": "rebel-base"},
                "annotations": {"a": "b"},
            },
            "addressType": "IPv4",
            "ports": [{"name": "", "protocol": "TCP", "port": 80}, {"name": "all"}],
            "endpoints": [{
                "addresses": ["10.1.1.2"], "conditions": {"ready": false, "serving": true, "terminating": true},
                "nodeName": "alpha-1", "zone": "a", "hints": {"forZones": [{"name": "a"}]}, "hostname": "web-0",
            }, {"addresses": ["10.1.1.3"]}],
        });
        let slice = slice(&serde_json::from_value::<EndpointSlice>(object).expect("an EndpointSlice"));
        assert_eq!(slice.service.as_deref(), Some("rebel-base"));
        assert_eq!(slice.labels[SERVICE_NAME_LABEL], "rebel-base");
        assert_eq!(slice.annotations["a"], "b");
        assert_eq!(slice.address_type, AddressType::Ipv4);
        assert_eq!(slice.ports, [SlicePort { name: String::new(), protocol: Protocol::Tcp, port: 80 }]);
        let terminating = LocalEndpoint {
            addresses: vec![Ipv4Addr::new(10, 1, 1, 2)],
            ready: Some(false),
            serving: Some(true),
            terminating: Some(true),
            hostname: Some("web-0".into()),
            node_name: Some("alpha-1".into()),
            zone: Some("a".into()),
            hints: vec!["a".into()],
        };
        assert_eq!(slice.endpoints[0], terminating);
        assert_eq!(slice.endpoints[1].ready, None, "an absent condition stays absent");
    }
}
