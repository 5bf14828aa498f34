//! How the machines of a mesh that is spread over several reach each other.

use std::{collections::BTreeMap, io, net::SocketAddrV4};

use ipnet::Ipv4Net;
use mesh_types::ClusterName;
use serde::{Deserialize, Serialize};

use crate::error::{Act, SystemError};

/// Environment variable of the machine that leads: a JSON list of an [`OutpostLink`] for each other machine.
pub const OUTPOSTS: &str = "MESHBED_OUTPOSTS";
/// Environment variable of each other machine: its [`OutpostLink`] as JSON.
pub const OUTPOST: &str = "MESHBED_OUTPOST";

/// What joins the machine that leads and one other, as seen from one of the two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutpostLink {
    /// The clusters that are on the other machine (not the one that leads).
    pub clusters: Vec<ClusterName>,
    /// Hardware address of the interface over which the harness talks, on the machine that reads this.
    pub management: String,
    /// Address of that interface, on the machine that reads this.
    pub address: Ipv4Net,
    /// Where the other machine (not the one that leads) listens.
    pub listens: SocketAddrV4,
    /// Hardware address, on the machine that reads this, of the interface that is the link between the segment of each of
    /// [`Self::clusters`] and the router.
    pub segments: BTreeMap<ClusterName, String>,
}

impl OutpostLink {
    /// Hardware address of the interface that leads to the segment of `cluster`, or away from it.
    pub(crate) fn segment(&self, cluster: &ClusterName) -> Result<&str, SystemError> {
        let found = self.segments.get(cluster).map(String::as_str);
        found
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
            .act(|| format!("find the interface to cluster `{cluster}`"))
    }
}
