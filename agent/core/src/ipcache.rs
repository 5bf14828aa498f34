//! Who is behind each address: what the ipcache should hold, from nodes and addresses of our own and of remote clusters.
//!
//! Several may claim one address: an endpoint and the node that it runs on, or clusters whose pod CIDRs overlap although they
//! must not. In Cilium the last writer wins. Here the outcome depends on who claims, never on the order: our own cluster
//! before remote ones, these by name, an endpoint before a node, nodes by name.

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry as MapEntry, hash_map::Entry},
    net::IpAddr,
    sync::Arc,
};

use mesh_types::{ClusterName, IpPrefix, IpcacheEntry, NumericIdentity};
use mesh_wire::{IpEntry, Node};

/// A kind of node address: the one that other nodes reach it by.
const INTERNAL_IP: &str = "InternalIP";
/// A kind of node address: its own address among its pods' ones.
const CILIUM_INTERNAL_IP: &str = "CiliumInternalIP";

/// Whose something is: our own cluster's, or a remote one's.
type Owner = Option<ClusterName>;

/// A change of the ipcache: what a prefix is from now on; `None`: nothing is known of it.
pub type IpcacheChange = (IpPrefix, Option<IpcacheEntry>);

/// Who claims a prefix. The order is that in which claims count.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Claimant {
    owner: Arc<Owner>,
    /// `None`: an endpoint.
    node: Option<Arc<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Claim {
    by: Claimant,
    entry: IpcacheEntry,
}

/// All claims of one prefix; nearly always there is one.
#[derive(Debug)]
enum Claims {
    One(Claim),
    /// Two or more, in the order in which they count.
    More(Vec<Claim>),
}

/// What is known of addresses.
#[derive(Debug)]
pub struct Ipcache {
    /// Name of our own node.
    node: String,
    /// All owners that were seen, so that claims can share them.
    owners: BTreeMap<Owner, Arc<Owner>>,
    claims: HashMap<IpPrefix, Claims>,
    /// Which prefixes each node claims.
    nodes: BTreeMap<(Owner, Arc<str>), Vec<IpPrefix>>,
}

impl Ipcache {
    /// Nothing is known but that everything else is the world.
    pub fn new(node: impl Into<String>) -> Self {
        Self { node: node.into(), owners: BTreeMap::new(), claims: HashMap::new(), nodes: BTreeMap::new() }
    }

    /// What is true without anybody saying so: whatever nobody claims is the world.
    pub fn world() -> Vec<IpcacheChange> {
        let entry = IpcacheEntry { identity: NumericIdentity::WORLD.get(), ..IpcacheEntry::default() };
        let all = IpPrefix::new(IpAddr::from([0, 0, 0, 0]), 0);
        all.into_iter().map(|all| (all, Some(entry))).collect()
    }

    /// How many prefixes are claimed.
    pub fn len(&self) -> usize {
        self.claims.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    /// Whether somebody claims a prefix.
    pub fn contains(&self, prefix: IpPrefix) -> bool {
        self.claims.contains_key(&prefix)
    }

    /// The newest value of an address or CIDR; `cluster` is `None` for our own. Returns what changes.
    pub fn endpoint(&mut self, cluster: Owner, prefix: IpPrefix, entry: Option<&IpEntry>) -> Vec<IpcacheChange> {
        let by = Claimant { owner: self.owner(cluster), node: None };
        let entry = entry.map(|entry| IpcacheEntry {
            identity: entry.identity.get(),
            tunnel_endpoint: entry.host,
            encrypt_key: entry.encryption_key,
            skip_tunnel: false,
            remote_cluster: false,
        });
        self.claim(prefix, by, entry).into_iter().collect()
    }

    /// The newest value of a node; `cluster` is `None` for our own. Returns what changes.
    pub fn node(&mut self, cluster: Owner, name: &str, node: Option<&Node>) -> Vec<IpcacheChange> {
        let wanted = node.map(|node| self.claims_of(&cluster, node)).unwrap_or_default();
        let owner = self.owner(cluster.clone());
        let name: Arc<str> = name.into();
        let by = Claimant { owner, node: Some(Arc::clone(&name)) };
        let prefixes: Vec<IpPrefix> = wanted.iter().map(|(prefix, _)| *prefix).collect();
        let before = match self.nodes.entry((cluster, name)) {
            MapEntry::Occupied(mut held) if !prefixes.is_empty() => std::mem::replace(held.get_mut(), prefixes.clone()),
            MapEntry::Occupied(held) => held.remove(),
            MapEntry::Vacant(place) => {
                if !prefixes.is_empty() {
                    place.insert(prefixes.clone());
                }
                Vec::new()
            }
        };
        let mut changes: Vec<IpcacheChange> =
            wanted.into_iter().filter_map(|(prefix, entry)| self.claim(prefix, by.clone(), Some(entry))).collect();
        let gone = before.into_iter().filter(|prefix| !prefixes.contains(prefix)).collect::<Vec<_>>();
        changes.extend(gone.into_iter().filter_map(|prefix| self.claim(prefix, by.clone(), None)));
        changes
    }

    /// A remote cluster is no more: nothing of what it said counts. Returns what changes.
    pub fn remove_cluster(&mut self, cluster: &ClusterName) -> Vec<IpcacheChange> {
        let owner = Some(cluster.clone());
        self.nodes.retain(|(of, _), _| *of != owner);
        let Some(owner) = self.owners.remove(&owner) else { return Vec::new() };
        let theirs = |claims: &Claims| claims.all().iter().any(|claim| claim.by.owner == owner);
        let prefixes: Vec<IpPrefix> =
            self.claims.iter().filter(|(_, claims)| theirs(claims)).map(|(prefix, _)| *prefix).collect();
        let mut changes = Vec::new();
        for prefix in prefixes {
            let claimants: Vec<Claimant> = self.claims[&prefix].all().iter().map(|claim| claim.by.clone()).collect();
            let before = self.entry(prefix);
            for by in claimants.into_iter().filter(|by| by.owner == owner) {
                self.claim(prefix, by, None);
            }
            let after = self.entry(prefix);
            changes.extend((before != after).then_some((prefix, after)));
        }
        changes
    }

    /// What the ipcache should hold for a prefix.
    pub fn entry(&self, prefix: IpPrefix) -> Option<IpcacheEntry> {
        self.claims.get(&prefix).map(Claims::entry)
    }

    fn owner(&mut self, cluster: Owner) -> Arc<Owner> {
        Arc::clone(self.owners.entry(cluster).or_insert_with_key(|cluster| Arc::new(cluster.clone())))
    }

    /// What a node claims: its addresses are the node itself, what is left of its pods' addresses is the world behind it.
    fn claims_of(&self, cluster: &Owner, node: &Node) -> Vec<(IpPrefix, IpcacheEntry)> {
        let ours = cluster.is_none() && node.name == self.node;
        let identity = if ours { NumericIdentity::HOST } else { NumericIdentity::REMOTE_NODE };
        let reached_by = |of: &IpAddr| {
            let same = |ip: IpAddr| (ip.is_ipv4() == of.is_ipv4()).then_some(ip);
            node.address(INTERNAL_IP, same).filter(|_| !ours)
        };
        let own = node.addresses.iter().filter(|address| [INTERNAL_IP, CILIUM_INTERNAL_IP].contains(&&*address.kind));
        let addresses = own.map(|address| {
            let entry = IpcacheEntry {
                identity: identity.get(),
                tunnel_endpoint: reached_by(&address.ip).filter(|_| address.kind == CILIUM_INTERNAL_IP),
                encrypt_key: if ours { 0 } else { node.encryption_key },
                skip_tunnel: false,
                remote_cluster: cluster.is_some(),
            };
            (IpPrefix::from(address.ip), entry)
        });
        let v4 = node.ipv4_pods.iter().chain(&node.ipv4_pods_secondary);
        let v4 = v4.filter_map(|net| IpPrefix::new(net.addr().into(), net.prefix_len()).ok());
        let v6 = node.ipv6_pods.iter().chain(&node.ipv6_pods_secondary);
        let v6 = v6.filter_map(|net| IpPrefix::new(net.addr().into(), net.prefix_len()).ok());
        let pods = v4.chain(v6).filter(|_| !ours).map(|prefix| {
            let entry = IpcacheEntry {
                identity: NumericIdentity::WORLD.get(),
                tunnel_endpoint: reached_by(&prefix.address()),
                encrypt_key: node.encryption_key,
                ..IpcacheEntry::default()
            };
            (prefix, entry)
        });
        addresses.chain(pods).collect()
    }

    /// Takes the newest claim of somebody; returns what the prefix is from now on, if that is news.
    fn claim(&mut self, prefix: IpPrefix, by: Claimant, entry: Option<IpcacheEntry>) -> Option<IpcacheChange> {
        let before = self.entry(prefix);
        match (self.claims.entry(prefix), entry) {
            (Entry::Vacant(place), Some(entry)) => {
                place.insert(Claims::One(Claim { by, entry }));
            }
            (Entry::Vacant(_), None) => {}
            (Entry::Occupied(mut held), Some(entry)) => held.get_mut().put(Claim { by, entry }),
            (Entry::Occupied(mut held), None) => {
                if held.get_mut().take(&by) {
                    held.remove();
                }
            }
        }
        let after = self.entry(prefix);
        (before != after).then_some((prefix, after))
    }
}

impl Claims {
    fn all(&self) -> &[Claim] {
        match self {
            Self::One(claim) => std::slice::from_ref(claim),
            Self::More(claims) => claims,
        }
    }

    /// That of the first.
    fn entry(&self) -> IpcacheEntry {
        match self {
            Self::One(claim) => claim.entry,
            // There are at least two.
            Self::More(claims) => claims[0].entry,
        }
    }

    fn put(&mut self, claim: Claim) {
        match self {
            Self::One(held) if held.by == claim.by => *held = claim,
            Self::One(held) => {
                let mut claims = vec![held.clone(), claim];
                claims.sort_by(|one, other| one.by.cmp(&other.by));
                *self = Self::More(claims);
            }
            Self::More(claims) => match claims.binary_search_by(|held| held.by.cmp(&claim.by)) {
                Ok(at) => claims[at] = claim,
                Err(at) => claims.insert(at, claim),
            },
        }
    }

    /// Takes somebody's claim away; true when none is left.
    fn take(&mut self, by: &Claimant) -> bool {
        match self {
            Self::One(held) => held.by == *by,
            Self::More(claims) => {
                claims.retain(|held| held.by != *by);
                if let [last] = claims.as_slice() {
                    *self = Self::One(last.clone());
                }
                false
            }
        }
    }
}
