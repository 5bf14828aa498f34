//! Which side of the mesh a global service prefers.

use serde::{Deserialize, Serialize};

/// Value of the annotation `service.cilium.io/affinity` (legacy `io.cilium/service-affinity`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Affinity {
    /// No preference: traffic splits by the number of backends.
    #[default]
    None,
    /// Local backends while one of them is active, else remote ones.
    Local,
    /// Remote backends while one of them is healthy, else local ones.
    Remote,
}
