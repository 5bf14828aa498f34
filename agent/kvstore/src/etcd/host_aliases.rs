//! Names of hosts that an etcd configuration file itself resolves.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
};

use serde::{Deserialize, Deserializer};

/// `cilium-host-aliases`, which Helm charts of Cilium 1.20 write so that names of remote clusters need no DNS. One chart
/// writes a map of names to addresses, another a list (section 3.1 of the reference); both are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostAliases(BTreeMap<String, Vec<IpAddr>>);

impl HostAliases {
    /// The addresses of a host: those of its alias, or else what the system's resolver says.
    pub async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match self.0.get(host) {
            Some(addresses) => Ok(addresses.iter().map(|address| SocketAddr::new(*address, port)).collect()),
            None => Ok(tokio::net::lookup_host((host, port)).await?.collect()),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

/// An element of the list: as in a pod's `hostAliases`, or a name with its addresses.
#[derive(Deserialize)]
struct Alias {
    #[serde(alias = "hostname")]
    hostnames: OneOrMany<String>,
    #[serde(alias = "ip")]
    ips: OneOrMany<IpAddr>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected host names with their addresses, or a list of `hostnames` and `ip`")]
enum Form {
    Map(BTreeMap<String, OneOrMany<IpAddr>>),
    List(Vec<Alias>),
}

impl<'de> Deserialize<'de> for HostAliases {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut aliases: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
        match Form::deserialize(deserializer)? {
            Form::Map(map) => aliases.extend(map.into_iter().map(|(name, addresses)| (name, addresses.into_vec()))),
            Form::List(list) => {
                for alias in list {
                    let addresses = alias.ips.into_vec();
                    for name in alias.hostnames.into_vec() {
                        aliases.entry(name).or_default().extend(&addresses);
                    }
                }
            }
        }
        Ok(Self(aliases))
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("{beta.mesh.cilium.io: [192.0.2.1, 2001:db8::1]}" ; "map")]
    #[test_case("[{ip: 192.0.2.1, hostnames: [beta.mesh.cilium.io, b]}, {ip: '2001:db8::1', hostnames: [beta.mesh.cilium.io]}]" ; "list as in a pod")]
    #[test_case("[{hostname: beta.mesh.cilium.io, ips: [192.0.2.1, '2001:db8::1']}]" ; "list of names")]
    #[tokio::test]
    async fn both_forms_are_read(text: &str) {
        let aliases: HostAliases = serde_saphyr::from_str(text).expect("aliases");
        let addresses = aliases.resolve("beta.mesh.cilium.io", 2379).await.expect("resolved");
        let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["192.0.2.1:2379", "[2001:db8::1]:2379"]);
    }

    #[test]
    fn whoever_writes_something_else_is_told_what_is_expected() {
        let error = serde_saphyr::from_str::<HostAliases>("{beta.mesh.cilium.io: nowhere}").expect_err("no address");
        assert!(error.to_string().contains("expected host names with their addresses"), "{error}");
    }

    #[tokio::test]
    async fn others_are_asked_of_the_system() {
        let addresses = HostAliases::default().resolve("127.0.0.1", 1).await.expect("resolved");
        assert_eq!(addresses, [SocketAddr::from(([127, 0, 0, 1], 1))]);
    }
}
