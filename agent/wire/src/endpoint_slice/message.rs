//! The protobuf message of an endpoint slice (proto2), and what becomes of it.
//!
//! Kubernetes' generator writes fields in the order of their numbers, plain strings and structs always, even when they are
//! empty, pointers only when they are set, and maps in the order of their keys with both halves of each entry. All
//! fields are optional here so that prost writes just those that are `Some`, and maps are lists because prost leaves out an
//! entry's empty halves.

use std::{collections::BTreeMap, net::IpAddr};

use mesh_types::{ClusterName, Protocol};

use super::{
    AddressType, ENDPOINTS_MAX, Endpoint, EndpointPort, EndpointSlice, EndpointSliceError, EndpointSliceKey, PORTS_MAX,
};
use crate::cluster_config::{cluster_id, exported_id};

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct EndpointSliceMessage {
    #[prost(string, optional, tag = "1")]
    pub(super) cluster: Option<String>,
    #[prost(uint32, optional, tag = "2")]
    pub(super) cluster_id: Option<u32>,
    #[prost(string, optional, tag = "3")]
    pub(super) namespace: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub(super) name: Option<String>,
    #[prost(message, repeated, tag = "5")]
    pub(super) labels: Vec<MapEntry>,
    #[prost(message, repeated, tag = "6")]
    pub(super) annotations: Vec<MapEntry>,
    #[prost(string, optional, tag = "7")]
    pub(super) address_type: Option<String>,
    #[prost(message, repeated, tag = "8")]
    pub(super) endpoints: Vec<EndpointMessage>,
    #[prost(message, repeated, tag = "9")]
    pub(super) ports: Vec<EndpointPortMessage>,
}

/// An entry of a map from text to text.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct MapEntry {
    #[prost(string, optional, tag = "1")]
    pub(super) key: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(super) value: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct EndpointMessage {
    #[prost(string, repeated, tag = "1")]
    pub(super) addresses: Vec<String>,
    #[prost(message, optional, tag = "2")]
    pub(super) conditions: Option<ConditionsMessage>,
    #[prost(string, optional, tag = "3")]
    pub(super) hostname: Option<String>,
    #[prost(message, repeated, tag = "5")]
    pub(super) deprecated_topology: Vec<MapEntry>,
    #[prost(string, optional, tag = "6")]
    pub(super) node: Option<String>,
    #[prost(string, optional, tag = "7")]
    pub(super) zone: Option<String>,
    #[prost(message, optional, tag = "8")]
    pub(super) hints: Option<HintsMessage>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct ConditionsMessage {
    #[prost(bool, optional, tag = "1")]
    pub(super) ready: Option<bool>,
    #[prost(bool, optional, tag = "2")]
    pub(super) serving: Option<bool>,
    #[prost(bool, optional, tag = "3")]
    pub(super) terminating: Option<bool>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct HintsMessage {
    #[prost(message, repeated, tag = "1")]
    pub(super) for_zones: Vec<ForZoneMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ForZoneMessage {
    #[prost(string, optional, tag = "1")]
    pub(super) name: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct EndpointPortMessage {
    #[prost(string, optional, tag = "1")]
    pub(super) name: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(super) protocol: Option<String>,
    #[prost(int32, optional, tag = "3")]
    pub(super) port: Option<i32>,
    #[prost(string, optional, tag = "4")]
    pub(super) app_protocol: Option<String>,
}

impl TryFrom<EndpointSliceMessage> for EndpointSlice {
    type Error = EndpointSliceError;

    fn try_from(message: EndpointSliceMessage) -> Result<Self, Self::Error> {
        let filled = |field, text: Option<String>| {
            text.filter(|text| !text.is_empty()).ok_or(EndpointSliceError::Empty { field })
        };
        at_most("endpoints", message.endpoints.len(), ENDPOINTS_MAX)?;
        at_most("ports", message.ports.len(), PORTS_MAX)?;
        let cluster = filled("cluster", message.cluster)?;
        let (namespace, name) = (filled("namespace", message.namespace)?, filled("name", message.name)?);
        let raw = message.cluster_id.unwrap_or_default();
        let address_type = address_type(message.address_type.unwrap_or_default())?;
        let endpoint = |message| endpoint(message, address_type);
        Ok(Self {
            cluster: ClusterName::new(cluster).map_err(EndpointSliceError::Cluster)?,
            cluster_id: cluster_id(raw).map_err(|source| EndpointSliceError::ClusterId { found: raw, source })?,
            key: EndpointSliceKey { namespace, name },
            labels: map(message.labels),
            annotations: map(message.annotations),
            address_type,
            endpoints: message.endpoints.into_iter().map(endpoint).collect::<Result<_, _>>()?,
            ports: message.ports.into_iter().map(port).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&EndpointSlice> for EndpointSliceMessage {
    fn from(slice: &EndpointSlice) -> Self {
        Self {
            cluster: Some(slice.cluster.to_string()),
            cluster_id: Some(exported_id(slice.cluster_id)),
            namespace: Some(slice.key.namespace.clone()),
            name: Some(slice.key.name.clone()),
            labels: map_message(&slice.labels),
            annotations: map_message(&slice.annotations),
            address_type: Some(slice.address_type.to_string()),
            endpoints: slice.endpoints.iter().map(endpoint_message).collect(),
            ports: slice.ports.iter().map(port_message).collect(),
        }
    }
}

fn at_most(field: &'static str, count: usize, limit: usize) -> Result<(), EndpointSliceError> {
    if count > limit { Err(EndpointSliceError::TooMany { field, count, limit }) } else { Ok(()) }
}

fn address_type(text: String) -> Result<AddressType, EndpointSliceError> {
    let known = [AddressType::Ipv4, AddressType::Ipv6];
    known.into_iter().find(|known| known.to_string() == text).ok_or(EndpointSliceError::AddressType { found: text })
}

fn map(entries: Vec<MapEntry>) -> BTreeMap<String, String> {
    entries.into_iter().map(|entry| (entry.key.unwrap_or_default(), entry.value.unwrap_or_default())).collect()
}

fn map_message(map: &BTreeMap<String, String>) -> Vec<MapEntry> {
    map.iter().map(|(key, value)| MapEntry { key: Some(key.clone()), value: Some(value.clone()) }).collect()
}

fn endpoint(message: EndpointMessage, address_type: AddressType) -> Result<Endpoint, EndpointSliceError> {
    let address = |text: String| match text.parse::<IpAddr>() {
        Ok(ip) if address_type.is_of(ip) => Ok(ip),
        Ok(ip) => Err(EndpointSliceError::Family { found: ip, expected: address_type }),
        Err(source) => Err(EndpointSliceError::Address { found: text, source }),
    };
    let conditions = message.conditions.unwrap_or_default();
    let zones =
        |hints: HintsMessage| hints.for_zones.into_iter().map(|zone| zone.name.unwrap_or_default()).collect::<Vec<_>>();
    Ok(Endpoint {
        addresses: message.addresses.into_iter().map(address).collect::<Result<_, _>>()?,
        ready: conditions.ready,
        serving: conditions.serving,
        terminating: conditions.terminating,
        hostname: message.hostname,
        deprecated_topology: map(message.deprecated_topology),
        node: message.node,
        zone: message.zone,
        for_zones: message.hints.map(zones),
    })
}

fn endpoint_message(endpoint: &Endpoint) -> EndpointMessage {
    let zone = |name: &String| ForZoneMessage { name: Some(name.clone()) };
    EndpointMessage {
        addresses: endpoint.addresses.iter().map(IpAddr::to_string).collect(),
        conditions: Some(ConditionsMessage {
            ready: endpoint.ready,
            serving: endpoint.serving,
            terminating: endpoint.terminating,
        }),
        hostname: endpoint.hostname.clone(),
        deprecated_topology: map_message(&endpoint.deprecated_topology),
        node: endpoint.node.clone(),
        zone: endpoint.zone.clone(),
        hints: endpoint.for_zones.as_ref().map(|zones| HintsMessage { for_zones: zones.iter().map(zone).collect() }),
    }
}

fn port(message: EndpointPortMessage) -> Result<EndpointPort, EndpointSliceError> {
    let name = || message.name.clone().unwrap_or_default();
    let protocol = |text: &String| {
        text.parse::<Protocol>().map_err(|source| EndpointSliceError::Protocol { port: name(), source })
    };
    let number = |found: i32| u16::try_from(found).map_err(|_| EndpointSliceError::Port { port: name(), found });
    Ok(EndpointPort {
        protocol: message.protocol.as_ref().map(protocol).transpose()?,
        port: message.port.map(number).transpose()?,
        name: message.name,
        app_protocol: message.app_protocol,
    })
}

fn port_message(port: &EndpointPort) -> EndpointPortMessage {
    EndpointPortMessage {
        name: port.name.clone(),
        protocol: port.protocol.map(|protocol| protocol.to_string()),
        port: port.port.map(i32::from),
        app_protocol: port.app_protocol.clone(),
    }
}
