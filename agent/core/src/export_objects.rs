//! What the local cluster exports besides services: its nodes, the addresses of its endpoints, and its identities.

use std::collections::{BTreeMap, btree_map::Entry};

use mesh_types::{ClusterName, NumericIdentity};
use mesh_wire::{IdentityLabels, IpEntry, IpPrefix, Key, Layout, Node};

use crate::ExportEffect;

/// Namespace and name.
type Name = (String, String);

/// What the kvstore should hold of them.
#[derive(Debug)]
pub struct ExportObjects {
    cluster: ClusterName,
    /// Keys and values that were told.
    told: BTreeMap<String, Vec<u8>>,
    /// Who claims an address, in the order in which they began to. The first one has it.
    claims: BTreeMap<IpPrefix, Vec<(Name, IpEntry)>>,
    /// Which addresses each endpoint claims.
    endpoints: BTreeMap<Name, Vec<IpPrefix>>,
}

impl ExportObjects {
    /// Nothing is known yet.
    pub fn new(cluster: ClusterName) -> Self {
        Self { cluster, told: BTreeMap::new(), claims: BTreeMap::new(), endpoints: BTreeMap::new() }
    }

    /// The newest value of a node; `None`: it is gone.
    pub fn node(&mut self, name: &str, node: Option<&Node>) -> Option<ExportEffect> {
        let key = Key::node(Layout::State, &self.cluster, name);
        self.tell(&key, node.map(Node::encode))
    }

    /// The newest labels of an identity; `None`: it is gone.
    pub fn identity(&mut self, number: NumericIdentity, labels: Option<&IdentityLabels>) -> Option<ExportEffect> {
        let key = Key::identity(Layout::State, &self.cluster, number);
        self.tell(&key, labels.map(IdentityLabels::encode))
    }

    /// The newest addresses of an endpoint; none: it is gone.
    ///
    /// While two endpoints claim an address, as when one takes over that of another which is about to go, the first stays
    /// its owner (section 2.6 of the reference).
    pub fn endpoint(&mut self, namespace: &str, name: &str, entries: Vec<IpEntry>) -> Vec<ExportEffect> {
        let name = (namespace.to_owned(), name.to_owned());
        let prefixes: Vec<IpPrefix> = entries.iter().map(|entry| entry.prefix).collect();
        let before = match self.endpoints.entry(name.clone()) {
            Entry::Occupied(mut held) if !prefixes.is_empty() => std::mem::replace(held.get_mut(), prefixes.clone()),
            Entry::Occupied(held) => held.remove(),
            Entry::Vacant(place) => {
                if !prefixes.is_empty() {
                    place.insert(prefixes.clone());
                }
                Vec::new()
            }
        };
        let gone = before.into_iter().filter(|prefix| !prefixes.contains(prefix)).map(|prefix| (prefix, None));
        let changes = gone.chain(entries.into_iter().map(|entry| (entry.prefix, Some(entry))));
        changes.filter_map(|(prefix, entry)| self.claim(prefix, &name, entry)).collect()
    }

    fn claim(&mut self, prefix: IpPrefix, by: &Name, entry: Option<IpEntry>) -> Option<ExportEffect> {
        let claims = self.claims.entry(prefix).or_default();
        let place = claims.iter().position(|(name, _)| name == by);
        match (place, entry) {
            (Some(place), Some(entry)) => claims[place].1 = entry,
            (Some(place), None) => drop(claims.remove(place)),
            (None, Some(entry)) => claims.push((by.clone(), entry)),
            (None, None) => {}
        }
        let value = claims.first().map(|(_, entry)| entry.encode());
        if claims.is_empty() {
            self.claims.remove(&prefix);
        }
        let key = Key::ip(Layout::State, &self.cluster, prefix);
        self.tell(&key, value)
    }

    /// What is to be done so that a key has a value, or is not there.
    fn tell(&mut self, key: &Key, value: Option<Vec<u8>>) -> Option<ExportEffect> {
        let key = key.to_string();
        match value {
            None => self.told.remove(&key).map(|_| ExportEffect::Delete { key }),
            Some(value) if self.told.get(&key) == Some(&value) => None,
            Some(value) => {
                self.told.insert(key.clone(), value.clone());
                Some(ExportEffect::Put { key, value })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects() -> ExportObjects {
        ExportObjects::new("alpha".parse().expect("a name"))
    }

    fn entry(ip: &str, pod: &str) -> IpEntry {
        IpEntry {
            prefix: ip.parse().expect("an address"),
            host: Some("172.18.0.2".parse().expect("an address")),
            identity: NumericIdentity::new(70_001),
            encryption_key: 0,
            metadata: String::new(),
            namespace: "default".to_owned(),
            pod: pod.to_owned(),
            service_account: String::new(),
            named_ports: BTreeMap::new(),
        }
    }

    /// As `+10.1.0.11 pod` or `-10.1.0.11`.
    fn texts(effects: Vec<ExportEffect>) -> Vec<String> {
        let tail = |key: &str| key.rsplit('/').next().unwrap_or_default().to_owned();
        let text = |effect| match effect {
            ExportEffect::Put { key, value } => {
                format!("+{} {}", tail(&key), IpEntry::decode(&value).expect("an entry").pod)
            }
            ExportEffect::Delete { key } => format!("-{}", tail(&key)),
            other => panic!("no such effect here: {other:?}"),
        };
        effects.into_iter().map(text).collect()
    }

    #[test]
    fn an_endpoint_has_its_addresses_and_no_others() {
        let mut objects = objects();
        let both = vec![entry("10.1.0.11", "one"), entry("fd00::11", "one")];
        assert_eq!(texts(objects.endpoint("default", "one", both.clone())), ["+10.1.0.11 one", "+fd00::11 one"]);
        assert!(objects.endpoint("default", "one", both).is_empty(), "nothing changed");
        let other = vec![entry("10.1.0.12", "one")];
        assert_eq!(texts(objects.endpoint("default", "one", other)), ["-10.1.0.11", "-fd00::11", "+10.1.0.12 one"]);
        assert_eq!(texts(objects.endpoint("default", "one", Vec::new())), ["-10.1.0.12"]);
        assert!(objects.endpoint("default", "one", Vec::new()).is_empty());
    }

    #[test]
    fn the_first_of_two_owners_stays_until_it_goes() {
        let mut objects = objects();
        assert_eq!(texts(objects.endpoint("default", "old", vec![entry("10.1.0.11", "old")])), ["+10.1.0.11 old"]);
        assert!(objects.endpoint("default", "new", vec![entry("10.1.0.11", "new")]).is_empty());
        assert_eq!(texts(objects.endpoint("default", "old", Vec::new())), ["+10.1.0.11 new"]);
        assert_eq!(texts(objects.endpoint("default", "new", Vec::new())), ["-10.1.0.11"]);
    }
}
