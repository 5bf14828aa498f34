use std::error::Error;

use proptest::prelude::*;
use test_case::test_case;

use super::*;

/// Bytes of hexadecimal digits.
fn hex(digits: &str) -> Vec<u8> {
    let digit = |c: u8| u8::try_from(char::from(c).to_digit(16).expect("a hexadecimal digit")).unwrap();
    digits.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

// No recorded value has an endpoint slice. These messages were made by protoc from the fields of Cilium's message, the
// frames by the zstd program: a single segment with its size and a checksum, as Go's compressor makes them for Cilium. Our
// compressor chooses other blocks and a window instead of a size, so frames are compared by what is in them.

/// The example of Cilium's format: [`echo`].
const ECHO: &str = "0a08636c75737465723310031a086e732d616c706861220a6563686f2d6b766c6d322a2a0a1a6b756265726e657465732e696f2f736572766963652d6e616d65120c6563686f2d736572766963653a0449507634422f0a0b31302e3234342e312e3130120608011001180032066e6f64652d313a0565752d316142090a070a0565752d31614a0e0a0468747470120354435018903f";
const ECHO_FRAME: &str = "28b52ffd249585040034080a08636c75737465723310031a086e732d616c706861220a6563686f2d6b766c6d322a2a0a1a6b756265726e657465732e696f2f736572766963652d6e616d65120c3a0449507634422f0a0b31302e3234342e312e3130120608011001180032066e6f64652d313a0565752d316142090a070a4a0e0a0468747470120354435018903f0300e132c06686d05a65067beccf93";

/// Empty texts, absent fields and rare ones: [`odd`].
const ODD: &str = "0a046265746110ac021a0764656661756c7422057765622d312a060a01611201782a050a0162120032050a0012016e3a044950763642210a07666430303a3a310a07666430303a3a3212001a03682d302a060a01741201754204120208004a0e0a00120355445018352203646e734a00";
const ODD_FRAME: &str = "28b52ffd24708103000a046265746110ac021a0764656661756c7422057765622d312a060a01611201782a050a0162120032050a0012016e3a044950763642210a07666430303a3a310a07666430303a3a3212001a03682d302a060a01741201754204120208004a0e0a00120355445018352203646e734a0022ae0cb2";

fn texts(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn echo() -> EndpointSlice {
    EndpointSlice {
        cluster: ClusterName::new("cluster3").unwrap(),
        cluster_id: id(3),
        key: EndpointSliceKey::new("ns-alpha", "echo-kvlm2"),
        labels: texts(&[(LABEL_SERVICE_NAME, "echo-service")]),
        annotations: BTreeMap::new(),
        address_type: AddressType::Ipv4,
        endpoints: vec![Endpoint {
            addresses: vec!["10.244.1.10".parse().unwrap()],
            ready: Some(true),
            serving: Some(true),
            terminating: Some(false),
            node: Some("node-1".into()),
            zone: Some("eu-1a".into()),
            for_zones: Some(vec!["eu-1a".into()]),
            ..Endpoint::default()
        }],
        ports: vec![EndpointPort {
            name: Some("http".into()),
            protocol: Some(Protocol::Tcp),
            port: Some(8080),
            app_protocol: None,
        }],
    }
}

fn odd() -> EndpointSlice {
    EndpointSlice {
        cluster: ClusterName::new("beta").unwrap(),
        cluster_id: id(300),
        key: EndpointSliceKey::new("default", "web-1"),
        labels: texts(&[("a", "x"), ("b", "")]),
        annotations: texts(&[("", "n")]),
        address_type: AddressType::Ipv6,
        endpoints: vec![
            Endpoint {
                addresses: vec!["fd00::1".parse().unwrap(), "fd00::2".parse().unwrap()],
                hostname: Some("h-0".into()),
                deprecated_topology: texts(&[("t", "u")]),
                ..Endpoint::default()
            },
            Endpoint { ready: Some(false), ..Endpoint::default() },
        ],
        ports: vec![
            EndpointPort {
                name: Some(String::new()),
                protocol: Some(Protocol::Udp),
                port: Some(53),
                app_protocol: Some("dns".into()),
            },
            EndpointPort::default(),
        ],
    }
}

fn id(raw: u32) -> ClusterId {
    crate::cluster_config::cluster_id(raw).unwrap()
}

/// A message with one field replaced, or added behind the others.
fn changed(change: impl FnOnce(&mut EndpointSliceMessage)) -> Vec<u8> {
    let mut message = EndpointSliceMessage::from(&echo());
    change(&mut message);
    message.encode_to_vec()
}

#[test_case(echo(), ECHO, ECHO_FRAME ; "the example")]
#[test_case(odd(), ODD, ODD_FRAME ; "empty and absent fields")]
fn same_message(slice: EndpointSlice, message: &str, frame: &str) {
    assert_eq!(EndpointSlice::decode(&hex(frame)).unwrap(), slice);
    assert_eq!(EndpointSlice::decode_message(&hex(message)).unwrap(), slice);
    assert_eq!(slice.encode_message(), hex(message));
    let ours = zstd::decompress(&slice.encode(), ENDPOINT_SLICE_MESSAGE_MAX, WINDOW_MAX).unwrap();
    assert_eq!(ours, hex(message));
}

#[cfg(feature = "planted-defects")]
#[test]
fn a_wrong_cluster_id_is_another_clusters() {
    let _planting = mesh_planted::plant_here(mesh_planted::Defect::WrongClusterId);
    assert_eq!(EndpointSlice::decode(&echo().encode()).unwrap().cluster_id, id(4));
}

#[test]
fn service_is_named_by_a_label() {
    assert_eq!(echo().service(), Some(ServiceKey::new("ns-alpha", "echo-service")));
    assert_eq!(odd().service(), None);
}

#[test]
fn unknown_fields_are_ignored() {
    // Field 100, a text, behind all others.
    let message = [hex(ECHO), vec![0xa2, 0x06, 0x01, b'x']].concat();
    assert_eq!(EndpointSlice::decode_message(&message).unwrap(), echo());
}

#[test_case(|m| m.cluster = None => "field `cluster` is empty" ; "no cluster")]
#[test_case(|m| m.cluster = Some("B!".into()) => "field `cluster` is no cluster name" ; "bad cluster")]
#[test_case(|m| m.cluster_id = None => "field `clusterID` is 0" ; "no cluster id")]
#[test_case(|m| m.cluster_id = Some(65_538) => "field `clusterID` is 65538" ; "id above 16 bits")]
#[test_case(|m| m.namespace = Some(String::new()) => "field `namespace` is empty" ; "no namespace")]
#[test_case(|m| m.name = None => "field `name` is empty" ; "no name")]
#[test_case(|m| m.address_type = Some("FQDN".into()) => "field `addressType` is `FQDN`, expected `IPv4` or `IPv6`" ; "names instead of addresses")]
#[test_case(|m| m.address_type = None => "field `addressType` is ``, expected `IPv4` or `IPv6`" ; "no address type")]
#[test_case(|m| m.address_type = Some("IPv6".into()) => "`10.244.1.10` in field `endpoints` is not of the address type `IPv6`" ; "other family")]
#[test_case(|m| m.endpoints[0].addresses.push("10.0.0".into()) => "`10.0.0` in field `endpoints` is no IP address" ; "bad address")]
#[test_case(|m| m.ports[0].protocol = Some("GRE".into()) => "port `http` has no usable protocol" ; "bad protocol")]
#[test_case(|m| m.ports[0].port = Some(65_536) => "port `http` has the number 65536" ; "port above 16 bits")]
#[test_case(|m| m.ports[0].port = Some(-1) => "port `http` has the number -1" ; "negative port")]
#[test_case(|m| m.endpoints = vec![m.endpoints[0].clone(); 1_001] => "field `endpoints` has 1001 entries, at most 1000 are read" ; "too many endpoints")]
#[test_case(|m| m.ports = vec![m.ports[0].clone(); 20_001] => "field `ports` has 20001 entries, at most 20000 are read" ; "too many ports")]
fn refuses(change: fn(&mut EndpointSliceMessage)) -> String {
    EndpointSlice::decode_message(&changed(change)).unwrap_err().to_string()
}

/// The error and what is behind it.
fn reasons(value: &[u8]) -> (String, String) {
    let error = EndpointSlice::decode(value).unwrap_err();
    let source = error.source().map(ToString::to_string).unwrap_or_default();
    (error.to_string(), source)
}

#[test]
fn what_is_no_protobuf_is_refused() {
    assert_eq!(reasons(&zstd::compress(b"\x0a\xff")).0, "endpoint slice is malformed");
    // Field 1 as a number.
    assert_eq!(reasons(&zstd::compress(b"\x08\x01")).0, "endpoint slice is malformed");
}

#[test]
fn broken_frames_are_refused() {
    let failed = |reason: &str| ("failed to decompress the endpoint slice".to_owned(), reason.to_owned());
    let frame = hex(ECHO_FRAME);
    for length in 0..frame.len() {
        assert_eq!(reasons(&frame[..length]), failed("not a whole zstd frame"), "{length} bytes of a frame");
    }
    assert_eq!(reasons(&hex(ECHO)), failed("not a whole zstd frame"));
    assert_eq!(reasons(&[&frame[..], b"x"].concat()), failed("1 bytes after the frame"));
    let (last, rest) = frame.split_last().unwrap();
    assert_eq!(reasons(&[rest, &[last ^ 1]].concat()), failed("checksum of the content is wrong"));
}

#[test]
fn bombs_are_refused() {
    let too_large =
        ("failed to decompress the endpoint slice".to_owned(), "content is larger than 1048576 bytes".to_owned());
    let bomb = zstd::compress(&vec![0; 64 << 20]);
    assert!(bomb.len() < 32 << 10, "{} bytes that become 64 MiB", bomb.len());
    assert_eq!(reasons(&bomb), too_large);
    // A frame that claims 4 GiB in one segment: magic, descriptor, size of 8 bytes.
    assert_eq!(reasons(&hex("28b52ffde00000000001000000")), too_large);
    let just_too_large = zstd::compress(&vec![0; ENDPOINT_SLICE_MESSAGE_MAX + 1]);
    assert_eq!(reasons(&just_too_large), too_large);
    let just_fits = zstd::compress(&vec![0; ENDPOINT_SLICE_MESSAGE_MAX]);
    assert_eq!(reasons(&just_fits).0, "endpoint slice is malformed");
    let value = vec![0; ENDPOINT_SLICE_COMPRESSED_MAX + 1];
    assert_eq!(reasons(&value).0, "endpoint slice has 1572865 bytes, at most 1572864 are read");
}

#[test]
fn a_full_slice_fits() {
    let mut slice = odd();
    let full = |number: u32| Endpoint {
        addresses: vec![std::net::Ipv6Addr::from(u128::MAX - u128::from(number)).into()],
        ready: Some(true),
        serving: Some(true),
        terminating: Some(false),
        hostname: Some("h".repeat(63)),
        node: Some("n".repeat(253)),
        zone: Some("z".repeat(63)),
        for_zones: Some(vec!["z".repeat(63)]),
        ..Endpoint::default()
    };
    slice.endpoints = (0..1_000).map(full).collect();
    assert_eq!(EndpointSlice::decode(&slice.encode()).unwrap(), slice);
}

#[test_case("cluster3", "ns-alpha", "echo-kvlm2", 3 => Ok(()) ; "as expected")]
#[test_case("gamma", "ns-alpha", "echo-kvlm2", 3 => Err("unexpected cluster name: got `cluster3`, expected `gamma`".to_owned()) ; "cluster")]
#[test_case("cluster3", "prod", "echo-kvlm2", 3 => Err("namespaced name does not match the key: got `ns-alpha/echo-kvlm2`, expected `prod/echo-kvlm2`".to_owned()) ; "namespace")]
#[test_case("cluster3", "ns-alpha", "echo", 3 => Err("namespaced name does not match the key: got `ns-alpha/echo-kvlm2`, expected `ns-alpha/echo`".to_owned()) ; "name")]
#[test_case("cluster3", "ns-alpha", "echo-kvlm2", 4 => Err("unexpected cluster ID: got 3, expected 4".to_owned()) ; "id")]
fn validates(cluster: &str, namespace: &str, name: &str, raw: u32) -> Result<(), String> {
    let (cluster, key) = (ClusterName::new(cluster).unwrap(), EndpointSliceKey::new(namespace, name));
    let expected = ExpectedEndpointSlice { cluster: &cluster, cluster_id: id(raw), key: &key };
    EndpointSlice::decode_expected(&hex(ECHO_FRAME), expected).map(|_| ()).map_err(|error| error.to_string())
}

fn maps() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map(any::<String>(), any::<String>(), 0..4)
}

prop_compose! {
    fn endpoints(family: AddressType)(
        addresses in prop::collection::vec(any::<(std::net::Ipv4Addr, std::net::Ipv6Addr)>(), 0..3),
        (ready, serving, terminating) in any::<(Option<bool>, Option<bool>, Option<bool>)>(),
        (hostname, node, zone) in any::<(Option<String>, Option<String>, Option<String>)>(),
        deprecated_topology in maps(),
        for_zones in prop::option::of(prop::collection::vec(any::<String>(), 0..3)),
    ) -> Endpoint {
        let of_family = |(v4, v6)| match family {
            AddressType::Ipv4 => IpAddr::V4(v4),
            AddressType::Ipv6 => IpAddr::V6(v6),
        };
        Endpoint {
            addresses: addresses.into_iter().map(of_family).collect(),
            ready, serving, terminating, hostname, deprecated_topology, node, zone, for_zones,
        }
    }
}

fn ports() -> impl Strategy<Value = EndpointPort> {
    let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Sctp)];
    (any::<Option<String>>(), prop::option::of(protocol), any::<Option<u16>>(), any::<Option<String>>())
        .prop_map(|(name, protocol, port, app_protocol)| EndpointPort { name, protocol, port, app_protocol })
}

fn slices() -> impl Strategy<Value = EndpointSlice> {
    let family = prop_oneof![Just(AddressType::Ipv4), Just(AddressType::Ipv6)];
    let of_family = |family| (Just(family), prop::collection::vec(endpoints(family), 0..20));
    let parts = (
        "[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?",
        1_u32..=511,
        ("[a-z0-9-]{1,63}", "[a-z0-9-]{1,63}"),
        (maps(), maps()),
        family.prop_flat_map(of_family),
        prop::collection::vec(ports(), 0..5),
    );
    parts.prop_map(|(cluster, raw, (namespace, name), (labels, annotations), (address_type, endpoints), ports)| {
        EndpointSlice {
            cluster: ClusterName::new(cluster).unwrap(),
            cluster_id: id(raw),
            key: EndpointSliceKey::new(namespace, name),
            labels,
            annotations,
            address_type,
            endpoints,
            ports,
        }
    })
}

proptest! {
    #[test]
    fn what_was_written_is_read(slice in slices()) {
        prop_assert_eq!(EndpointSlice::decode_message(&slice.encode_message()).unwrap(), slice.clone());
        prop_assert_eq!(EndpointSlice::decode(&slice.encode()).unwrap(), slice);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        // Almost every input is refused; what is read must at least survive a round trip.
        for read in [EndpointSlice::decode(&bytes), EndpointSlice::decode_message(&bytes)].into_iter().flatten() {
            prop_assert_eq!(EndpointSlice::decode(&read.encode()).unwrap(), read);
        }
    }

    #[test]
    fn no_damage_to_a_frame_makes_the_reader_panic(slice in slices(), at: prop::sample::Index, byte: u8) {
        let mut frame = slice.encode();
        let at = at.index(frame.len());
        frame[at] = byte;
        // A changed byte is noticed, by the checksum at the latest, or is the window's size and does not matter.
        if let Ok(read) = EndpointSlice::decode(&frame) {
            prop_assert_eq!(read, slice);
        }
    }
}
