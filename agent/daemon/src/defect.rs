//! Being wrong on purpose. In an ordinary build there is nothing here to be wrong with.

/// The defect that is planted, if any.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planted {
    /// Where and how.
    #[cfg(feature = "planted-defects")]
    pub(crate) defect: Option<mesh_core::Defect>,
}

impl Planted {
    /// No defect.
    pub(crate) fn none() -> Self {
        Self {
            #[cfg(feature = "planted-defects")]
            defect: None,
        }
    }

    /// The one that `MESH_AGENT_DEFECT` names; none when it is unset or empty.
    #[cfg(feature = "planted-defects")]
    pub(crate) fn from_environment() -> Result<Self, mesh_core::UnknownDefect> {
        let name = std::env::var("MESH_AGENT_DEFECT").unwrap_or_default();
        let defect = if name.is_empty() { None } else { Some(name.parse()?) };
        Ok(Self { defect })
    }
}
