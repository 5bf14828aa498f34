//! What the datapath knows of an address.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Who is behind an address or a prefix of addresses, and where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct IpcacheEntry {
    /// Numeric security identity. In a mesh its upper bits hold the cluster ID.
    pub identity: u32,
    /// The node that the address lives on; `None` when it is this node, or a node's own address.
    pub tunnel_endpoint: Option<IpAddr>,
    /// Index of the key that packets are encrypted with, 0 for none.
    pub encrypt_key: u8,
    /// Whether packets go to the node without a tunnel although there is one.
    pub skip_tunnel: bool,
    /// Whether the address is one of a node of another cluster (not of a pod there).
    pub remote_cluster: bool,
}
