//! Cluster names and cluster IDs, with Cilium's rules (`pkg/clustermesh/types`).

use std::{fmt, num::NonZeroU16, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A cluster name: 1 to 32 characters, lower-case letters, digits and `-`, a letter or digit at both ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterName(String);

impl ClusterName {
    /// Longest allowed name, in characters.
    pub const LENGTH_MAX: usize = 32;

    /// Checks `name` against the rules above.
    pub fn new(name: impl Into<String>) -> Result<Self, ClusterNameError> {
        let name = name.into();
        let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if name.is_empty() {
            Err(ClusterNameError::Empty)
        } else if name.chars().count() > Self::LENGTH_MAX {
            Err(ClusterNameError::TooLong { length: name.chars().count() })
        } else if let Some(found) = name.chars().find(|&c| !alphanumeric(c) && c != '-') {
            Err(ClusterNameError::Character { found })
        } else if name.starts_with('-') || name.ends_with('-') {
            Err(ClusterNameError::Ends)
        } else {
            Ok(Self(name))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for ClusterName {
    type Err = ClusterNameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

impl Serialize for ClusterName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ClusterName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// Why a text is no cluster name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterNameError {
    /// No characters at all.
    #[error("cluster name is empty")]
    Empty,
    /// More than [`ClusterName::LENGTH_MAX`] characters.
    #[error("cluster name has {length} characters, at most {} are allowed", ClusterName::LENGTH_MAX)]
    TooLong {
        /// Number of characters found.
        length: usize,
    },
    /// A character that is not allowed anywhere.
    #[error("cluster name contains `{found}`, only lower-case letters, digits and `-` are allowed")]
    Character {
        /// The first such character.
        found: char,
    },
    /// A `-` at the start or the end.
    #[error("cluster name must start and end with a lower-case letter or a digit")]
    Ends,
}

/// How many clusters a mesh can have; it decides how many bits of an identity hold the cluster ID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MaxConnectedClusters {
    /// 8 bits of cluster ID.
    #[default]
    N255,
    /// 9 bits of cluster ID.
    N511,
}

impl MaxConnectedClusters {
    /// The number itself.
    pub fn get(self) -> u16 {
        match self {
            Self::N255 => 255,
            Self::N511 => 511,
        }
    }
}

/// A mesh cluster ID. Zero (no mesh) cannot be expressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ClusterId(NonZeroU16);

impl ClusterId {
    /// Checks `raw` against `1..=limit`.
    pub fn new(raw: u16, limit: MaxConnectedClusters) -> Result<Self, ClusterIdError> {
        match NonZeroU16::new(raw) {
            None => Err(ClusterIdError::Reserved),
            Some(id) if raw <= limit.get() => Ok(Self(id)),
            Some(_) => Err(ClusterIdError::TooLarge { found: raw, limit: limit.get() }),
        }
    }

    /// The number itself, `1..=511`.
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for ClusterId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(u16::deserialize(deserializer)?, MaxConnectedClusters::N511).map_err(de::Error::custom)
    }
}

/// Why a number is no cluster ID. The words are Cilium's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterIdError {
    /// Zero means "not in a mesh".
    #[error("ClusterID 0 is reserved")]
    Reserved,
    /// Above the limit of the mesh.
    #[error("ClusterID > {limit} is not supported, found {found}")]
    TooLarge {
        /// The number found.
        found: u16,
        /// The largest one allowed, 255 or 511.
        limit: u16,
    },
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("alpha" => Ok(()) ; "letters")]
    #[test_case("a" => Ok(()) ; "one character")]
    #[test_case("eu-1" => Ok(()) ; "dash inside")]
    #[test_case("" => Err(ClusterNameError::Empty) ; "empty")]
    #[test_case("-a" => Err(ClusterNameError::Ends) ; "dash at the start")]
    #[test_case("a.b" => Err(ClusterNameError::Character { found: '.' }) ; "dot")]
    #[test_case("Alpha" => Err(ClusterNameError::Character { found: 'A' }) ; "upper case")]
    #[test_case("a23456789012345678901234567890123" => Err(ClusterNameError::TooLong { length: 33 }) ; "33 characters")]
    fn cluster_names(name: &str) -> Result<(), ClusterNameError> {
        ClusterName::new(name).map(|_| ())
    }

    #[test_case(0, MaxConnectedClusters::N255 => Err(ClusterIdError::Reserved))]
    #[test_case(255, MaxConnectedClusters::N255 => Ok(255))]
    #[test_case(256, MaxConnectedClusters::N255 => Err(ClusterIdError::TooLarge { found: 256, limit: 255 }))]
    #[test_case(511, MaxConnectedClusters::N511 => Ok(511))]
    fn cluster_ids(raw: u16, limit: MaxConnectedClusters) -> Result<u16, ClusterIdError> {
        ClusterId::new(raw, limit).map(ClusterId::get)
    }
}
