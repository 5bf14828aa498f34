//! A topology file to a [`Topology`].

use std::{collections::BTreeMap, net::Ipv4Addr, path::Path};

use ipnet::{IpNet, Ipv4Net};
use mesh_types::{ClusterId, ClusterName, MaxConnectedClusters};

use crate::{
    CLUSTERS_MAX, Cluster, Diagnostics, FIRST_NODE_HOST, FileKind, NODE_POD_PREFIX, NODES_MAX, Node, Topology,
    agent_settings, header, read_links, tls,
    topology::host,
    walk::{Cursor, Fields, Findings},
};

/// Longest prefix of a service CIDR: 14 services.
const SERVICE_PREFIX_MAX: u8 = 28;

/// Ranges that no node, pod or service can live in.
const UNUSABLE: [(&str, Ipv4Addr, u8); 4] = [
    ("`this network`", Ipv4Addr::new(0, 0, 0, 0), 8),
    ("loopback", Ipv4Addr::new(127, 0, 0, 0), 8),
    ("link-local", Ipv4Addr::new(169, 254, 0, 0), 16),
    ("multicast or reserved", Ipv4Addr::new(224, 0, 0, 0), 3),
];

pub(crate) fn load(file: &Path) -> Result<Topology, Diagnostics> {
    header::load(FileKind::Topology, file, read)
}

pub(crate) fn parse(text: &str, file: &Path) -> Result<Topology, Diagnostics> {
    header::parse(FileKind::Topology, text, file, read)
}

/// `None` only after a finding.
fn read(findings: &mut Findings, text: &str) -> Option<Topology> {
    let tree = findings.tree(text)?;
    let fields =
        Cursor::root(&tree).fields(findings, &["apiVersion", "kind", "name", "clusters", "links", "tls", "agents"])?;
    header::check(findings, &fields, FileKind::Topology);
    let name = fields.required(findings, "name").and_then(|name| name.name(findings).map(str::to_owned));

    let agents = agent_settings::read(findings, &fields);
    let list = fields.required(findings, "clusters")?;
    let items = list.items(findings)?;
    if items.is_empty() {
        findings.report(&list, "there is no cluster, at least one is needed", None);
    }
    if items.len() > CLUSTERS_MAX {
        findings.report(&list, format!("there are {} clusters, at most {CLUSTERS_MAX} can be", items.len()), None);
        return None;
    }
    let drafts: Vec<Draft<'_>> =
        items.iter().filter_map(|item| read_cluster(findings, item, agents.max_connected_clusters)).collect();
    check_unique(findings, &drafts);
    check_overlaps(findings, &drafts);
    let names: Vec<ClusterName> = drafts.iter().filter_map(|draft| Some(draft.name.as_ref()?.1.clone())).collect();
    let links = read_links::read(findings, &fields, &names);
    let tls = tls::read(findings, &fields);
    let clusters: Vec<Cluster> = drafts.into_iter().map(Draft::finish).collect::<Option<_>>()?;
    read_links::check_nat(findings, &links, &clusters);
    let links = links.into_iter().map(|(_, link)| link).collect();
    Some(Topology { name: name?, clusters, links, tls, agents, text: text.to_owned() })
}

/// A value that could be read, and where it stands.
type Read<'a, T> = Option<(Cursor<'a>, T)>;

/// What could be read of a cluster.
struct Draft<'a> {
    /// How findings call it: its name as written, or its path.
    label: String,
    name: Read<'a, ClusterName>,
    id: Read<'a, ClusterId>,
    node_cidr: Read<'a, Ipv4Net>,
    pod_cidr: Read<'a, Ipv4Net>,
    service_cidr: Read<'a, Ipv4Net>,
    nodes: Vec<(Cursor<'a>, String)>,
    env: BTreeMap<String, String>,
    kernel: Option<String>,
}

impl<'a> Draft<'a> {
    /// `None` when something is missing, which has been reported.
    fn finish(self) -> Option<Cluster> {
        let (node_cidr, pod_cidr) = (self.node_cidr?.1, self.pod_cidr?.1);
        let node = |(index, (_, name)): (usize, (Cursor<'a>, String))| {
            let number = u32::try_from(index).ok()?;
            Some(Node {
                name,
                address: host(node_cidr, FIRST_NODE_HOST + number),
                // Numbers from 1, so that 10.1.1.0/24 belongs to the first node of 10.1.0.0/16.
                pod_cidr: pod_cidr.subnets(NODE_POD_PREFIX).ok()?.nth(index + 1)?,
            })
        };
        Some(Cluster {
            name: self.name?.1,
            id: self.id?.1,
            node_cidr,
            pod_cidr,
            service_cidr: self.service_cidr?.1,
            nodes: self.nodes.into_iter().enumerate().map(node).collect::<Option<_>>()?,
            env: self.env,
            kernel: self.kernel,
        })
    }

    fn cidrs(&self) -> impl Iterator<Item = (&'static str, &Cursor<'a>, Ipv4Net)> {
        let all = [("nodeCIDR", &self.node_cidr), ("podCIDR", &self.pod_cidr), ("serviceCIDR", &self.service_cidr)];
        all.into_iter().filter_map(|(key, read)| read.as_ref().map(|(at, cidr)| (key, at, *cidr)))
    }
}

fn read_cluster<'a>(findings: &mut Findings, item: &Cursor<'a>, size: MaxConnectedClusters) -> Option<Draft<'a>> {
    let keys = ["name", "id", "nodeCIDR", "podCIDR", "serviceCIDR", "nodes", "env", "kernel"];
    let fields = item.fields(findings, &keys)?;
    let name = fields.required(findings, "name");
    let written = name.as_ref().and_then(|name| name.text(findings));
    let draft = Draft {
        label: written.map_or_else(|| item.path.clone(), str::to_owned),
        name: name.zip(written).and_then(|(at, text)| read_cluster_name(findings, at, text)),
        id: fields.required(findings, "id").and_then(|at| read_id(findings, at, size)),
        node_cidr: read_cidr(findings, &fields, "nodeCIDR"),
        pod_cidr: read_cidr(findings, &fields, "podCIDR"),
        service_cidr: read_cidr(findings, &fields, "serviceCIDR"),
        nodes: read_nodes(findings, &fields),
        env: agent_settings::read_env(findings, &fields),
        kernel: fields.optional("kernel").and_then(|at| at.text(findings).map(str::to_owned)),
    };
    check_room(findings, &draft);
    Some(draft)
}

fn read_cluster_name<'a>(findings: &mut Findings, at: Cursor<'a>, text: &str) -> Read<'a, ClusterName> {
    match ClusterName::new(text) {
        Ok(name) => Some((at, name)),
        Err(error) => {
            findings.report(&at, format!("`{text}`: {error}"), None);
            None
        }
    }
}

fn read_id<'a>(findings: &mut Findings, at: Cursor<'a>, size: MaxConnectedClusters) -> Read<'a, ClusterId> {
    let number = at.number(findings, 0, u16::MAX.into())?;
    let number = u16::try_from(number).expect("the range was checked");
    match ClusterId::new(number, size) {
        Ok(id) => Some((at, id)),
        Err(error) => {
            findings.report(&at, error.to_string(), Some(format!("a cluster ID is a number from 1 to {}", size.get())));
            None
        }
    }
}

fn read_cidr<'a>(findings: &mut Findings, fields: &Fields<'a>, key: &str) -> Read<'a, Ipv4Net> {
    let at = fields.required(findings, key)?;
    let text = at.text(findings)?;
    let like = || Some("a CIDR is like `10.1.0.0/16`".to_owned());
    let cidr = match text.parse::<IpNet>() {
        Ok(IpNet::V4(cidr)) => cidr,
        Ok(IpNet::V6(_)) => {
            findings.report(&at, format!("`{text}` is IPv6, only IPv4 is supported"), like());
            return None;
        }
        Err(_) => {
            findings.report(&at, format!("`{text}` is no CIDR"), like());
            return None;
        }
    };
    if cidr != cidr.trunc() {
        let hint = Some(format!("did you mean `{}`?", cidr.trunc()));
        findings.report(&at, format!("`{text}` has bits set beyond its prefix"), hint);
        return None;
    }
    for (what, address, prefix) in UNUSABLE {
        let range = Ipv4Net::new(address, prefix).expect("the table holds prefixes up to 32");
        if overlap(cidr, range) {
            findings.report(&at, format!("`{text}` overlaps {range} ({what})"), None);
            return None;
        }
    }
    Some((at, cidr))
}

fn read_nodes<'a>(findings: &mut Findings, fields: &Fields<'a>) -> Vec<(Cursor<'a>, String)> {
    let Some(list) = fields.required(findings, "nodes") else { return Vec::new() };
    let Some(items) = list.items(findings) else { return Vec::new() };
    if items.is_empty() {
        findings.report(&list, "there is no node, at least one is needed", None);
    }
    if items.len() > NODES_MAX {
        findings.report(&list, format!("there are {} nodes, at most {NODES_MAX} can be", items.len()), None);
        return Vec::new();
    }
    let mut nodes = Vec::new();
    for item in items {
        let Some(fields) = item.fields(findings, &["name"]) else { continue };
        let Some(at) = fields.required(findings, "name") else { continue };
        if let Some(name) = at.name(findings) {
            nodes.push((at.clone(), name.to_owned()));
        }
    }
    nodes
}

/// Whether the CIDRs are large enough for what is in them.
fn check_room(findings: &mut Findings, draft: &Draft<'_>) {
    let nodes = u32::try_from(draft.nodes.len()).expect("the number of nodes was checked");
    if let Some((at, cidr)) = &draft.node_cidr {
        // The last address is the broadcast address.
        let last = u32::from(cidr.broadcast()) - u32::from(cidr.network());
        if FIRST_NODE_HOST + nodes > last {
            let message = format!("{cidr} is too small: {nodes} nodes have addresses from .{FIRST_NODE_HOST} on");
            findings.report(at, message, Some("use a /24".to_owned()));
        }
    }
    if let Some((at, cidr)) = &draft.pod_cidr {
        // The first subnet stays free: nodes count from 1.
        let room = (1_u64 << NODE_POD_PREFIX.saturating_sub(cidr.prefix_len())) - 1;
        if u64::from(nodes) > room {
            let message = format!(
                "{cidr} is too small: {nodes} nodes need a /{NODE_POD_PREFIX} each and the first one stays free, \
                 there is room for {room}"
            );
            findings.report(at, message, Some("use a /16".to_owned()));
        }
    }
    if let Some((at, cidr)) = draft.service_cidr.as_ref().filter(|(_, cidr)| cidr.prefix_len() > SERVICE_PREFIX_MAX) {
        let message = format!("{cidr} is too small: a service CIDR is a /{SERVICE_PREFIX_MAX} or larger");
        findings.report(at, message, None);
    }
}

/// Cluster names, cluster IDs and node names are unique in the mesh.
fn check_unique(findings: &mut Findings, drafts: &[Draft<'_>]) {
    let mut names = BTreeMap::new();
    let mut ids = BTreeMap::new();
    let mut nodes = BTreeMap::new();
    for draft in drafts {
        if let Some((at, name)) = &draft.name {
            match names.get(name) {
                Some(first) => findings.report(at, format!("cluster name `{name}` is already used at {first}"), None),
                None => drop(names.insert(name.clone(), at.path.clone())),
            }
        }
        if let Some((at, id)) = &draft.id {
            match ids.get(id) {
                Some(holder) => findings.report(at, format!("cluster ID {id} is already used by `{holder}`"), None),
                None => drop(ids.insert(*id, draft.label.clone())),
            }
        }
        for (at, name) in &draft.nodes {
            match nodes.get(name) {
                Some(first) => findings.report(at, format!("node name `{name}` is already used at {first}"), None),
                None => drop(nodes.insert(name.clone(), at.path.clone())),
            }
        }
    }
}

/// No two CIDRs of the mesh overlap, within a cluster or between clusters.
fn check_overlaps(findings: &mut Findings, drafts: &[Draft<'_>]) {
    let mut before: Vec<(&str, &str, Ipv4Net)> = Vec::new();
    for draft in drafts {
        for (key, at, cidr) in draft.cidrs() {
            for (holder, other_key, other) in &before {
                if overlap(cidr, *other) {
                    findings.report(at, format!("{cidr} overlaps {other_key} {other} of `{holder}`"), None);
                }
            }
            before.push((&draft.label, key, cidr));
        }
    }
}

fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b) || b.contains(&a)
}
