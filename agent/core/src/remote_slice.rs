//! An endpoint slice of a remote cluster (format v2), reduced to what load balancing needs.

use std::net::{IpAddr, Ipv4Addr};

use mesh_types::{ClusterId, ClusterName, Protocol, ServiceKey};

use mesh_wire::EndpointSlice;

use crate::{AddressType, Conditions, SlicePort, slices::Slice};

/// An endpoint slice of a remote cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteSlice {
    /// The cluster that exports it.
    pub cluster: ClusterName,
    /// ID of that cluster.
    pub cluster_id: ClusterId,
    /// Namespace.
    pub namespace: String,
    /// Name of the slice.
    pub name: String,
    /// Value of its label [`SERVICE_NAME_LABEL`](crate::SERVICE_NAME_LABEL); a slice without it is ignored.
    pub service: Option<String>,
    /// Kind of addresses; all but IPv4 are ignored.
    pub address_type: AddressType,
    /// Ports that every endpoint of the slice has.
    pub ports: Vec<SlicePort>,
    /// Endpoints.
    pub endpoints: Vec<RemoteEndpoint>,
}

/// One endpoint of a remote slice.
///
/// The node that it runs on is left out on purpose: it is none of this cluster's nodes, even if it has the name of one,
/// and a traffic policy `Local` lets backends without a node pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteEndpoint {
    /// IPv4 addresses of one pod.
    pub addresses: Vec<Ipv4Addr>,
    /// Whether it is ready, serving, terminating.
    pub conditions: Conditions,
    /// Zone that it runs in.
    pub zone: Option<String>,
    /// Names of the zones that should use it (`hints.forZones`).
    pub hints: Vec<String>,
}

impl From<&EndpointSlice> for RemoteSlice {
    fn from(slice: &EndpointSlice) -> Self {
        let ports = slice.ports.iter().filter_map(|port| {
            let protocol = port.protocol.unwrap_or(Protocol::Tcp);
            Some(SlicePort { name: port.name.clone().unwrap_or_default(), protocol, port: port.port? })
        });
        let endpoints = slice.endpoints.iter().map(|endpoint| RemoteEndpoint {
            addresses: endpoint.addresses.iter().filter_map(ipv4).collect(),
            conditions: Conditions {
                ready: endpoint.ready,
                serving: endpoint.serving,
                terminating: endpoint.terminating,
            },
            zone: endpoint.zone.clone(),
            hints: endpoint.for_zones.clone().unwrap_or_default(),
        });
        Self {
            cluster: slice.cluster.clone(),
            cluster_id: slice.cluster_id,
            namespace: slice.key.namespace.clone(),
            name: slice.key.name.clone(),
            service: slice.service().map(|service| service.name),
            address_type: match slice.address_type {
                mesh_wire::AddressType::Ipv4 => AddressType::Ipv4,
                mesh_wire::AddressType::Ipv6 => AddressType::Ipv6,
            },
            ports: ports.collect(),
            endpoints: endpoints.collect(),
        }
    }
}

fn ipv4(address: &IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    }
}

impl Slice for RemoteSlice {
    fn service_key(&self) -> Option<ServiceKey> {
        match (&self.service, self.address_type) {
            (Some(service), AddressType::Ipv4) => Some(ServiceKey::new(&self.namespace, service)),
            _ => None,
        }
    }
}
