//! The `links:` of a topology.

use std::{collections::BTreeMap, net::Ipv4Addr};

use ipnet::Ipv4Net;
use mesh_types::ClusterName;

use crate::{
    Cluster, Link, default_nat_address,
    read_link::{LINK_CONDITION_KEYS, LINK_END_KEYS, link_conditions, link_ends},
    walk::{Cursor, Fields, Findings},
};

/// A direction and the item that it is from.
pub(crate) type Read<'a> = (Cursor<'a>, Link);

/// Reads all items of `links`; none when the key is not there. `known` are the clusters there are.
pub(crate) fn read<'a>(findings: &mut Findings, fields: &Fields<'a>, known: &[ClusterName]) -> Vec<Read<'a>> {
    let items = fields.optional("links").and_then(|list| list.items(findings)).unwrap_or_default();
    let keys: Vec<&str> = LINK_END_KEYS.into_iter().chain(LINK_CONDITION_KEYS).collect();
    let mut links = Vec::new();
    let mut given = BTreeMap::new();
    for item in items {
        let Some(fields) = item.fields(findings, &keys) else { continue };
        let ends = link_ends(findings, &item, &fields, known);
        let Some(conditions) = link_conditions(findings, &fields) else { continue };
        if conditions.is_clear() {
            findings.report(&item, "there is no condition: a link that is not listed is as good", None);
        }
        for (from, to) in ends.unwrap_or_default() {
            if let Some(first) = given.get(&(from.clone(), to.clone())) {
                findings.report(&item, format!("the direction from `{from}` to `{to}` is already at {first}"), None);
                continue;
            }
            given.insert((from.clone(), to.clone()), item.path.clone());
            links.push((item.clone(), Link { from, to, conditions: conditions.clone() }));
        }
    }
    links
}

/// The addresses that hide clusters are unique and no cluster's.
pub(crate) fn check_nat(findings: &mut Findings, links: &[Read<'_>], clusters: &[Cluster]) {
    let find = |name: &ClusterName| clusters.iter().find(|cluster| cluster.name() == name);
    let mut given: BTreeMap<Ipv4Addr, &str> = BTreeMap::new();
    for (at, link) in links {
        let Some(nat) = &link.conditions.nat else { continue };
        let (Some(from), Some(to)) = (find(&link.from), find(&link.to)) else { continue };
        let Some(address) = nat.address.or_else(|| default_nat_address(from.id(), to.id())) else { continue };
        if let Some((key, cidr, cluster)) = owner(clusters, address) {
            let message = format!("NAT address {address} is in {key} {cidr} of `{cluster}`");
            let hint = "name another one: `nat: {address: 203.0.113.7}`";
            findings.report(at, message, Some(hint.to_owned()));
        }
        match given.get(&address) {
            Some(first) => findings.report(at, format!("NAT address {address} is already used at {first}"), None),
            None => drop(given.insert(address, &at.path)),
        }
    }
}

fn owner(clusters: &[Cluster], address: Ipv4Addr) -> Option<(&'static str, Ipv4Net, &ClusterName)> {
    clusters.iter().find_map(|cluster| {
        let cidrs = [
            ("nodeCIDR", cluster.node_cidr()),
            ("podCIDR", cluster.pod_cidr()),
            ("serviceCIDR", cluster.service_cidr()),
        ];
        let (key, cidr) = cidrs.into_iter().find(|(_, cidr)| cidr.contains(&address))?;
        Some((key, cidr, cluster.name()))
    })
}
