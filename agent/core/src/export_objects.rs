//! What the local cluster exports besides services: its nodes, the addresses of its endpoints, and its identities.

use std::collections::BTreeMap;

use mesh_types::{ClusterName, NumericIdentity};
use mesh_wire::{IdentityLabels, IpEntry, IpPrefix, Key, LABEL_NAMESPACE, Layout, Node};

use crate::{ExportEffect, namespaces::Namespaces};

/// Namespace and name.
type Name = (String, String);

/// What the kvstore should hold of them. Endpoints and identities of namespaces that are not global are not exported
/// (section 2.6 of the reference).
#[derive(Debug)]
pub struct ExportObjects {
    cluster: ClusterName,
    namespaces: Namespaces,
    /// Set by [`Self::namespaces_listed`]. Before, what is in a namespace that is not global would be exported for a moment.
    namespaces_listed: bool,
    /// Keys and values that were told.
    told: BTreeMap<String, Vec<u8>>,
    /// Who claims an address, in the order in which they began to. The first one has it.
    claims: BTreeMap<IpPrefix, Vec<(Name, IpEntry)>>,
    /// The newest addresses of every endpoint.
    endpoints: BTreeMap<Name, Vec<IpEntry>>,
    /// The newest labels of every identity.
    identities: BTreeMap<NumericIdentity, IdentityLabels>,
}

impl ExportObjects {
    /// Nothing is known yet. Namespaces without the annotation are global or not as `default_global_namespace` says.
    pub fn new(cluster: ClusterName, default_global_namespace: bool) -> Self {
        Self {
            cluster,
            namespaces: Namespaces::new(default_global_namespace),
            namespaces_listed: false,
            told: BTreeMap::new(),
            claims: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            identities: BTreeMap::new(),
        }
    }

    /// The newest annotations of a namespace; `None`: it is gone.
    pub fn namespace(&mut self, name: &str, annotations: Option<&BTreeMap<String, String>>) -> Vec<ExportEffect> {
        let before = self.exports(name);
        self.namespaces.set(name, annotations);
        if self.exports(name) == before { Vec::new() } else { self.retell(|namespace| namespace == name) }
    }

    /// All namespaces are known. Only now anything of theirs leaves.
    pub fn namespaces_listed(&mut self) -> Vec<ExportEffect> {
        if std::mem::replace(&mut self.namespaces_listed, true) { Vec::new() } else { self.retell(|_| true) }
    }

    /// The newest value of a node; `None`: it is gone.
    pub fn node(&mut self, name: &str, node: Option<&Node>) -> Option<ExportEffect> {
        let key = Key::node(Layout::State, &self.cluster, name);
        self.tell(&key, node.map(Node::encode))
    }

    /// The newest labels of an identity; `None`: it is gone.
    pub fn identity(&mut self, number: NumericIdentity, labels: Option<IdentityLabels>) -> Option<ExportEffect> {
        match labels {
            Some(labels) => self.identities.insert(number, labels),
            None => self.identities.remove(&number),
        };
        self.tell_identity(number)
    }

    /// The newest addresses of an endpoint; none: it is gone.
    ///
    /// While two endpoints claim an address, as when one takes over that of another which is about to go, the first stays
    /// its owner (section 2.6 of the reference).
    pub fn endpoint(&mut self, namespace: &str, name: &str, entries: Vec<IpEntry>) -> Vec<ExportEffect> {
        let name = (namespace.to_owned(), name.to_owned());
        let before = match entries.is_empty() {
            true => self.endpoints.remove(&name),
            false => self.endpoints.insert(name.clone(), entries.clone()),
        };
        if self.exports(namespace) { self.claim_all(&name, &before.unwrap_or_default(), entries) } else { Vec::new() }
    }

    /// What is in this namespace leaves.
    fn exports(&self, namespace: &str) -> bool {
        self.namespaces_listed && self.namespaces.is_global(namespace)
    }

    /// Tells anew what is in these namespaces, which began or ceased to be exported.
    fn retell(&mut self, namespaces: impl Fn(&str) -> bool) -> Vec<ExportEffect> {
        let endpoints = self.endpoints.iter().filter(|((namespace, _), _)| namespaces(namespace));
        let endpoints: Vec<_> = endpoints.map(|(name, entries)| (name.clone(), entries.clone())).collect();
        let mut effects = Vec::new();
        for (name, entries) in endpoints {
            effects.extend(match self.exports(&name.0) {
                true => self.claim_all(&name, &[], entries),
                false => self.claim_all(&name, &entries, Vec::new()),
            });
        }
        let identities = self.identities.iter().filter(|(_, labels)| namespaces(namespace_of(labels)));
        let identities: Vec<_> = identities.map(|(number, _)| *number).collect();
        effects.extend(identities.into_iter().filter_map(|number| self.tell_identity(number)));
        effects
    }

    fn tell_identity(&mut self, number: NumericIdentity) -> Option<ExportEffect> {
        let labels = self.identities.get(&number).filter(|labels| self.exports(namespace_of(labels)));
        let value = labels.map(IdentityLabels::encode);
        self.tell(&Key::identity(Layout::State, &self.cluster, number), value)
    }

    /// An endpoint that claimed the addresses `before` claims these from now on.
    fn claim_all(&mut self, name: &Name, before: &[IpEntry], entries: Vec<IpEntry>) -> Vec<ExportEffect> {
        let kept: Vec<IpPrefix> = entries.iter().map(|entry| entry.prefix).collect();
        let gone = before.iter().map(|entry| entry.prefix).filter(|prefix| !kept.contains(prefix));
        let changes = gone.map(|prefix| (prefix, None));
        let changes: Vec<_> = changes.chain(entries.into_iter().map(|entry| (entry.prefix, Some(entry)))).collect();
        changes.into_iter().filter_map(|(prefix, entry)| self.claim(prefix, name, entry)).collect()
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

/// The namespace of the pods that have this identity; empty for one that is not of pods.
fn namespace_of(labels: &IdentityLabels) -> &str {
    labels.k8s(LABEL_NAMESPACE).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects() -> ExportObjects {
        let mut objects = ExportObjects::new("alpha".parse().expect("a name"), true);
        assert!(objects.namespaces_listed().is_empty());
        objects
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
                let pod = IpEntry::decode(&value).map_or("identity".to_owned(), |entry| entry.pod);
                format!("+{} {pod}", tail(&key))
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

    #[test]
    fn only_global_namespaces_are_exported() {
        let mut objects = ExportObjects::new("alpha".parse().expect("a name"), false);
        let global = |value: &str| BTreeMap::from([("clustermesh.cilium.io/global".to_owned(), value.to_owned())]);
        let number = NumericIdentity::new(70_001);
        let labels = IdentityLabels::decode(b"k8s:io.kubernetes.pod.namespace=default;").expect("labels");
        // Before all namespaces are known nothing leaves.
        assert!(objects.endpoint("default", "one", vec![entry("10.1.0.11", "one")]).is_empty());
        assert!(objects.identity(number, Some(labels.clone())).is_none());
        assert!(objects.namespace("default", Some(&global("true"))).is_empty());
        let all = ["+10.1.0.11 one", "+70001 identity"];
        assert_eq!(texts(objects.namespaces_listed()), all);
        assert!(objects.namespaces_listed().is_empty());
        // It stops being global, and is again.
        assert_eq!(texts(objects.namespace("default", Some(&global("false")))), ["-10.1.0.11", "-70001"]);
        assert!(objects.namespace("default", None).is_empty(), "the default is the same");
        assert!(objects.identity(number, Some(labels)).is_none());
        assert!(objects.endpoint("default", "one", vec![entry("10.1.0.11", "two")]).is_empty());
        assert_eq!(texts(objects.namespace("default", Some(&global("true")))), ["+10.1.0.11 two", "+70001 identity"]);
        // What goes meanwhile does not come back.
        assert!(objects.namespace("other", Some(&global("true"))).is_empty());
        assert_eq!(texts(objects.namespace("default", None)), ["-10.1.0.11", "-70001"]);
        assert!(objects.endpoint("default", "one", Vec::new()).is_empty());
        assert!(objects.identity(number, None).is_none());
        assert!(objects.namespace("default", Some(&global("true"))).is_empty());
    }
}
