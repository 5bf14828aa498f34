//! Value of `cilium/cluster-config/<cluster>`.

use mesh_planted::{Defect, planted};
use mesh_types::{ClusterId, ClusterIdError, MaxConnectedClusters};
use serde::{Deserialize, Serialize};

use crate::go_json::{self, is_false, is_zero, null_as_default};

/// What a cluster says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterConfig {
    /// Its ID.
    pub id: ClusterId,
    /// What its data looks like.
    pub capabilities: Capabilities,
}

/// What readers may expect of a cluster's data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Capabilities {
    /// It writes a canary per prefix: readers wait for it before they list the prefix.
    #[serde(skip_serializing_if = "is_false", deserialize_with = "null_as_default")]
    pub synced_canaries: bool,
    /// Its data lies under `cilium/cache`.
    #[serde(skip_serializing_if = "is_false", deserialize_with = "null_as_default")]
    pub cached: bool,
    /// 255 or 511; 0 when an old version did not say.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "null_as_default")]
    pub max_connected_clusters: u32,
    /// MCS exports on or off; `None` when the cluster does not know the feature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_exports_enabled: Option<bool>,
    /// Which service formats it writes (1.20 and later).
    #[serde(skip_serializing_if = "EndpointSlicesExportMode::is_services_only", deserialize_with = "null_as_default")]
    pub endpoint_slices_export_mode: EndpointSlicesExportMode,
}

/// Which service formats a cluster writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum EndpointSlicesExportMode {
    /// Services v1 only (up to 1.19, and when the field is absent).
    #[default]
    ServicesOnly,
    /// Both formats.
    ServicesAndEndpointSlices,
    /// Endpoint slices only: a v1 reader gets nothing from such a peer.
    EndpointSlicesOnly,
    /// A mode of a later version, kept as it is.
    Other(String),
}

impl EndpointSlicesExportMode {
    fn is_services_only(&self) -> bool {
        *self == Self::ServicesOnly
    }
}

impl From<String> for EndpointSlicesExportMode {
    fn from(text: String) -> Self {
        match text.as_str() {
            "" => Self::ServicesOnly,
            "services-and-endpointslices" => Self::ServicesAndEndpointSlices,
            "endpointslices-only" => Self::EndpointSlicesOnly,
            _ => Self::Other(text),
        }
    }
}

impl From<EndpointSlicesExportMode> for String {
    fn from(mode: EndpointSlicesExportMode) -> Self {
        match mode {
            EndpointSlicesExportMode::ServicesOnly => Self::new(),
            EndpointSlicesExportMode::ServicesAndEndpointSlices => "services-and-endpointslices".into(),
            EndpointSlicesExportMode::EndpointSlicesOnly => "endpointslices-only".into(),
            EndpointSlicesExportMode::Other(text) => text,
        }
    }
}

/// The JSON object as it stands in the kvstore.
#[derive(Serialize, Deserialize)]
struct ClusterConfigWire {
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "null_as_default")]
    id: u32,
    #[serde(default, deserialize_with = "null_as_default")]
    capabilities: Capabilities,
}

impl ClusterConfig {
    /// What the mesh's own exporter writes: canaries, the state layout, services v1.
    pub fn exported(id: ClusterId, limit: MaxConnectedClusters) -> Self {
        Self {
            id: if planted(Defect::WrongConfigId) { another(id) } else { id },
            capabilities: Capabilities {
                synced_canaries: true,
                max_connected_clusters: limit.get().into(),
                ..Capabilities::default()
            },
        }
    }

    /// Reads a value. The ID must be in `1..=511`; whether it fits this mesh is for [`Self::validate`] to say.
    pub fn decode(value: &[u8]) -> Result<Self, ClusterConfigError> {
        let wire: ClusterConfigWire = serde_json::from_slice(value).map_err(ClusterConfigError::Json)?;
        let id = cluster_id(wire.id).map_err(|source| ClusterConfigError::Id { found: wire.id, source })?;
        Ok(Self { id, capabilities: wire.capabilities })
    }

    /// Writes the value.
    pub fn encode(&self) -> Vec<u8> {
        go_json::to_vec(&ClusterConfigWire { id: self.id.get().into(), capabilities: self.capabilities.clone() })
    }

    /// Whether the cluster `local` of a mesh with `limit` can be meshed with this peer.
    ///
    /// As in Cilium, only a node that runs with 511 compares the limits.
    pub fn validate(&self, local: ClusterId, limit: MaxConnectedClusters) -> Result<(), ClusterConfigError> {
        let raw = self.id.get();
        ClusterId::new(raw, limit).map_err(|source| ClusterConfigError::Id { found: raw.into(), source })?;
        if self.id == local {
            return Err(ClusterConfigError::IdIsLocal { id: self.id });
        }
        let remote = self.capabilities.max_connected_clusters;
        if limit == MaxConnectedClusters::N511 && remote != u32::from(limit.get()) {
            return Err(ClusterConfigError::MaxConnectedClusters { local: limit.get(), remote });
        }
        Ok(())
    }
}

/// The ID that another cluster has, for [`Defect::WrongConfigId`] and [`Defect::WrongClusterId`].
fn another(id: ClusterId) -> ClusterId {
    ClusterId::new(id.get() % MaxConnectedClusters::N255.get() + 1, MaxConnectedClusters::N255).unwrap_or(id)
}

/// The ID that a value of the exporter carries.
pub(crate) fn exported_id(id: ClusterId) -> u32 {
    if planted(Defect::WrongClusterId) { another(id).get().into() } else { id.get().into() }
}

/// The ID of a number in a value, `1..=511`.
pub(crate) fn cluster_id(raw: u32) -> Result<ClusterId, ClusterIdError> {
    // Numbers above 65535 are too large in any mesh; the caller's error tells the number as found.
    ClusterId::new(u16::try_from(raw).unwrap_or(u16::MAX), MaxConnectedClusters::N511)
}

/// Why a peer's cluster configuration is refused. All of these can heal when the peer writes a new value.
#[derive(Debug, thiserror::Error)]
pub enum ClusterConfigError {
    /// Not JSON, or a field of the wrong type.
    #[error("cluster configuration is malformed")]
    Json(#[source] serde_json::Error),
    /// An ID outside the range of the mesh.
    #[error("cluster configuration has the ID {found}")]
    Id {
        /// The number found.
        found: u32,
        /// What is wrong with it.
        #[source]
        source: ClusterIdError,
    },
    /// Two clusters with one ID.
    #[error("clusterID {id} is assigned to the local cluster")]
    IdIsLocal {
        /// The ID of both.
        id: ClusterId,
    },
    /// The clusters split identities differently.
    #[error("mismatched MaxConnectedClusters; local={local}, remote={remote}")]
    MaxConnectedClusters {
        /// Ours.
        local: u16,
        /// The peer's; 0 when it did not say.
        remote: u32,
    },
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    const N255: MaxConnectedClusters = MaxConnectedClusters::N255;
    const N511: MaxConnectedClusters = MaxConnectedClusters::N511;

    fn id(raw: u16) -> ClusterId {
        ClusterId::new(raw, N511).unwrap()
    }

    // The two examples of Cilium's formats (1.19 and 1.20) and the smallest one.
    #[test_case(r#"{"id":5,"capabilities":{"syncedCanaries":true,"maxConnectedClusters":255,"serviceExportsEnabled":false}}"# ; "1.19")]
    #[test_case(r#"{"id":5,"capabilities":{"syncedCanaries":true,"cached":true,"maxConnectedClusters":255,"serviceExportsEnabled":true,"endpointSlicesExportMode":"services-and-endpointslices"}}"# ; "1.20 cached")]
    #[test_case(r#"{"id":5,"capabilities":{"endpointSlicesExportMode":"endpointslices-only"}}"# ; "slices only")]
    #[test_case(r#"{"id":5,"capabilities":{"endpointSlicesExportMode":"telepathy"}}"# ; "mode of the future")]
    #[test_case(r#"{"id":5,"capabilities":{}}"# ; "nothing said")]
    fn same_bytes(json: &str) {
        let config = ClusterConfig::decode(json.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(config.encode()).unwrap(), json);
    }

    #[cfg(feature = "planted-defects")]
    #[test]
    fn a_wrong_config_id_is_another_clusters() {
        let _planting = mesh_planted::plant_here(Defect::WrongConfigId);
        assert_eq!(ClusterConfig::exported(id(1), N255).id, id(2));
        assert_eq!(ClusterConfig::exported(id(255), N255).id, id(1));
    }

    #[test]
    fn exported_config_is_what_cilium_1_19_writes_without_mcs() {
        let json = r#"{"id":2,"capabilities":{"syncedCanaries":true,"maxConnectedClusters":255}}"#;
        assert_eq!(String::from_utf8(ClusterConfig::exported(id(2), N255).encode()).unwrap(), json);
    }

    #[test_case(r#"{"id":7}"# ; "no capabilities")]
    #[test_case(r#"{"id":7,"capabilities":null,"colour":"red"}"# ; "null and unknown")]
    #[test_case(r#"{"id":7,"capabilities":{"cached":null,"serviceExportsEnabled":null,"endpointSlicesExportMode":null}}"# ; "nulls inside")]
    fn absent_and_null_are_the_defaults(json: &str) {
        let expected = ClusterConfig { id: id(7), capabilities: Capabilities::default() };
        assert_eq!(ClusterConfig::decode(json.as_bytes()).unwrap(), expected);
    }

    #[test_case(r"{}" => "cluster configuration has the ID 0" ; "no id")]
    #[test_case(r#"{"id":512}"# => "cluster configuration has the ID 512" ; "above every limit")]
    #[test_case(r#"{"id":70000}"# => "cluster configuration has the ID 70000" ; "above 16 bits")]
    #[test_case(r#"{"id":"x"}"# => "cluster configuration is malformed" ; "wrong type")]
    #[test_case("" => "cluster configuration is malformed" ; "empty")]
    fn refuses(json: &str) -> String {
        ClusterConfig::decode(json.as_bytes()).unwrap_err().to_string()
    }

    #[test_case(2, 255, N255 => Ok(()) ; "fits")]
    #[test_case(2, 511, N255 => Ok(()) ; "255 does not compare limits")]
    #[test_case(2, 511, N511 => Ok(()) ; "511 on both sides")]
    #[test_case(2, 255, N511 => Err("mismatched MaxConnectedClusters; local=511, remote=255".to_owned()) ; "511 compares")]
    #[test_case(1, 255, N255 => Err("clusterID 1 is assigned to the local cluster".to_owned()) ; "my id")]
    #[test_case(300, 255, N255 => Err("cluster configuration has the ID 300".to_owned()) ; "above the limit")]
    fn validates(raw: u16, remote: u32, limit: MaxConnectedClusters) -> Result<(), String> {
        let capabilities = Capabilities { max_connected_clusters: remote, ..Capabilities::default() };
        let config = ClusterConfig { id: id(raw), capabilities };
        config.validate(id(1), limit).map_err(|error| error.to_string())
    }
}
