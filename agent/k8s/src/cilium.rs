//! Cilium's own kinds of objects (group `cilium.io`, version `v2`), with the fields that the mesh needs, and what they mean
//! in the words of the kvstore.
//!
//! Fields are those of Cilium's Go types (`pkg/k8s/apis/cilium.io/v2/types.go`). Unknown ones are dropped.

use std::{borrow::Cow, collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use k8s_openapi::{
    ClusterResourceScope, NamespaceResourceScope,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use mesh_types::{ClusterId, ClusterName, NumericIdentity};
use mesh_wire::{IdentityLabels, IpEntry, IpPrefix, NamedPort, Node, NodeAddress};
use serde::{Deserialize, Deserializer, Serialize};

/// Group of the kinds.
pub(crate) const GROUP: &str = "cilium.io";
/// Their version.
pub(crate) const VERSION: &str = "v2";
/// Both, as objects name them.
const API_VERSION: &str = "cilium.io/v2";
/// Where the exporter has a node from.
const SOURCE: &str = "custom-resource";

/// A kind of object without a schema: what kube needs to know of it.
macro_rules! kind {
    ($name:ident, $plural:literal, $scope:ty) => {
        impl kube::Resource for $name {
            type DynamicType = ();
            type Scope = $scope;

            fn kind((): &()) -> Cow<'_, str> {
                stringify!($name).into()
            }

            fn group((): &()) -> Cow<'_, str> {
                GROUP.into()
            }

            fn version((): &()) -> Cow<'_, str> {
                VERSION.into()
            }

            fn plural((): &()) -> Cow<'_, str> {
                $plural.into()
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

kind!(CiliumNode, "ciliumnodes", ClusterResourceScope);
kind!(CiliumIdentity, "ciliumidentities", ClusterResourceScope);
kind!(CiliumEndpoint, "ciliumendpoints", NamespaceResourceScope);

fn api_version() -> String {
    API_VERSION.to_owned()
}

/// A node as its agent describes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CiliumNode {
    /// `cilium.io/v2`.
    #[serde(default = "api_version")]
    pub api_version: String,
    /// `CiliumNode`.
    #[serde(default)]
    pub kind: String,
    /// The name is the node's.
    pub metadata: ObjectMeta,
    /// See [`CiliumNodeSpec`].
    #[serde(default)]
    pub spec: CiliumNodeSpec,
}

/// What there is to know of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CiliumNodeSpec {
    /// Its addresses.
    #[serde(deserialize_with = "null_as_default")]
    pub addresses: Vec<CiliumNodeAddress>,
    /// Addresses of its pods.
    #[serde(deserialize_with = "null_as_default")]
    pub ipam: CiliumNodeIpam,
    /// Addresses of its health endpoint.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    pub health: AddressPair,
    /// Addresses of its ingress proxy.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    pub ingress: AddressPair,
    /// How it encrypts.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    pub encryption: Encryption,
    /// The kernel's random ID of this boot.
    #[serde(rename = "bootid", skip_serializing_if = "String::is_empty")]
    pub boot_id: String,
}

/// One address of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CiliumNodeAddress {
    /// `InternalIP`, `ExternalIP`, `CiliumInternalIP`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// The address.
    pub ip: String,
}

/// Addresses of a node's pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CiliumNodeIpam {
    /// CIDRs of both families.
    #[serde(rename = "podCIDRs")]
    #[serde(deserialize_with = "null_as_default")]
    pub pod_cidrs: Vec<String>,
}

/// An address of each family, empty when there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AddressPair {
    /// IPv4.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ipv4: String,
    /// IPv6.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ipv6: String,
}

/// How somebody encrypts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Encryption {
    /// 0: not at all; 1 to 15: SPI of IPsec; 255: WireGuard.
    #[serde(skip_serializing_if = "is_default")]
    pub key: u8,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A field that is `null` reads as one that is not there, as in Go.
fn null_as_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl CiliumNode {
    /// One with this name.
    pub fn new(name: &str, spec: CiliumNodeSpec) -> Self {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        Self { api_version: api_version(), kind: "CiliumNode".to_owned(), metadata, spec }
    }

    /// Hangs it on the Node object with this UID: it goes with it.
    pub fn owned_by(mut self, uid: &str) -> Self {
        self.metadata.owner_references = Some(vec![owner("Node", self.name(), uid)]);
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// The node as `cluster` exports it. What is no address is left out.
    pub fn exported(&self, cluster: &ClusterName, cluster_id: ClusterId) -> Node {
        let address = |address: &CiliumNodeAddress| {
            let ip = address.ip.parse().ok()?;
            Some(NodeAddress { kind: address.kind.clone(), ip })
        };
        let cidrs: Vec<IpNet> = self.spec.ipam.pod_cidrs.iter().filter_map(|cidr| cidr.parse().ok()).collect();
        let mut v4 = cidrs.iter().filter_map(|cidr| if let IpNet::V4(net) = cidr { Some(*net) } else { None });
        let mut v6 = cidrs.iter().filter_map(|cidr| if let IpNet::V6(net) = cidr { Some(*net) } else { None });
        Node {
            name: self.name().to_owned(),
            cluster: cluster.clone(),
            addresses: self.spec.addresses.iter().filter_map(address).collect(),
            ipv4_pods: v4.next(),
            ipv4_pods_secondary: v4.collect(),
            ipv6_pods: v6.next(),
            ipv6_pods_secondary: v6.collect(),
            ipv4_health: self.spec.health.ipv4.parse().ok(),
            ipv6_health: self.spec.health.ipv6.parse().ok(),
            ipv4_ingress: self.spec.ingress.ipv4.parse().ok(),
            ipv6_ingress: self.spec.ingress.ipv6.parse().ok(),
            cluster_id,
            source: SOURCE.to_owned(),
            encryption_key: self.spec.encryption.key,
            labels: self.metadata.labels.clone(),
            annotations: self.metadata.annotations.clone(),
            identity: None,
            wireguard_public_key: String::new(),
            boot_id: self.spec.boot_id.clone(),
        }
    }
}

/// An identity that a cluster has given out. Its name is the number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CiliumIdentity {
    /// `cilium.io/v2`.
    #[serde(default = "api_version")]
    pub api_version: String,
    /// `CiliumIdentity`.
    #[serde(default)]
    pub kind: String,
    /// The name is the number.
    pub metadata: ObjectMeta,
    /// The labels, with their sources in the keys.
    #[serde(rename = "security-labels", default)]
    pub security_labels: BTreeMap<String, String>,
}

impl CiliumIdentity {
    /// The identity `number`, which stands for `labels`.
    pub fn new(number: NumericIdentity, labels: &IdentityLabels) -> Self {
        let namespace = labels.k8s(mesh_wire::LABEL_NAMESPACE).map(str::to_owned);
        let metadata = ObjectMeta {
            name: Some(number.get().to_string()),
            labels: namespace.map(|namespace| [(mesh_wire::LABEL_NAMESPACE.to_owned(), namespace)].into()),
            ..ObjectMeta::default()
        };
        let text = |(key, label): (&str, &mesh_wire::Label)| (format!("{}:{key}", label.source), label.value.clone());
        Self {
            api_version: api_version(),
            kind: "CiliumIdentity".to_owned(),
            metadata,
            security_labels: labels.iter().map(text).collect(),
        }
    }

    /// The number; `None` for a name that is none.
    pub fn number(&self) -> Option<NumericIdentity> {
        number(self.metadata.name.as_deref().unwrap_or_default())
    }

    /// What the number stands for. Labels that cannot be written are left out.
    pub fn identity_labels(&self) -> IdentityLabels {
        let mut labels = IdentityLabels::new();
        for (key, value) in &self.security_labels {
            let (source, key) = key.split_once(':').unwrap_or((mesh_wire::SOURCE_K8S, key));
            if let Err(error) = labels.insert(source, key, value) {
                tracing::debug!(%error, "label of an identity is left out");
            }
        }
        labels
    }
}

/// The number of an identity's name.
pub(crate) fn number(name: &str) -> Option<NumericIdentity> {
    name.parse().ok().map(NumericIdentity::new)
}

/// A pod that has an address, as the agent of its node describes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CiliumEndpoint {
    /// `cilium.io/v2`.
    #[serde(default = "api_version")]
    pub api_version: String,
    /// `CiliumEndpoint`.
    #[serde(default)]
    pub kind: String,
    /// Namespace and name are the pod's.
    pub metadata: ObjectMeta,
    /// See [`CiliumEndpointStatus`].
    #[serde(default)]
    pub status: CiliumEndpointStatus,
}

/// What there is to know of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct CiliumEndpointStatus {
    /// Its identity.
    #[serde(deserialize_with = "null_as_default")]
    pub identity: EndpointIdentity,
    /// Its addresses.
    #[serde(deserialize_with = "null_as_default")]
    pub networking: EndpointNetworking,
    /// `ready`, …
    #[serde(skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// Ports that have names.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub named_ports: Vec<EndpointPort>,
    /// How its node encrypts.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    pub encryption: Encryption,
    /// Service account of the pod; told from 1.19 on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_account: String,
}

/// The identity of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointIdentity {
    /// Its number.
    pub id: u32,
    /// What the number stands for, as `source:key=value`.
    #[serde(deserialize_with = "null_as_default")]
    pub labels: Vec<String>,
}

/// Where an endpoint is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointNetworking {
    /// Its addresses.
    #[serde(deserialize_with = "null_as_default")]
    pub addressing: Vec<AddressPair>,
    /// Address of its node.
    pub node: String,
}

/// A port of an endpoint that has a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointPort {
    /// The name.
    pub name: String,
    /// Host byte order.
    pub port: u16,
    /// `TCP`, …
    pub protocol: String,
}

impl CiliumEndpoint {
    /// The endpoint of a pod.
    pub fn new(namespace: &str, name: &str, status: CiliumEndpointStatus) -> Self {
        let metadata =
            ObjectMeta { namespace: Some(namespace.to_owned()), name: Some(name.to_owned()), ..ObjectMeta::default() };
        Self { api_version: api_version(), kind: "CiliumEndpoint".to_owned(), metadata, status }
    }

    /// Hangs it on the Pod object with this UID: it goes with it.
    pub fn owned_by(mut self, uid: &str) -> Self {
        let name = self.metadata.name.as_deref().unwrap_or_default();
        self.metadata.owner_references = Some(vec![owner("Pod", name, uid)]);
        self
    }

    /// Its addresses as a cluster exports them. What is no address, and everything of an endpoint without an identity, is
    /// left out.
    pub fn exported(&self) -> Vec<IpEntry> {
        let status = &self.status;
        if status.identity.id == 0 {
            return Vec::new();
        }
        let pairs = status.networking.addressing.iter().flat_map(|pair| [&pair.ipv4, &pair.ipv6]);
        let addresses = pairs.filter_map(|text| text.parse::<IpAddr>().ok());
        let ports = status.named_ports.iter().filter_map(|port| {
            let protocol = port.protocol.parse().ok()?;
            Some((port.name.clone(), NamedPort { port: port.port, protocol }))
        });
        let named_ports: BTreeMap<String, NamedPort> = ports.collect();
        let entry = |ip| IpEntry {
            prefix: IpPrefix::Address(ip),
            host: status.networking.node.parse().ok(),
            identity: NumericIdentity::new(status.identity.id),
            encryption_key: status.encryption.key,
            metadata: String::new(),
            namespace: self.metadata.namespace.clone().unwrap_or_default(),
            pod: self.metadata.name.clone().unwrap_or_default(),
            service_account: status.service_account.clone(),
            named_ports: named_ports.clone(),
        };
        addresses.map(entry).collect()
    }
}

fn owner(kind: &str, name: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: "v1".to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        ..OwnerReference::default()
    }
}

#[cfg(test)]
mod tests {
    use mesh_types::MaxConnectedClusters;
    use serde_json::json;

    use super::*;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).expect("text")
    }

    /// `fixtures/vectors/kvstore/alpha-objects.yaml` and what the recorded exporter made of it.
    #[test]
    fn the_recorded_node() {
        let node: CiliumNode = serde_json::from_value(json!({
            "apiVersion": "cilium.io/v2", "kind": "CiliumNode",
            "metadata": {"name": "node-1", "labels": {"kubernetes.io/os": "linux"}},
            "spec": {
                "addresses": [
                    {"ip": "172.18.0.2", "type": "InternalIP"}, {"ip": "10.1.0.1", "type": "CiliumInternalIP"},
                    {"ip": "fc00:c111::2", "type": "InternalIP"},
                ],
                "bootid": "570d3fd1-0000-0000-0000-000000000000", "encryption": {}, "eni": {},
                "health": {"ipv4": "10.1.0.254"}, "ingress": {},
                "ipam": {"podCIDRs": ["10.1.0.0/24", "fd00:10:1::/64"]},
            },
        }))
        .expect("a CiliumNode");
        let id = ClusterId::new(1, MaxConnectedClusters::N255).expect("an ID");
        let exported = node.exported(&"alpha".parse().expect("a name"), id);
        assert_eq!(
            text(exported.encode()),
            r#"{"Name":"node-1","Cluster":"alpha","IPAddresses":[{"Type":"InternalIP","IP":"172.18.0.2"},{"Type":"CiliumInternalIP","IP":"10.1.0.1"},{"Type":"InternalIP","IP":"fc00:c111::2"}],"IPv4AllocCIDR":{"IP":"10.1.0.0","Mask":"////AA=="},"IPv4SecondaryAllocCIDRs":null,"IPv6AllocCIDR":{"IP":"fd00:10:1::","Mask":"//////////8AAAAAAAAAAA=="},"IPv6SecondaryAllocCIDRs":null,"IPv4HealthIP":"10.1.0.254","IPv6HealthIP":"","IPv4IngressIP":"","IPv6IngressIP":"","ClusterID":1,"Source":"custom-resource","EncryptionKey":0,"Labels":{"kubernetes.io/os":"linux"},"Annotations":null,"WireguardPubKey":"","BootID":"570d3fd1-0000-0000-0000-000000000000"}"#
        );
    }

    #[test]
    fn nulls_are_defaults() {
        let spec = json!({"addresses": null, "ipam": {"podCIDRs": null}, "health": null, "encryption": null});
        let spec: CiliumNodeSpec = serde_json::from_value(spec).expect("a spec");
        assert_eq!(spec, CiliumNodeSpec::default());
        let status = json!({"identity": null, "networking": {"addressing": null, "node": ""}, "named-ports": null});
        let status: CiliumEndpointStatus = serde_json::from_value(status).expect("a status");
        assert_eq!(status, CiliumEndpointStatus::default());
    }

    #[test]
    fn the_recorded_identity() {
        let labels = "k8s:io.cilium.k8s.policy.cluster=alpha;k8s:io.cilium.k8s.policy.serviceaccount=default;\
                      k8s:io.kubernetes.pod.namespace=default;k8s:name=rebel-base;";
        let labels = IdentityLabels::decode(labels.as_bytes()).expect("labels");
        let number = NumericIdentity::new(70_001);
        let identity = CiliumIdentity::new(number, &labels);
        assert_eq!(identity.security_labels.get("k8s:name").map(String::as_str), Some("rebel-base"));
        assert_eq!((identity.number(), identity.identity_labels()), (Some(number), labels));
        let again: CiliumIdentity =
            serde_json::from_value(serde_json::to_value(&identity).expect("JSON")).expect("a CiliumIdentity");
        assert_eq!(again, identity);
    }

    #[test]
    fn the_recorded_endpoint() {
        let endpoint: CiliumEndpoint = serde_json::from_value(json!({
            "apiVersion": "cilium.io/v2", "kind": "CiliumEndpoint",
            "metadata": {"name": "rebel-base-1", "namespace": "default"},
            "status": {
                "id": 17, "identity": {"id": 70001, "labels": []}, "state": "ready", "encryption": {"key": 0},
                "networking": {
                    "addressing": [{"ipv4": "10.1.0.11", "ipv6": "fd00:10:1::11"}], "node": "172.18.0.2",
                },
            },
        }))
        .expect("a CiliumEndpoint");
        let values: Vec<String> = endpoint.exported().iter().map(|entry| text(entry.encode())).collect();
        let value = |ip| {
            format!(
                r#"{{"IP":"{ip}","Mask":null,"HostIP":"172.18.0.2","ID":70001,"Key":0,"Metadata":"","K8sNamespace":"default","K8sPodName":"rebel-base-1"}}"#
            )
        };
        assert_eq!(values, [value("10.1.0.11"), value("fd00:10:1::11")]);
        let nobody = CiliumEndpoint::new("default", "nobody", CiliumEndpointStatus::default());
        assert!(nobody.exported().is_empty(), "an endpoint without an identity is not told");
    }
}
