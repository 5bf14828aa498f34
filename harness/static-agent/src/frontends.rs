//! From a snapshot to what the maps should hold: cluster IPs and the ready endpoints behind them. Pure.

use std::collections::BTreeSet;

use mesh_core::{AddressType, LocalService, ServicePort};
use mesh_types::{
    Backend, BackendAddress, BackendState, Frontend, FrontendAddress, FrontendType, Scope, TrafficPolicies,
};

use crate::snapshot::Snapshot;

/// A frontend for each cluster IP and port.
pub(crate) fn of(snapshot: &Snapshot) -> Vec<Frontend> {
    let mut frontends = Vec::new();
    for service in &snapshot.services {
        for port in &service.ports {
            let backends = backends(snapshot, service, port);
            frontends.extend(service.cluster_ips.iter().map(|ip| Frontend {
                address: FrontendAddress { ip: *ip, port: port.port, protocol: port.protocol, scope: Scope::External },
                kind: FrontendType::ClusterIp,
                service: service.key.clone(),
                session_affinity: service.session_affinity,
                policies: TrafficPolicies::default(),
                algorithm: None,
                backends: backends.clone(),
            }));
        }
    }
    frontends
}

/// Ready endpoints of the service's own cluster, in the order of slots.
fn backends(snapshot: &Snapshot, service: &LocalService, port: &ServicePort) -> Vec<Backend> {
    let of_service = snapshot.slices.iter().filter(|slice| {
        slice.address_type == AddressType::Ipv4
            && slice.namespace == service.key.namespace
            && slice.service.as_ref() == Some(&service.key.name)
    });
    let mut backends = BTreeSet::new();
    for slice in of_service {
        let targets =
            slice.ports.iter().filter(|target| (&target.name, target.protocol) == (&port.name, port.protocol));
        for target in targets {
            // An absent condition means ready (EndpointConditions of discovery.k8s.io/v1).
            let ready = slice.endpoints.iter().filter(|endpoint| endpoint.ready != Some(false));
            backends.extend(ready.flat_map(|endpoint| &endpoint.addresses).map(|ip| Backend {
                state: BackendState::Active,
                address: BackendAddress { ip: *ip, port: target.port, protocol: target.protocol },
                cluster: None,
            }));
        }
    }
    backends.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::of;
    use crate::snapshot::Snapshot;

    fn snapshot(services: &[Value], slices: &[Value]) -> Snapshot {
        let service = |value: &Value| mesh_k8s::service(&serde_json::from_value(value.clone()).unwrap());
        let slice = |value: &Value| mesh_k8s::slice(&serde_json::from_value(value.clone()).unwrap());
        Snapshot { services: services.iter().map(service).collect(), slices: slices.iter().map(slice).collect() }
    }

    fn service(name: &str) -> Value {
        json!({
            "metadata": {"namespace": "default", "name": name, "annotations": {"service.cilium.io/global": "true"}},
            "spec": {"clusterIP": "10.101.0.10", "ports": [{"name": "web", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]},
        })
    }

    #[test]
    fn ready_endpoints_by_port_name() {
        let slice = json!({
            "metadata": {"namespace": "default", "name": "a-1", "labels": {"kubernetes.io/service-name": "a"}},
            "addressType": "IPv4",
            "ports": [{"name": "web", "protocol": "TCP", "port": 8080}],
            "endpoints": [
                {"addresses": ["10.1.1.3"], "conditions": {"ready": true}},
                {"addresses": ["10.1.1.2"], "conditions": {}},
                {"addresses": ["10.1.1.4"], "conditions": {"ready": false}},
            ],
        });
        let found = of(&snapshot(&[service("a")], &[slice]));
        let text: Vec<_> = found
            .iter()
            .map(|frontend| {
                let backends: Vec<_> = frontend.backends.iter().map(|backend| backend.address.to_string()).collect();
                format!("{} -> {}", frontend.address, backends.join(" "))
            })
            .collect();
        assert_eq!(text, ["10.101.0.10:80/TCP -> 10.1.1.2:8080/TCP 10.1.1.3:8080/TCP", "10.101.0.10:53/UDP -> "]);
    }

    #[test]
    fn slices_of_others_do_not_count() {
        let slice = |namespace: &str, service: &str| {
            json!({
                "metadata": {"namespace": namespace, "name": "x", "labels": {"kubernetes.io/service-name": service}},
                "addressType": "IPv4", "ports": [{"name": "web", "port": 8080}],
                "endpoints": [{"addresses": ["10.1.1.3"]}],
            })
        };
        let found = of(&snapshot(&[service("a")], &[slice("default", "b"), slice("other", "a")]));
        assert!(found.iter().all(|frontend| frontend.backends.is_empty()), "{found:?}");
    }

    #[test]
    fn kubernetes_itself_is_nothing_to_wait_for() {
        assert!(!snapshot(&[service("kubernetes")], &[]).has_services());
        assert!(snapshot(&[service("kubernetes"), service("a")], &[]).has_services());
    }
}
