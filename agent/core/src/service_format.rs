//! Services v1 or endpoint slices (v2): which of the two a cluster writes, and which is read of a peer.

use mesh_wire::EndpointSlicesExportMode;

/// Which format of services is preferred (`--clustermesh-service-v2`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceV2 {
    /// Write both, read v1 (`prefer-legacy`): the default of Cilium 1.20.
    #[default]
    PreferLegacy,
    /// Write both, read v2 (`prefer-endpointslice`).
    PreferEndpointSlice,
    /// Write and read only v2 (`only-endpointslice`).
    OnlyEndpointSlice,
}

/// A format in which a peer's services are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceFormat {
    /// Services v1. All backends are active.
    Services,
    /// Endpoint slices (v2), which tell conditions.
    EndpointSlices,
}

/// The formats in which a cluster writes its services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ExportFormats {
    /// Services v1, as up to Cilium 1.19.
    #[default]
    Services,
    /// Both.
    ServicesAndEndpointSlices,
    /// Endpoint slices only. Peers that read v1 get nothing.
    EndpointSlices,
}

impl ServiceV2 {
    /// The format in which the services of a peer are read that says that it writes `exports`; `None` if it writes none
    /// that may be read.
    ///
    /// Those that *prefer* a format take the other one when a peer writes only that. (Cilium 1.20 then takes no backends
    /// of the peer, and says so in its log. Here only `only-endpointslice` is as strict.)
    pub fn reads(self, exports: &EndpointSlicesExportMode) -> Option<ServiceFormat> {
        use EndpointSlicesExportMode as Exports;
        use ServiceFormat::{EndpointSlices, Services};
        match (exports, self) {
            (Exports::ServicesOnly, Self::PreferLegacy | Self::PreferEndpointSlice) => Some(Services),
            (Exports::ServicesOnly, Self::OnlyEndpointSlice) => None,
            (Exports::EndpointSlicesOnly, _) => Some(EndpointSlices),
            // A mode that a later version invents: at least what is preferred is there.
            (Exports::ServicesAndEndpointSlices | Exports::Other(_), Self::PreferLegacy) => Some(Services),
            (Exports::ServicesAndEndpointSlices | Exports::Other(_), _) => Some(EndpointSlices),
        }
    }

    /// What a cluster of Cilium 1.20 writes with this setting.
    pub fn writes(self) -> ExportFormats {
        match self {
            Self::PreferLegacy | Self::PreferEndpointSlice => ExportFormats::ServicesAndEndpointSlices,
            Self::OnlyEndpointSlice => ExportFormats::EndpointSlices,
        }
    }
}

impl ExportFormats {
    /// How the cluster configuration tells it.
    pub fn capability(self) -> EndpointSlicesExportMode {
        match self {
            Self::Services => EndpointSlicesExportMode::ServicesOnly,
            Self::ServicesAndEndpointSlices => EndpointSlicesExportMode::ServicesAndEndpointSlices,
            Self::EndpointSlices => EndpointSlicesExportMode::EndpointSlicesOnly,
        }
    }

    /// Whether services v1 are written.
    pub fn has_services(self) -> bool {
        self != Self::EndpointSlices
    }

    /// Whether endpoint slices are written.
    pub fn has_endpoint_slices(self) -> bool {
        self != Self::Services
    }
}

#[cfg(test)]
mod tests {
    use ServiceFormat::{EndpointSlices, Services};
    use test_case::test_case;

    use super::*;

    #[test_case(ServiceV2::PreferLegacy, "" => Some(Services) ; "legacy, v1")]
    #[test_case(ServiceV2::PreferLegacy, "services-and-endpointslices" => Some(Services) ; "legacy, both")]
    #[test_case(ServiceV2::PreferLegacy, "endpointslices-only" => Some(EndpointSlices) ; "legacy, v2")]
    #[test_case(ServiceV2::PreferLegacy, "tomorrow" => Some(Services) ; "legacy, unknown")]
    #[test_case(ServiceV2::PreferEndpointSlice, "" => Some(Services) ; "slices, v1")]
    #[test_case(ServiceV2::PreferEndpointSlice, "services-and-endpointslices" => Some(EndpointSlices) ; "slices, both")]
    #[test_case(ServiceV2::PreferEndpointSlice, "endpointslices-only" => Some(EndpointSlices) ; "slices, v2")]
    #[test_case(ServiceV2::PreferEndpointSlice, "tomorrow" => Some(EndpointSlices) ; "slices, unknown")]
    #[test_case(ServiceV2::OnlyEndpointSlice, "" => None ; "only slices, v1")]
    #[test_case(ServiceV2::OnlyEndpointSlice, "services-and-endpointslices" => Some(EndpointSlices) ; "only slices, both")]
    #[test_case(ServiceV2::OnlyEndpointSlice, "endpointslices-only" => Some(EndpointSlices) ; "only slices, v2")]
    fn reads(mode: ServiceV2, exports: &str) -> Option<ServiceFormat> {
        mode.reads(&exports.to_owned().into())
    }

    #[test_case(ServiceV2::PreferLegacy => "services-and-endpointslices")]
    #[test_case(ServiceV2::PreferEndpointSlice => "services-and-endpointslices")]
    #[test_case(ServiceV2::OnlyEndpointSlice => "endpointslices-only")]
    fn writes(mode: ServiceV2) -> String {
        mode.writes().capability().into()
    }
}
