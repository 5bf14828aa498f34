use proptest::prelude::*;
use test_case::test_case;

use super::*;

fn alpha() -> ClusterName {
    ClusterName::new("alpha").unwrap()
}

fn ip_key(layout: Layout, text: &str) -> Key {
    Key::ip(layout, &alpha(), text.parse().unwrap())
}

fn identity_key(layout: Layout) -> Key {
    Key::identity(layout, &alpha(), NumericIdentity::new(65_875))
}

fn web() -> ServiceKey {
    ServiceKey::new("default", "web")
}

fn slice() -> EndpointSliceKey {
    EndpointSliceKey::new("default", "web-kvlm2")
}

#[test_case("cilium/.heartbeat", Key::Heartbeat ; "heartbeat")]
#[test_case("cilium/cluster-config/alpha", Key::ClusterConfig(alpha()) ; "cluster config")]
#[test_case("cilium/state/nodes/v1/alpha/n-1.example", Key::node(Layout::State, &alpha(), "n-1.example") ; "state node")]
#[test_case("cilium/cache/nodes/v1/alpha/n", Key::node(Layout::Cache, &alpha(), "n") ; "cached node")]
#[test_case("cilium/state/services/v1/alpha/default/web", Key::service(Layout::State, &alpha(), &web()) ; "state service")]
#[test_case("cilium/cache/services/v1/alpha/default/web", Key::service(Layout::Cache, &alpha(), &web()) ; "cached service")]
#[test_case("cilium/state/endpointslices/v1/alpha/default/web-kvlm2", Key::endpoint_slice(Layout::State, &alpha(), &slice()) ; "state slice")]
#[test_case("cilium/cache/endpointslices/v1/alpha/default/web-kvlm2", Key::endpoint_slice(Layout::Cache, &alpha(), &slice()) ; "cached slice")]
#[test_case("cilium/state/serviceexports/v1/alpha/default/web", Key::service_export(Layout::State, &alpha(), &web()) ; "state export")]
#[test_case("cilium/cache/serviceexports/v1/alpha/default/web", Key::service_export(Layout::Cache, &alpha(), &web()) ; "cached export")]
#[test_case("cilium/state/ip/v1/default/10.1.0.11", ip_key(Layout::State, "10.1.0.11") ; "state ip")]
#[test_case("cilium/state/ip/v1/default/10.1.0.0/24", ip_key(Layout::State, "10.1.0.0/24") ; "state cidr")]
#[test_case("cilium/cache/ip/v1/alpha/fd00:10:1::11", ip_key(Layout::Cache, "fd00:10:1::11") ; "cached ip")]
#[test_case("cilium/cache/ip/v1/alpha/fd00:10:1::/64", ip_key(Layout::Cache, "fd00:10:1::/64") ; "cached cidr")]
#[test_case("cilium/state/identities/v1/id/65875", identity_key(Layout::State) ; "state identity")]
#[test_case("cilium/cache/identities/v1/alpha/id/65875", identity_key(Layout::Cache) ; "cached identity")]
#[test_case("cilium/synced/alpha/cilium/state/ip/v1", Key::synced(Layout::State, &alpha(), Resource::Ip) ; "state canary")]
#[test_case("cilium/synced/alpha/cilium/cache/nodes/v1", Key::synced(Layout::Cache, &alpha(), Resource::Nodes) ; "cache canary")]
fn reads_and_writes(text: &str, key: Key) {
    assert_eq!(text.parse(), Ok(key.clone()));
    assert_eq!(key.to_string(), text);
}

#[test_case("" => "no known prefix" ; "empty")]
#[test_case("cilium/state/services/v10/alpha/default/web" => "no known prefix" ; "other version")]
#[test_case("cilium/state/dragons/v1/alpha/n" => "no known prefix" ; "kind of the future")]
#[test_case("cilium/synced/alpha" => "no known prefix" ; "canary without path")]
#[test_case("cilium/synced/alpha/cilium/state/dragons/v1" => "unknown kind of object" ; "canary of the future")]
#[test_case("cilium/state/services/v1/alpha/default" => "expected `<cluster>/<namespace>/<name>` after the prefix" ; "no name")]
#[test_case("cilium/state/services/v1/alpha/default/a/b" => "expected `<cluster>/<namespace>/<name>` after the prefix" ; "too many parts")]
#[test_case("cilium/state/endpointslices/v1/alpha//b" => "expected `<cluster>/<namespace>/<name>` after the prefix" ; "empty namespace")]
#[test_case("cilium/state/serviceexports/v1/alpha/b/" => "expected `<cluster>/<namespace>/<name>` after the prefix" ; "empty name")]
#[test_case("cilium/cluster-config/" => "bad cluster name in the key" ; "empty cluster")]
#[test_case("cilium/state/nodes/v1/alpha/" => "expected `<cluster>/<node>` after the prefix" ; "empty node")]
#[test_case("cilium/state/nodes/v1/alpha/a/b" => "expected `<cluster>/<node>` after the prefix" ; "node with a slash")]
#[test_case("cilium/state/nodes/v1/Alpha/a" => "bad cluster name in the key" ; "upper case")]
#[test_case("cilium/state/ip/v1/10.0.0.1" => "expected `default/<ip>` or `<cluster>/<ip>` after the prefix" ; "no address space")]
#[test_case("cilium/state/ip/v1/other/10.0.0.1" => "unknown address space, expected `default`" ; "other address space")]
#[test_case("cilium/state/ip/v1/default/10.0.0" => "bad address in the key" ; "bad ip")]
#[test_case("cilium/state/ip/v1/default/10.0.0.0/33" => "bad address in the key" ; "bad cidr")]
#[test_case("cilium/state/ip/v1/default/FD00::1" => "address or number not in canonical form" ; "ip not canonical")]
#[test_case("cilium/state/identities/v1/value/k8s:a=b;/10.0.0.1" => "expected `id/<number>` or `<cluster>/id/<number>` after the prefix" ; "allocator")]
#[test_case("cilium/cache/identities/v1/id/7" => "expected `id/<number>` or `<cluster>/id/<number>` after the prefix" ; "cached without cluster")]
#[test_case("cilium/state/identities/v1/id/x" => "bad identity in the key" ; "no number")]
#[test_case("cilium/state/identities/v1/id/4294967296" => "bad identity in the key" ; "number above 32 bits")]
#[test_case("cilium/state/identities/v1/id/+7" => "address or number not in canonical form" ; "number with a sign")]
fn refuses(text: &str) -> String {
    text.parse::<Key>().unwrap_err().kind.to_string()
}

#[test]
fn prefixes_end_in_a_slash() {
    let state = |resource| prefix(resource, Layout::State, &alpha());
    let cache = |resource| prefix(resource, Layout::Cache, &alpha());
    for resource in [Resource::Nodes, Resource::Services, Resource::EndpointSlices, Resource::ServiceExports] {
        assert_eq!(state(resource), format!("cilium/state/{}/alpha/", resource.path()));
        assert_eq!(cache(resource), format!("cilium/cache/{}/alpha/", resource.path()));
    }
    assert_eq!(state(Resource::Ip), "cilium/state/ip/v1/default/");
    assert_eq!(cache(Resource::Ip), "cilium/cache/ip/v1/alpha/");
    assert_eq!(state(Resource::Identities), "cilium/state/identities/v1/id/");
    assert_eq!(cache(Resource::Identities), "cilium/cache/identities/v1/alpha/id/");
    assert_eq!(synced_prefix(&alpha()), "cilium/synced/alpha/");
}

prop_compose! {
    fn keys()(
        layout in prop_oneof![Just(Layout::State), Just(Layout::Cache)],
        cluster in "[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?",
        (namespace, name) in ("[^/]{1,20}", "[^/]{1,20}"),
        ip in any::<std::net::IpAddr>(),
        length in prop::option::of(0_u8..=32),
        number: u32,
        resource in prop::sample::select(Resource::ALL.to_vec()),
        which in 0..9,
    ) -> Key {
        let cluster = ClusterName::new(cluster).unwrap();
        let prefix = match length {
            Some(length) => IpPrefix::Cidr(ipnet::IpNet::new(ip, length).unwrap()),
            None => IpPrefix::Address(ip),
        };
        match which {
            0 => Key::Heartbeat,
            1 => Key::ClusterConfig(cluster),
            2 => Key::node(layout, &cluster, name),
            3 => Key::service(layout, &cluster, &ServiceKey::new(namespace, name)),
            4 => Key::endpoint_slice(layout, &cluster, &EndpointSliceKey::new(namespace, name)),
            5 => Key::ip(layout, &cluster, prefix),
            6 => Key::identity(layout, &cluster, NumericIdentity::new(number)),
            7 => Key::service_export(layout, &cluster, &ServiceKey::new(namespace, name)),
            _ => Key::synced(layout, &cluster, resource),
        }
    }
}

proptest! {
    #[test]
    fn what_was_written_is_read(key in keys()) {
        prop_assert_eq!(key.to_string().parse(), Ok(key));
    }

    #[test]
    fn what_was_read_is_written_the_same(text in "cilium/(state|cache)/(nodes|services|ip|identities)/v1/(alpha|default|id)/.{0,20}") {
        if let Ok(key) = text.parse::<Key>() {
            prop_assert_eq!(key.to_string(), text);
        }
    }
}
