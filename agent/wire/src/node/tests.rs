use proptest::prelude::*;
use test_case::test_case;

use super::*;

fn beta() -> ClusterName {
    ClusterName::new("beta").unwrap()
}

/// A value with the fields that every value must have besides `fields`.
fn value(fields: &str) -> String {
    format!(r#"{{"Name":"node-1","Cluster":"beta",{fields}"ClusterID":2}}"#)
}

/// The example of Cilium's format, as 1.19 writes it, with all kinds of fields filled.
const FULL: &str = concat!(
    r#"{"Name":"test-node-1","Cluster":"cluster3","IPAddresses":[{"Type":"InternalIP","IP":"172.18.0.2"},"#,
    r#"{"Type":"InternalIP","IP":"fc00:c111::2"},{"Type":"CiliumInternalIP","IP":"10.244.0.10"}],"#,
    r#""IPv4AllocCIDR":{"IP":"10.244.0.0","Mask":"////AA=="},"#,
    r#""IPv4SecondaryAllocCIDRs":[{"IP":"10.245.0.0","Mask":"//8AAA=="},{"IP":"10.246.0.0","Mask":"////AA=="}],"#,
    r#""IPv6AllocCIDR":{"IP":"fd00:10:244::","Mask":"//////////8AAAAAAAAAAA=="},"#,
    r#""IPv6SecondaryAllocCIDRs":[{"IP":"fd00:10:245::","Mask":"//////////8AAAAAAAAAAA=="}],"#,
    r#""IPv4HealthIP":"10.244.0.134","IPv6HealthIP":"fd00:10:244::d812","IPv4IngressIP":"10.244.0.7","#,
    r#""IPv6IngressIP":"fd00:10:244::7","ClusterID":3,"Source":"custom-resource","EncryptionKey":255,"#,
    r#""Labels":{"kubernetes.io/os":"linux"},"Annotations":null,"NodeIdentity":33554433,"#,
    r#""WireguardPubKey":"VRksOB6ZNds4oXWIGfSVpvc0gBhcOWFmzvTDcyvULlI=","BootID":"570d3fd1-0000-0000-0000-000000000000"}"#,
);

#[test]
fn same_bytes() {
    let node = Node::decode(FULL.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(node.encode()).unwrap(), FULL);
    assert_eq!(node.ipv4_pods, Some("10.244.0.0/24".parse().unwrap()));
    assert_eq!(node.ipv4_pods_secondary[0], "10.245.0.0/16".parse().unwrap());
    assert_eq!(node.ipv6_pods, Some("fd00:10:244::/64".parse().unwrap()));
    assert_eq!(node.address("InternalIP", Ipv4Addr::of), Some("172.18.0.2".parse().unwrap()));
    assert_eq!(node.address("InternalIP", Ipv6Addr::of), Some("fc00:c111::2".parse().unwrap()));
    assert_eq!(node.address("ExternalIP", Ipv4Addr::of), None);
}

#[cfg(feature = "planted-defects")]
#[test]
fn a_wrong_cluster_id_is_another_clusters() {
    let node = Node::decode(FULL.as_bytes()).unwrap();
    let _planting = mesh_planted::plant_here(mesh_planted::Defect::WrongClusterId);
    assert_eq!(Node::decode(&node.encode()).unwrap().cluster_id, cluster_id(4).unwrap());
}

#[test]
fn node_identity_is_there_or_not() {
    let without = FULL.replace(r#""NodeIdentity":33554433,"#, "");
    let node = Node::decode(without.as_bytes()).unwrap();
    assert_eq!(node.identity, None);
    assert_eq!(String::from_utf8(node.encode()).unwrap(), without, "as 1.20 writes it");
}

#[test]
fn absent_null_and_unknown_fields() {
    let absent = Node::decode(value("").as_bytes()).unwrap();
    let nulls = value(
        r#""IPAddresses":null,"IPv4AllocCIDR":null,"IPv4SecondaryAllocCIDRs":null,"IPv6AllocCIDR":null,"IPv6SecondaryAllocCIDRs":null,"IPv4HealthIP":null,"IPv6HealthIP":null,"IPv4IngressIP":null,"IPv6IngressIP":null,"Source":null,"EncryptionKey":null,"Labels":null,"Annotations":null,"NodeIdentity":null,"WireguardPubKey":null,"BootID":null,"Colour":{"r":[1]},"#,
    );
    assert_eq!(Node::decode(nulls.as_bytes()).unwrap(), absent);
    let empty = value(r#""IPAddresses":[{"Type":"Hostname","IP":""},{}],"IPv4SecondaryAllocCIDRs":[null],"#);
    assert_eq!(Node::decode(empty.as_bytes()).unwrap(), absent, "what says nothing is skipped");
    let written = concat!(
        r#"{"Name":"node-1","Cluster":"beta","IPAddresses":null,"IPv4AllocCIDR":null,"IPv4SecondaryAllocCIDRs":null,"#,
        r#""IPv6AllocCIDR":null,"IPv6SecondaryAllocCIDRs":null,"IPv4HealthIP":"","IPv6HealthIP":"","IPv4IngressIP":"","#,
        r#""IPv6IngressIP":"","ClusterID":2,"Source":"","EncryptionKey":0,"Labels":null,"Annotations":null,"#,
        r#""WireguardPubKey":"","BootID":""}"#,
    );
    assert_eq!(String::from_utf8(absent.encode()).unwrap(), written, "Go leaves nothing out");
}

#[test_case("" => "node is malformed" ; "empty")]
#[test_case(r#"{"Cluster":"beta","ClusterID":2}"# => "field `Name` is empty" ; "no name")]
#[test_case(r#"{"Name":"n","Cluster":null,"ClusterID":2}"# => "field `Cluster` is empty" ; "no cluster")]
#[test_case(r#"{"Name":"n","Cluster":"B!","ClusterID":2}"# => "field `Cluster` is no cluster name" ; "bad cluster")]
#[test_case(r#"{"Name":"n","Cluster":"beta"}"# => "field `ClusterID` is 0" ; "no cluster id")]
#[test_case(r#"{"Name":"n","Cluster":"beta","ClusterID":512}"# => "field `ClusterID` is 512" ; "id too large")]
#[test_case(&value(r#""EncryptionKey":256,"#) => "node is malformed" ; "key above 8 bits")]
#[test_case(&value(r#""IPAddresses":[{"Type":"InternalIP","IP":"node-1"}],"#) => "`node-1` in field `IPAddresses` is no IP address" ; "address")]
#[test_case(&value(r#""IPv4HealthIP":"x","#) => "`x` in field `IPv4HealthIP` is no IP address" ; "health")]
#[test_case(&value(r#""IPv4HealthIP":"fd00::1","#) => "`fd00::1` in field `IPv4HealthIP` is of the other IP family" ; "family of an address")]
#[test_case(&value(r#""IPv6AllocCIDR":{"IP":"10.0.0.0","Mask":"////AA=="},"#) => "`10.0.0.0 with mask ////AA==` in field `IPv6AllocCIDR` is no network of its IP family" ; "family of a network")]
#[test_case(&value(r#""IPv4AllocCIDR":{"IP":"10.0.0.0"},"#) => "`10.0.0.0 with mask ` in field `IPv4AllocCIDR` is no network of its IP family" ; "no mask")]
fn refuses(json: &str) -> String {
    Node::decode(json.as_bytes()).unwrap_err().to_string()
}

#[test_case("beta", "node-1", 2 => Ok(()) ; "as expected")]
#[test_case("gamma", "node-1", 2 => Err("unexpected cluster name: got `beta`, expected `gamma`".to_owned()) ; "cluster")]
#[test_case("beta", "node-2", 2 => Err("name does not match the key: got `node-1`, expected `node-2`".to_owned()) ; "name")]
#[test_case("beta", "node-1", 3 => Err("unexpected cluster ID: got 2, expected 3".to_owned()) ; "id")]
fn validates(cluster: &str, name: &str, raw: u32) -> Result<(), String> {
    let cluster = ClusterName::new(cluster).unwrap();
    let expected = ExpectedNode { cluster: &cluster, cluster_id: cluster_id(raw).unwrap(), name };
    Node::decode_expected(value("").as_bytes(), expected).map(|_| ()).map_err(|error| error.to_string())
}

fn ipv4_nets() -> impl Strategy<Value = Ipv4Net> {
    (any::<Ipv4Addr>(), 0_u8..=32).prop_map(|(ip, length)| Ipv4Net::new(ip, length).unwrap())
}

fn ipv6_nets() -> impl Strategy<Value = Ipv6Net> {
    (1_u16.., any::<Ipv6Addr>(), 0_u8..=128).prop_map(|(first, ip, length)| {
        // Not an IPv4 address inside an IPv6 one, which Go's JSON cannot tell from the IPv4 address.
        Ipv6Net::new(Ipv6Addr::from(u128::from(ip) | u128::from(first) << 112), length).unwrap()
    })
}

fn texts() -> impl Strategy<Value = Option<BTreeMap<String, String>>> {
    prop::option::of(prop::collection::btree_map(any::<String>(), any::<String>(), 0..4))
}

prop_compose! {
    fn nodes()(
        name in "[a-z0-9.-]{1,63}",
        addresses in prop::collection::vec((any::<String>(), any::<IpAddr>()), 0..4),
        (v4, v4_secondary) in (prop::option::of(ipv4_nets()), prop::collection::vec(ipv4_nets(), 0..3)),
        (v6, v6_secondary) in (prop::option::of(ipv6_nets()), prop::collection::vec(ipv6_nets(), 0..3)),
        (ipv4_health, ipv4_ingress) in any::<(Option<Ipv4Addr>, Option<Ipv4Addr>)>(),
        (ipv6_health, ipv6_ingress) in (prop::option::of(ipv6_nets()), prop::option::of(ipv6_nets())),
        (source, wireguard_public_key, boot_id) in any::<(String, String, String)>(),
        (labels, annotations) in (texts(), texts()),
        encryption_key: u8,
        identity: Option<u32>,
        raw in 1_u32..=511,
    ) -> Node {
        let address = |(kind, ip): (String, IpAddr)| NodeAddress { kind, ip: ip.to_canonical() };
        Node {
            name, cluster: beta(), addresses: addresses.into_iter().map(address).collect(),
            ipv4_pods: v4, ipv4_pods_secondary: v4_secondary, ipv6_pods: v6, ipv6_pods_secondary: v6_secondary,
            ipv4_health, ipv4_ingress,
            ipv6_health: ipv6_health.map(|net| net.addr()), ipv6_ingress: ipv6_ingress.map(|net| net.addr()),
            cluster_id: cluster_id(raw).unwrap(), source, encryption_key, labels, annotations,
            identity: identity.map(NumericIdentity::new), wireguard_public_key, boot_id,
        }
    }
}

proptest! {
    #[test]
    fn what_was_written_is_read(node in nodes()) {
        prop_assert_eq!(Node::decode(&node.encode()).unwrap(), node);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        // Almost every input is refused; what is read must at least survive a round trip.
        if let Ok(node) = Node::decode(&bytes) {
            prop_assert_eq!(Node::decode(&node.encode()).unwrap(), node);
        }
    }
}
