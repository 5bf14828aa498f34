//! A single change of a map.

use mesh_abi::{
    AFFINITY_MATCH, AffinityMatchKey, BACKENDS, BackendKey, BackendValue, Bytes, MapSpec, REVERSE_NAT, ReverseNatKey,
    ReverseNatValue, SERVICES, ServiceKey, ServiceValue,
};

/// The value of every entry of `cilium_lb_affinity_match`.
const AFFINITY_MATCH_VALUE: u8 = 0;

/// One entry to write or to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Write a master, a slot or a wildcard entry.
    PutService(ServiceKey, ServiceValue),
    /// Write a backend.
    PutBackend(BackendKey, BackendValue),
    /// Write a service id's address.
    PutReverseNat(ReverseNatKey, ReverseNatValue),
    /// Allow a backend to keep clients of a service.
    PutAffinityMatch(AffinityMatchKey),
    /// Remove a master, a slot or a wildcard entry.
    RemoveService(ServiceKey),
    /// Remove a backend.
    RemoveBackend(BackendKey),
    /// Remove a service id's address.
    RemoveReverseNat(ReverseNatKey),
    /// Forbid a backend to keep clients of a service.
    RemoveAffinityMatch(AffinityMatchKey),
}

impl Write {
    /// The map that is changed.
    pub fn map(&self) -> &'static MapSpec {
        match self {
            Self::PutService(..) | Self::RemoveService(_) => &SERVICES,
            Self::PutBackend(..) | Self::RemoveBackend(_) => &BACKENDS,
            Self::PutReverseNat(..) | Self::RemoveReverseNat(_) => &REVERSE_NAT,
            Self::PutAffinityMatch(_) | Self::RemoveAffinityMatch(_) => &AFFINITY_MATCH,
        }
    }

    /// The bytes of the key.
    pub fn key(&self) -> &[u8] {
        match self {
            Self::PutService(key, _) | Self::RemoveService(key) => key.as_bytes(),
            Self::PutBackend(key, _) | Self::RemoveBackend(key) => key.as_bytes(),
            Self::PutReverseNat(key, _) | Self::RemoveReverseNat(key) => key.as_bytes(),
            Self::PutAffinityMatch(key) | Self::RemoveAffinityMatch(key) => key.as_bytes(),
        }
    }

    /// The bytes of the value; `None` when the entry is removed.
    pub fn value(&self) -> Option<&[u8]> {
        match self {
            Self::PutService(_, value) => Some(value.as_bytes()),
            Self::PutBackend(_, value) => Some(value.as_bytes()),
            Self::PutReverseNat(_, value) => Some(value.as_bytes()),
            Self::PutAffinityMatch(_) => Some(AFFINITY_MATCH_VALUE.as_bytes()),
            Self::RemoveService(_)
            | Self::RemoveBackend(_)
            | Self::RemoveReverseNat(_)
            | Self::RemoveAffinityMatch(_) => None,
        }
    }
}
