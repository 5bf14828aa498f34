use proptest::prelude::*;
use test_case::test_case;

use super::*;

const N255: MaxConnectedClusters = MaxConnectedClusters::N255;
const N511: MaxConnectedClusters = MaxConnectedClusters::N511;

#[test_case("k8s:app=baz;k8s:io.cilium.k8s.policy.cluster=cluster3;k8s:io.kubernetes.pod.namespace=bar;" ; "pod")]
#[test_case("k8s:a=b=c=;" ; "equals signs in a value")]
#[test_case("k8s:url=http://x:80/?a=b;" ; "colons in a value")]
#[test_case("k8s:a:b=c;" ; "colon in a key")]
#[test_case("k8s:a=;" ; "empty value")]
#[test_case("reserved:host=;" ; "reserved")]
#[test_case("reserved:a=;k8s:b=;any:c=;" ; "in the order of keys, not of sources")]
#[test_case("" ; "no labels")]
fn same_bytes(text: &str) {
    let labels = IdentityLabels::decode(text.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(labels.encode()).unwrap(), text);
}

#[test]
fn parts_are_told_apart() {
    let labels = IdentityLabels::decode(b"k8s:b=1=2;reserved:a=x:y;").unwrap();
    assert_eq!(labels.k8s("b"), Some("1=2"));
    assert_eq!(labels.k8s("a"), None, "of another source");
    assert_eq!(labels.get("a"), Some(&Label { source: "reserved".into(), value: "x:y".into() }));
    let keys: Vec<&str> = labels.iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["a", "b"]);
}

#[test]
fn order_and_last_semicolon_do_not_matter_to_a_reader() {
    let sorted = IdentityLabels::decode(b"k8s:a=1;k8s:b=2;").unwrap();
    assert_eq!(IdentityLabels::decode(b"k8s:b=2;;k8s:a=1").unwrap(), sorted);
}

#[test_case(b"\xff" => "identity is malformed" ; "no text")]
#[test_case(b"a=b;" => "`a=b` is no label, expected `<source>:<key>=<value>`" ; "no source")]
#[test_case(b"k8s:a;" => "`k8s:a` is no label, expected `<source>:<key>=<value>`" ; "no value")]
#[test_case(b"k8s:=b;" => "`k8s:=b` is no label, expected `<source>:<key>=<value>`" ; "no key")]
#[test_case(b":a=b;" => "`:a=b` is no label, expected `<source>:<key>=<value>`" ; "empty source")]
#[test_case(b"x=k8s:a=b;" => "`x=k8s:a=b` is no label, expected `<source>:<key>=<value>`" ; "equals sign in a source")]
#[test_case(b"k8s:a=b;any:a=c;" => "label `a` is there twice" ; "twice")]
fn refuses(value: &[u8]) -> String {
    IdentityLabels::decode(value).unwrap_err().to_string()
}

#[test_case("k8s", "a", "b;k8s:io.cilium.k8s.policy.cluster=gamma" ; "a second label in a value")]
#[test_case("k8s", "a;b", "c" ; "semicolon in a key")]
#[test_case("k8s", "a=b", "c" ; "equals sign in a key")]
#[test_case("k8s:x", "a", "b" ; "colon in a source")]
fn what_could_not_be_read_back_is_not_taken(source: &str, key: &str, value: &str) {
    let refused = IdentityLabels::new().insert(source, key, value);
    assert!(matches!(refused, Err(IdentityLabelsError::Label { .. })), "{refused:?}");
}

const BETA: &[u8] = b"k8s:io.cilium.k8s.policy.cluster=beta;";

#[test_case(BETA, 131_100, N255 => Ok(()) ; "as expected")]
#[test_case(BETA, 65_536, N511 => Ok(()) ; "first of 511 clusters")]
#[test_case(BETA, 65_535, N255 => Err("identity 65535 is not of cluster 2, whose range is 131072 to 196607".to_owned()) ; "below the range")]
#[test_case(BETA, 196_608, N255 => Err("identity 196608 is not of cluster 2, whose range is 131072 to 196607".to_owned()) ; "above the range")]
#[test_case(BETA, 102, N255 => Err("identity 102 is not of cluster 2, whose range is 131072 to 196607".to_owned()) ; "well-known numbers are not taken either")]
#[test_case(b"", 131_100, N255 => Err("unexpected label `k8s:io.cilium.k8s.policy.cluster`: got ``, expected `beta`".to_owned()) ; "no labels")]
#[test_case(b"k8s:io.cilium.k8s.policy.cluster=gamma;", 131_100, N255 => Err("unexpected label `k8s:io.cilium.k8s.policy.cluster`: got `gamma`, expected `beta`".to_owned()) ; "another cluster")]
#[test_case(b"any:io.cilium.k8s.policy.cluster=beta;", 131_100, N255 => Err("unexpected label `k8s:io.cilium.k8s.policy.cluster`: got ``, expected `beta`".to_owned()) ; "another source")]
fn validates(value: &[u8], raw: u32, limit: MaxConnectedClusters) -> Result<(), String> {
    let cluster = ClusterName::new("beta").unwrap();
    let expected = ExpectedIdentity {
        identity: NumericIdentity::new(raw),
        cluster: &cluster,
        cluster_id: ClusterId::new(2, limit).unwrap(),
        limit,
    };
    IdentityLabels::decode_expected(value, expected).map(|_| ()).map_err(|error| error.to_string())
}

proptest! {
    #[test]
    fn what_was_written_is_read(labels in prop::collection::btree_map("[^=;]{1,12}", ("[^:=;]{1,6}", "[^;]{0,12}"), 0..6)) {
        let mut written = IdentityLabels::new();
        for (key, (source, value)) in &labels {
            written.insert(source, key, value).unwrap();
        }
        let read = IdentityLabels::decode(&written.encode()).unwrap();
        prop_assert_eq!(read.iter().count(), labels.len());
        prop_assert_eq!(read, written);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "([a-z:=;é]{0,40})|(\\PC{0,40})") {
        if let Ok(labels) = IdentityLabels::decode(text.as_bytes()) {
            prop_assert_eq!(IdentityLabels::decode(&labels.encode()).unwrap(), labels);
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        if let Ok(labels) = IdentityLabels::decode(&bytes) {
            prop_assert_eq!(IdentityLabels::decode(&labels.encode()).unwrap(), labels);
        }
    }
}
