//! Clusters that exist as keys in an etcd only, in numbers that no machine could run: what KVStoreMesh would have copied of
//! them, below `cilium/cache/`. Pure. Values are written as Cilium writes them, in words of our own: an agent that takes
//! them has understood the format.

use std::{fmt, net::Ipv4Addr, str::FromStr};

use serde_json::{Value, json};

/// Clusters at most: IDs go up to 255, 1 is our own cluster's.
const CLUSTERS_MAX: u32 = 250;
/// Nodes of a cluster at most: the node's number is an octet of its pod CIDR.
const NODES_MAX: u32 = 250;
/// Endpoints of a node at most: the endpoint's number is an octet of its address.
const ENDPOINTS_OF_NODE_MAX: u32 = 250;
/// Services at most: the service's number is an octet of its address.
const SERVICES_MAX: u32 = 250;
/// ID of the first of them.
const FIRST_ID: u32 = 2;
/// Bits of the identity below the cluster ID in a mesh of up to 255 clusters.
const IDENTITY_SHIFT: u32 = 16;
/// Local part of the first identity; Cilium gives those below to reserved and well-known ones.
const FIRST_IDENTITY: u32 = 256;
/// Endpoints that share an identity: the pods of a deployment.
const ENDPOINTS_OF_IDENTITY: u32 = 4;
/// Backends that each cluster has for each service.
pub(super) const BACKENDS: u32 = 2;
/// Namespace of everything.
pub(super) const NAMESPACE: &str = "bench";
/// Port of services and backends.
pub(super) const PORT: u16 = 80;
/// Kinds of objects, as their prefixes and canaries name them.
const KINDS: [&str; 4] = ["nodes/v1", "ip/v1", "identities/v1", "services/v1"];

/// How much there is. Written as `CLUSTERSxNODESxENDPOINTSxSERVICES`, the last three of each cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dimensions {
    clusters: u32,
    nodes: u32,
    endpoints: u32,
    services: u32,
}

/// Why a text is not taken for dimensions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DimensionsError {
    /// Not four numbers.
    #[error("`{0}` is not of the form CLUSTERSxNODESxENDPOINTSxSERVICES, such as `100x50x200x10`")]
    Form(String),
    /// A number is out of range.
    #[error("{what} are {found}, must be from {min} to {max}")]
    Range {
        /// Of what.
        what: &'static str,
        /// How many were asked for.
        found: u32,
        /// At least.
        min: u32,
        /// At most.
        max: u32,
    },
}

impl FromStr for Dimensions {
    type Err = DimensionsError;

    fn from_str(text: &str) -> Result<Self, DimensionsError> {
        let numbers: Vec<u32> = text.split('x').map_while(|number| number.parse().ok()).collect();
        let (&[clusters, nodes, endpoints, services], 4) = (numbers.as_slice(), text.split('x').count()) else {
            return Err(DimensionsError::Form(text.to_owned()));
        };
        let limits = [
            ("clusters", clusters, 1, CLUSTERS_MAX),
            ("nodes", nodes, 1, NODES_MAX),
            ("endpoints", endpoints, BACKENDS, nodes.saturating_mul(ENDPOINTS_OF_NODE_MAX)),
            ("services", services, 1, SERVICES_MAX),
        ];
        match limits.into_iter().find(|(_, found, min, max)| found < min || found > max) {
            Some((what, found, min, max)) => Err(DimensionsError::Range { what, found, min, max }),
            None => Ok(Self { clusters, nodes, endpoints, services }),
        }
    }
}

impl fmt::Display for Dimensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clusters, nodes, endpoints, services } = self;
        f.pad(&format!("{clusters}x{nodes}x{endpoints}x{services}"))
    }
}

/// A key and its value.
pub(super) type Pair = (String, Vec<u8>);

impl Dimensions {
    /// The clusters.
    pub(super) fn clusters(self) -> impl Iterator<Item = SyntheticCluster> + Clone {
        (0..self.clusters).map(move |number| SyntheticCluster { id: FIRST_ID + number, size: self })
    }

    /// Services, which have the same names in every cluster.
    pub(super) fn services(self) -> impl Iterator<Item = String> {
        (0..self.services).map(service_name)
    }

    /// Endpoints, services and nodes of each cluster.
    pub(super) fn of_cluster(self) -> (u32, u32, u32) {
        (self.endpoints, self.services, self.nodes)
    }

    /// How many backends each of the services has in all clusters together.
    pub(super) fn backends_of_service(self) -> usize {
        (self.clusters * BACKENDS) as usize
    }
}

fn service_name(number: u32) -> String {
    format!("service-{number:03}")
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct SyntheticCluster {
    id: u32,
    size: Dimensions,
}

impl SyntheticCluster {
    /// Its name.
    pub(super) fn name(self) -> String {
        format!("synthetic-{:03}", self.id)
    }

    /// Everything that is known of it, canaries and configuration last.
    pub(super) fn pairs(self) -> impl Iterator<Item = Pair> {
        let nodes = (0..self.size.nodes).map(move |node| self.node(node, 0));
        let endpoints = (0..self.size.endpoints).map(move |endpoint| self.endpoint(endpoint, 0));
        let identities = (0..self.identities()).map(move |identity| self.identity(identity));
        let services = (0..self.size.services).map(move |service| self.service(service, 0));
        nodes.chain(endpoints).chain(identities).chain(services).chain(self.canaries()).chain([self.config()])
    }

    /// What all of its objects' keys begin with.
    pub(super) fn prefixes(self) -> impl Iterator<Item = String> {
        KINDS.into_iter().map(move |kind| format!("cilium/cache/{kind}/{}/", self.name()))
    }

    /// What the ipcache must say of its endpoints and nodes.
    pub(super) fn addresses(self) -> impl Iterator<Item = (Ipv4Addr, u32)> {
        /// Identity of every node but an agent's own.
        const REMOTE_NODE: u32 = 6;
        let nodes = (0..self.size.nodes).map(move |node| (self.node_address(node), REMOTE_NODE));
        let endpoints = 0..self.size.endpoints;
        nodes.chain(endpoints.map(move |endpoint| (self.endpoint_address(endpoint), self.identity_of(endpoint, 0))))
    }

    /// One of its endpoints with another identity in each `round`.
    pub(super) fn endpoint(self, endpoint: u32, round: u32) -> Pair {
        let (address, node) = (self.endpoint_address(endpoint), self.node_address(self.node_of(endpoint)));
        let value = json!({
            "IP": address, "Mask": null, "HostIP": node, "ID": self.identity_of(endpoint, round), "Key": 0,
            "Metadata": "", "K8sNamespace": NAMESPACE, "K8sPodName": format!("pod-{endpoint}"),
            "K8sServiceAccount": "default",
        });
        self.pair("ip/v1", &address.to_string(), &value)
    }

    /// A node with another label in each `round`.
    pub(super) fn node(self, node: u32, round: u32) -> Pair {
        let name = format!("node-{node:03}");
        let [_, id, number, _] = self.pods_of(node);
        let value = json!({
            "Name": name, "Cluster": self.name(), "ClusterID": self.id,
            "IPAddresses": [
                {"Type": "InternalIP", "IP": self.node_address(node)},
                {"Type": "CiliumInternalIP", "IP": Ipv4Addr::new(10, id, number, 254)},
            ],
            "IPv4AllocCIDR": {"IP": Ipv4Addr::new(10, id, number, 0), "Mask": "////AA=="},
            "IPv4SecondaryAllocCIDRs": null, "IPv6AllocCIDR": null, "IPv6SecondaryAllocCIDRs": null,
            "IPv4HealthIP": Ipv4Addr::new(10, id, number, 253), "IPv6HealthIP": "", "IPv4IngressIP": "",
            "IPv6IngressIP": "", "Source": "custom-resource", "EncryptionKey": 0,
            "Labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "round": round.to_string()},
            "Annotations": {}, "WireguardPubKey": "", "BootID": "",
        });
        self.pair("nodes/v1", &name, &value)
    }

    /// A service; in odd rounds its last backend is not there.
    pub(super) fn service(self, service: u32, round: u32) -> Pair {
        let name = service_name(service);
        let port = json!({"http": {"Protocol": "TCP", "Port": PORT}});
        let backends =
            (0..BACKENDS - round % 2).map(|number| (self.backend(service, number).to_string(), port.clone()));
        let value = json!({
            "cluster": self.name(), "namespace": NAMESPACE, "name": name,
            "frontends": {Ipv4Addr::from([100, octet(self.id), 0, octet(service)]).to_string(): port},
            "backends": backends.collect::<serde_json::Map<_, _>>(),
            "labels": {}, "selector": {"app": name}, "shared": true, "includeExternal": true, "clusterID": self.id,
        });
        self.pair("services/v1", &format!("{NAMESPACE}/{name}"), &value)
    }

    /// Address of a backend of a service.
    fn backend(self, service: u32, number: u32) -> Ipv4Addr {
        self.endpoint_address((service * BACKENDS + number) % self.size.endpoints)
    }

    /// What an endpoint's identity is in a `round`.
    pub(super) fn identity_of(self, endpoint: u32, round: u32) -> u32 {
        self.identity_number((endpoint / ENDPOINTS_OF_IDENTITY + round) % self.identities())
    }

    /// Address of an endpoint.
    pub(super) fn endpoint_address(self, endpoint: u32) -> Ipv4Addr {
        let [ten, id, node, _] = self.pods_of(self.node_of(endpoint));
        Ipv4Addr::new(ten, id, node, octet(1 + endpoint / self.size.nodes))
    }

    /// How many identities its endpoints have; at least two, so that one can get another.
    fn identities(self) -> u32 {
        self.size.endpoints.div_ceil(ENDPOINTS_OF_IDENTITY).max(2)
    }

    fn identity_number(self, identity: u32) -> u32 {
        (self.id << IDENTITY_SHIFT) + FIRST_IDENTITY + identity
    }

    fn identity(self, identity: u32) -> Pair {
        let labels = format!(
            "k8s:app=app-{identity};k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name={NAMESPACE};\
             k8s:io.cilium.k8s.policy.cluster={};k8s:io.cilium.k8s.policy.serviceaccount=default;\
             k8s:io.kubernetes.pod.namespace={NAMESPACE};",
            self.name(),
        );
        let key = format!("cilium/cache/identities/v1/{}/id/{}", self.name(), self.identity_number(identity));
        (key, labels.into_bytes())
    }

    fn canaries(self) -> impl Iterator<Item = Pair> {
        let key = move |kind| format!("cilium/synced/{}/cilium/cache/{kind}", self.name());
        KINDS.into_iter().map(move |kind| (key(kind), b"2026-01-01T00:00:00Z".to_vec()))
    }

    fn config(self) -> Pair {
        let capabilities = json!({"syncedCanaries": true, "cached": true, "maxConnectedClusters": 255});
        let value = json!({"id": self.id, "capabilities": capabilities});
        (format!("cilium/cluster-config/{}", self.name()), value.to_string().into_bytes())
    }

    fn pair(self, kind: &str, tail: &str, value: &Value) -> Pair {
        (format!("cilium/cache/{kind}/{}/{tail}", self.name()), value.to_string().into_bytes())
    }

    fn node_of(self, endpoint: u32) -> u32 {
        endpoint % self.size.nodes
    }

    fn node_address(self, node: u32) -> Ipv4Addr {
        Ipv4Addr::new(11, octet(self.id), octet(node), 1)
    }

    /// Its pod CIDR, of 24 bits.
    fn pods_of(self, node: u32) -> [u8; 4] {
        [10, octet(self.id), octet(node), 0]
    }
}

/// A number that the limits above keep small enough.
fn octet(number: u32) -> u8 {
    u8::try_from(number).expect("the dimensions are within their limits")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use test_case::test_case;

    use super::*;

    fn of(text: &str) -> Dimensions {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test_case("250x100x1000x20" ; "the largest that is asked for")]
    #[test_case("250x250x62500x250" ; "the largest that there can be")]
    #[test_case("1x1x2x1" ; "the smallest")]
    fn dimensions_are_read_and_written(text: &str) {
        assert_eq!(of(text).to_string(), text);
        let last = of(text).clusters().last().expect("there is one");
        assert_eq!(last.addresses().count(), (last.size.nodes + last.size.endpoints) as usize);
    }

    #[test_case("100x50x200" => "`100x50x200` is not of the form CLUSTERSxNODESxENDPOINTSxSERVICES, such as `100x50x200x10`" ; "too few")]
    #[test_case("1x1x2x1xa" => "`1x1x2x1xa` is not of the form CLUSTERSxNODESxENDPOINTSxSERVICES, such as `100x50x200x10`" ; "too many")]
    #[test_case("0x1x2x1" => "clusters are 0, must be from 1 to 250" ; "none")]
    #[test_case("1x1x251x1" => "endpoints are 251, must be from 2 to 250" ; "too many for the nodes")]
    fn nonsense_is_refused(text: &str) -> String {
        text.parse::<Dimensions>().expect_err("it is wrong").to_string()
    }

    #[test]
    fn keys_and_addresses_are_all_different() {
        let size = of("3x4x40x5");
        let (mut keys, mut addresses, mut count) = (BTreeSet::new(), BTreeSet::new(), 0);
        for cluster in size.clusters() {
            keys.extend(cluster.pairs().map(|(key, _)| key));
            addresses.extend(cluster.addresses().map(|(address, _)| address));
            count += 1;
        }
        assert_eq!((count, keys.len()), (3, 3 * (4 + 40 + 10 + 5 + 4 + 1)));
        assert_eq!(addresses.len(), 3 * (4 + 40));
    }

    #[test]
    fn another_round_is_another_identity_of_the_same_cluster() {
        let cluster = of("1x1x2x1").clusters().next().expect("there is one");
        let rounds: BTreeSet<u32> = (0..2).map(|round| cluster.identity_of(1, round)).collect();
        assert_eq!(rounds, [131_328, 131_329].into());
    }
}
