//! What a node's maps hold and should not, or do not hold and should.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One difference between the maps of a node and what they should hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MapDifference {
    /// What sort of difference.
    pub kind: DifferenceKind,
    /// The service, as `namespace/name`, where one is concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The frontend, such as `10.101.0.10:80/TCP`; empty when none is concerned.
    pub frontend: String,
    /// The backend, such as `10.1.1.2:80/TCP`, where one is concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// Cluster of the backend, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The difference as a sentence without a full stop, naming service, frontend and backend.
    pub message: String,
}

/// Sorts of differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DifferenceKind {
    /// A frontend that should be there is not.
    MissingFrontend,
    /// A frontend belongs to no service.
    StrayFrontend,
    /// A backend that should be there is not.
    MissingBackend,
    /// A backend is there that was right once and no longer is.
    StaleBackend,
    /// A backend is there that was never right.
    ForeignBackend,
    /// A backend is selectable and should not be, or the other way round.
    WrongSide,
    /// A backend has more than one slot.
    Duplicate,
    /// A frontend keeps clients with their backends and should not, not when it should, or not as long as it should.
    Affinity,
    /// The maps contradict themselves, whatever the services are.
    Structure,
}

impl DifferenceKind {
    /// Whether something is missing that should be there; otherwise something is there that should not be.
    pub fn is_missing(self) -> bool {
        matches!(self, Self::MissingFrontend | Self::MissingBackend)
    }
}

impl fmt::Display for MapDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
