use mesh_types::ClusterId;
use proptest::prelude::*;
use test_case::test_case;

use super::*;

const N255: MaxConnectedClusters = MaxConnectedClusters::N255;
const N511: MaxConnectedClusters = MaxConnectedClusters::N511;

fn expected(prefix: &str, cluster_id: u16, limit: MaxConnectedClusters) -> ExpectedIp {
    ExpectedIp { prefix: prefix.parse().unwrap(), cluster_id: ClusterId::new(cluster_id, N511).unwrap(), limit }
}

#[test_case("10.244.1.10", r#"{"IP":"10.244.1.10","Mask":null,"HostIP":"172.18.0.3","ID":199472,"Key":0,"Metadata":"","K8sNamespace":"ns-alpha","K8sPodName":"echo-7d9-abcde","K8sServiceAccount":"default","NamedPorts":[{"Name":"http","Port":8080,"Protocol":"TCP"}]}"# ; "pod")]
#[test_case("fd00:10:1::11", r#"{"IP":"fd00:10:1::11","Mask":null,"HostIP":"172.18.0.2","ID":70001,"Key":255,"Metadata":"","K8sNamespace":"default","K8sPodName":"web"}"# ; "v6 pod")]
#[test_case("10.244.0.10", r#"{"IP":"10.244.0.10","Mask":null,"HostIP":"","ID":1,"Key":0,"Metadata":""}"# ; "node")]
#[test_case("10.2.0.0/24", r#"{"IP":"10.2.0.0","Mask":"////AA==","HostIP":"","ID":2,"Key":0,"Metadata":""}"# ; "cidr")]
#[test_case("10.2.0.1/32", r#"{"IP":"10.2.0.1","Mask":"/////w==","HostIP":"","ID":2,"Key":0,"Metadata":""}"# ; "cidr of one address")]
#[test_case("fd00:10:2::/64", r#"{"IP":"fd00:10:2::","Mask":"//////////8AAAAAAAAAAA==","HostIP":"","ID":2,"Key":0,"Metadata":""}"# ; "v6 cidr")]
fn same_bytes(prefix: &str, json: &str) {
    let entry = IpEntry::decode(json.as_bytes()).unwrap();
    assert_eq!(entry.prefix.to_string(), prefix);
    assert_eq!(String::from_utf8(entry.encode()).unwrap(), json);
}

#[test]
fn named_ports_are_sorted() {
    let port = |name: &str| format!(r#"{{"Name":"{name}","Port":53,"Protocol":"UDP"}}"#);
    let json = |first: &str, second: &str| {
        format!(
            r#"{{"IP":"10.0.0.1","Mask":null,"HostIP":"","ID":2,"Key":0,"Metadata":"","NamedPorts":[{},{}]}}"#,
            port(first),
            port(second)
        )
    };
    let entry = IpEntry::decode(json("dns-b", "dns-a").as_bytes()).unwrap();
    assert_eq!(String::from_utf8(entry.encode()).unwrap(), json("dns-a", "dns-b"));
}

#[test]
fn absent_null_and_unknown_fields() {
    let absent = IpEntry::decode(br#"{"IP":"10.0.0.1","ID":2}"#).unwrap();
    let nulls = br#"{"IP":"10.0.0.1","Mask":null,"HostIP":null,"ID":2,"Key":null,"Metadata":null,"K8sNamespace":null,"K8sPodName":null,"K8sServiceAccount":null,"NamedPorts":null,"K8sPodUID":"x"}"#;
    assert_eq!(IpEntry::decode(nulls).unwrap(), absent);
    let written = r#"{"IP":"10.0.0.1","Mask":null,"HostIP":"","ID":2,"Key":0,"Metadata":""}"#;
    assert_eq!(String::from_utf8(absent.encode()).unwrap(), written);
}

#[test_case("" => "ip entry is malformed" ; "empty")]
#[test_case("{}" => "field `IP` is empty" ; "no fields")]
#[test_case(r#"{"IP":null}"# => "field `IP` is empty" ; "null")]
#[test_case(r#"{"IP":"10.0.0"}"# => "`10.0.0` in field `IP` is no IP address" ; "bad ip")]
#[test_case(r#"{"IP":"10.0.0.0/24"}"# => "`10.0.0.0/24` in field `IP` is no IP address" ; "cidr as ip")]
#[test_case(r#"{"IP":"10.0.0.1","HostIP":"node-1"}"# => "`node-1` in field `HostIP` is no IP address" ; "bad host")]
#[test_case(r#"{"IP":"10.0.0.0","Mask":""}"# => "`` in field `Mask` is no mask for `10.0.0.0`" ; "empty mask")]
#[test_case(r#"{"IP":"10.0.0.0","Mask":"/wD/AA=="}"# => "`/wD/AA==` in field `Mask` is no mask for `10.0.0.0`" ; "mask with a hole")]
#[test_case(r#"{"IP":"fd00::","Mask":"////AA=="}"# => "`////AA==` in field `Mask` is no mask for `fd00::`" ; "mask of the other family")]
#[test_case(r#"{"IP":"10.0.0.1","ID":-1}"# => "ip entry is malformed" ; "negative identity")]
#[test_case(r#"{"IP":"10.0.0.1","NamedPorts":[{"Name":"x","Port":70000}]}"# => "ip entry is malformed" ; "bad port")]
#[test_case(r#"{"IP":"10.0.0.1","NamedPorts":[{"Name":"x","Port":1,"Protocol":"GRE"}]}"# => "named port `x` has no usable protocol" ; "bad protocol")]
fn refuses(json: &str) -> String {
    IpEntry::decode(json.as_bytes()).unwrap_err().to_string()
}

const OK: Result<u32, String> = Ok(0);

#[test_case(199_472, 3, N255 => Ok(199_472) ; "of the peer")]
#[test_case(131_071, 1, N255 => Ok(131_071) ; "last of the peer")]
#[test_case(65_535, 1, N511 => Ok(65_535) ; "last of the peer, 511 clusters")]
#[test_case(255, 3, N255 => Ok(255) ; "reserved")]
#[test_case(1, 3, N255 => Ok(6) ; "the peer's host is a remote node")]
#[test_case(256, 3, N255 => Err("identity 256 is not of cluster 3, whose range is 196608 to 262143".to_owned()) ; "of no cluster")]
#[test_case(131_072, 1, N255 => Err("identity 131072 is not of cluster 1, whose range is 65536 to 131071".to_owned()) ; "of another cluster")]
#[test_case(65_536, 1, N511 => Err("identity 65536 is not of cluster 1, whose range is 32768 to 65535".to_owned()) ; "of another cluster, 511 clusters")]
#[test_case(16_777_217, 255, N255 => Err("identity 16777217 is not of cluster 255, whose range is 16711680 to 16777215".to_owned()) ; "local scope")]
fn identities(raw: u32, cluster_id: u16, limit: MaxConnectedClusters) -> Result<u32, String> {
    let json = format!(r#"{{"IP":"10.0.0.1","ID":{raw}}}"#);
    let entry = IpEntry::decode_expected(json.as_bytes(), expected("10.0.0.1", cluster_id, limit));
    entry.map(|entry| entry.identity.get()).map_err(|error| error.to_string())
}

#[test_case(r#"{"IP":"10.0.0.1"}"#, "10.0.0.1" => OK ; "address")]
#[test_case(r#"{"IP":"10.0.0.1"}"#, "10.0.0.2" => Err("IP address does not match the key: got `10.0.0.1`, expected `10.0.0.2`".to_owned()) ; "other address")]
#[test_case(r#"{"IP":"10.0.0.1"}"#, "10.0.0.1/32" => Err("IP address does not match the key: got `10.0.0.1`, expected `10.0.0.1/32`".to_owned()) ; "address for a cidr")]
#[test_case(r#"{"IP":"10.0.0.0","Mask":"////AA=="}"#, "10.0.0.0/24" => OK ; "cidr")]
#[test_case(r#"{"IP":"10.0.0.7","Mask":"////AA=="}"#, "10.0.0.0/24" => Err("IP address does not match the key: got `10.0.0.7/24`, expected `10.0.0.0/24`".to_owned()) ; "host bits")]
#[test_case(r#"{"IP":"::ffff:10.0.0.1"}"#, "::ffff:10.0.0.1" => Err("IP address does not match the key: got `10.0.0.1`, expected `::ffff:10.0.0.1`".to_owned()) ; "v4 inside v6")]
fn prefixes(json: &str, prefix: &str) -> Result<u32, String> {
    let entry = IpEntry::decode_expected(json.as_bytes(), expected(prefix, 2, N255));
    entry.map(|entry| entry.identity.get()).map_err(|error| error.to_string())
}

prop_compose! {
    fn ip_entries()(
        (ip, host) in any::<(IpAddr, Option<IpAddr>)>(),
        length in prop::option::of(0_u8..=32),
        raw: u32,
        encryption_key: u8,
        (metadata, namespace, pod, service_account) in any::<(String, String, String, String)>(),
        ports in prop::collection::btree_map(any::<String>(), any::<u16>(), 0..4),
        protocol in prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Sctp)],
    ) -> IpEntry {
        let ip = ip.to_canonical();
        let prefix = match length {
            Some(length) => IpPrefix::Cidr(IpNet::new(ip, length).unwrap()),
            None => IpPrefix::Address(ip),
        };
        IpEntry {
            prefix, host: host.map(|host| host.to_canonical()), identity: NumericIdentity::new(raw), encryption_key,
            metadata, namespace, pod, service_account,
            named_ports: ports.into_iter().map(|(name, port)| (name, NamedPort { port, protocol })).collect(),
        }
    }
}

proptest! {
    #[test]
    fn what_was_written_is_read(entry in ip_entries()) {
        prop_assert_eq!(IpEntry::decode(&entry.encode()).unwrap(), entry);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        // Almost every input is refused; what is read must at least survive a round trip.
        if let Ok(entry) = IpEntry::decode(&bytes) {
            prop_assert_eq!(IpEntry::decode(&entry.encode()).unwrap(), entry);
        }
    }
}
