use proptest::prelude::*;
use test_case::test_case;

use super::*;

fn expected<'a>(cluster: &'a ClusterName, key: &'a ServiceKey, raw: u32) -> Expected<'a> {
    Expected { cluster, cluster_id: cluster_id(raw).unwrap(), key }
}

/// A value with the two fields that every value must have besides `fields`.
fn value(fields: &str) -> String {
    format!(r#"{{"cluster":"beta","namespace":"default","name":"web",{fields}"clusterID":2}}"#)
}

#[test]
fn absent_null_and_unknown_fields() {
    let absent = ClusterService::decode(value("").as_bytes()).unwrap();
    let nulls = value(
        r#""frontends":null,"backends":null,"hostnames":null,"zones":null,"labels":null,"selector":null,"includeExternal":null,"shared":null,"colour":{"r":[1]},"#,
    );
    assert_eq!(ClusterService::decode(nulls.as_bytes()).unwrap(), absent);
    assert!(absent.backends.is_empty() && absent.labels.is_empty() && !absent.shared);
    let written =
        value(r#""frontends":{},"backends":{},"labels":{},"selector":{},"includeExternal":false,"shared":false,"#);
    assert_eq!(String::from_utf8(absent.encode()).unwrap(), written, "empty maps that Go always writes are written");
}

#[test]
fn null_inside_addresses_and_zones_is_skipped() {
    let json = value(
        r#""backends":{"10.0.0.1":null,"10.0.0.2":{"a":null,"b":{"Protocol":"UDP","Port":53}}},"zones":{"10.0.0.2":{"zone":null,"forZones":null}},"#,
    );
    let service = ClusterService::decode(json.as_bytes()).unwrap();
    assert_eq!(service.backends[&"10.0.0.1".parse().unwrap()], PortConfiguration::new());
    let udp = L4Address { protocol: Protocol::Udp, port: 53 };
    assert_eq!(service.backends[&"10.0.0.2".parse().unwrap()], PortConfiguration::from([("b".into(), udp)]));
    assert_eq!(service.zones["10.0.0.2"], BackendZone::default());
}

#[test]
fn addresses_are_written_in_the_order_of_their_text() {
    let ports = r#"{"":{"Protocol":"TCP","Port":80}}"#;
    let backends = format!(r#""backends":{{"10.0.0.10":{ports},"10.0.0.9":{ports},"fd00::1":{ports}}}"#);
    let service = ClusterService::decode(value(&format!("{backends},")).as_bytes()).unwrap();
    let written = String::from_utf8(service.encode()).unwrap();
    assert!(written.contains(&backends), "{written}");
}

#[test_case("" => "cluster service is malformed" ; "empty")]
#[test_case("3" => "cluster service is malformed" ; "not an object")]
#[test_case(r#"{"cluster":"","namespace":"a","name":"b","clusterID":2}"# => "field `cluster` is empty" ; "no cluster")]
#[test_case(r#"{"cluster":"beta","name":"b","clusterID":2}"# => "field `namespace` is empty" ; "no namespace")]
#[test_case(r#"{"cluster":"beta","namespace":"a","name":null,"clusterID":2}"# => "field `name` is empty" ; "no name")]
#[test_case(r#"{"cluster":"B!","namespace":"a","name":"b","clusterID":2}"# => "field `cluster` is no cluster name" ; "bad cluster")]
#[test_case(r#"{"cluster":"beta","namespace":"a","name":"b"}"# => "field `clusterID` is 0" ; "no cluster id")]
#[test_case(r#"{"cluster":"beta","namespace":"a","name":"b","clusterID":65538}"# => "field `clusterID` is 65538" ; "id above 16 bits")]
#[test_case(r#"{"cluster":"beta","namespace":"a","name":"b","clusterID":2,"backends":{"10.0.0":{}}}"# => "`10.0.0` in field `backends` is no IP address" ; "bad backend")]
#[test_case(r#"{"cluster":"beta","namespace":"a","name":"b","clusterID":2,"frontends":{"x":{}}}"# => "`x` in field `frontends` is no IP address" ; "bad frontend")]
#[test_case(r#"{"cluster":"beta","namespace":"a","name":"b","clusterID":2,"backends":{"10.0.0.1":{"p":{"Protocol":"GRE","Port":1}}}}"# => "port `p` of `10.0.0.1` in field `backends` has no usable protocol" ; "bad protocol")]
#[test_case(r#"{"cluster":"beta","namespace":"a","name":"b","clusterID":2,"backends":{"10.0.0.1":{"p":{"Protocol":"TCP","Port":65536}}}}"# => "cluster service is malformed" ; "bad port")]
fn refuses(json: &str) -> String {
    ClusterService::decode(json.as_bytes()).unwrap_err().to_string()
}

#[test_case("beta", "default", "web", 2 => Ok(()) ; "as expected")]
#[test_case("gamma", "default", "web", 2 => Err("unexpected cluster name: got `beta`, expected `gamma`".to_owned()) ; "cluster")]
#[test_case("beta", "prod", "web", 2 => Err("namespaced name does not match the key: got `default/web`, expected `prod/web`".to_owned()) ; "namespace")]
#[test_case("beta", "default", "db", 2 => Err("namespaced name does not match the key: got `default/web`, expected `default/db`".to_owned()) ; "name")]
#[test_case("beta", "default", "web", 3 => Err("unexpected cluster ID: got 2, expected 3".to_owned()) ; "id")]
fn validates(cluster: &str, namespace: &str, name: &str, raw: u32) -> Result<(), String> {
    let (cluster, key) = (ClusterName::new(cluster).unwrap(), ServiceKey::new(namespace, name));
    let expected = expected(&cluster, &key, raw);
    ClusterService::decode_expected(value("").as_bytes(), expected).map(|_| ()).map_err(|error| error.to_string())
}

fn addresses() -> impl Strategy<Value = BTreeMap<IpAddr, PortConfiguration>> {
    let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Sctp)];
    let l4 = (protocol, any::<u16>()).prop_map(|(protocol, port)| L4Address { protocol, port });
    let ports = prop::collection::btree_map("[a-z0-9-]{0,15}", l4, 0..4);
    prop::collection::btree_map(any::<IpAddr>(), ports, 0..5)
}

fn texts() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map(any::<String>(), any::<String>(), 0..4)
}

prop_compose! {
    fn cluster_services()(
        cluster in "[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?",
        namespace in "[a-z0-9-]{1,63}",
        name in "[a-z0-9-]{1,63}",
        (frontends, backends) in (addresses(), addresses()),
        (hostnames, labels, selector) in (texts(), texts(), texts()),
        zones in prop::collection::btree_map(any::<String>(), (any::<String>(), prop::collection::vec(any::<String>(), 0..3)), 0..3),
        (include_external, shared) in any::<(bool, bool)>(),
        raw in 1_u32..=511,
    ) -> ClusterService {
        let zone = |(address, (zone, for_zones))| (address, BackendZone { zone, for_zones });
        ClusterService {
            cluster: ClusterName::new(cluster).unwrap(),
            key: ServiceKey::new(namespace, name),
            frontends, backends, hostnames, labels, selector, include_external, shared,
            zones: zones.into_iter().map(zone).collect(),
            cluster_id: cluster_id(raw).unwrap(),
        }
    }
}

proptest! {
    #[test]
    fn what_was_written_is_read(service in cluster_services()) {
        prop_assert_eq!(ClusterService::decode(&service.encode()).unwrap(), service);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        // Almost every input is refused; what is read must at least survive a round trip.
        if let Ok(service) = ClusterService::decode(&bytes) {
            prop_assert_eq!(ClusterService::decode(&service.encode()).unwrap(), service);
        }
    }
}
