//! Lists of what the agent knows, as `cilium-dbg` prints them.

use super::{ClusterNodes, Identity};
use crate::table;

/// `node list`.
pub(crate) fn node_table(nodes: &ClusterNodes) -> String {
    let titles = ["Name", "IPv4 Address", "Endpoint CIDR", "IPv6 Address", "Endpoint CIDR", "Source"];
    let rows = nodes.nodes.iter().map(|node| {
        let (ipv4, ipv6) = (&node.primary_address.ipv4, &node.primary_address.ipv6);
        [&*node.name, &ipv4.ip, &ipv4.alloc_range, &ipv6.ip, &ipv6.alloc_range, node.source.as_str()]
    });
    table::render(&[titles].into_iter().chain(rows).collect::<Vec<_>>())
}

/// `identity list`: a line for each label, the number before the first.
pub(crate) fn identity_table(identities: &[Identity]) -> String {
    let numbers: Vec<String> = identities.iter().map(|identity| identity.id.to_string()).collect();
    let mut rows = vec![["ID", "LABELS"]];
    for (identity, number) in identities.iter().zip(&numbers) {
        let mut labels = identity.labels.iter();
        rows.push([number, labels.next().map_or("", String::as_str)]);
        rows.extend(labels.map(|label| ["", label.as_str()]));
    }
    table::render(&rows)
}
