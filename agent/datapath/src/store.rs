//! Where the maps are: in the kernel or in memory.

use mesh_abi::MapSpec;

use crate::{DatapathError, Write};

/// Key and value of an entry, as bytes.
pub type RawEntry = (Vec<u8>, Vec<u8>);

/// A set of load-balancer maps that can be read.
pub trait MapSource {
    /// All entries of a map as key and value bytes, in no particular order.
    ///
    /// # Errors
    ///
    /// When the map cannot be read.
    fn entries(&self, map: &'static MapSpec) -> Result<Vec<RawEntry>, DatapathError>;
}

/// A set of load-balancer maps that can be changed.
pub trait MapStore: MapSource {
    /// Makes the changes one after the other. Removing what is not there is no error.
    ///
    /// # Errors
    ///
    /// When one fails; those before it were made, those after it were not.
    fn apply(&mut self, writes: &[Write]) -> Result<(), Interrupted>;
}

/// A sequence of writes that broke off.
#[derive(Debug, thiserror::Error)]
#[error("stopped after {done} writes")]
pub struct Interrupted {
    /// How many writes were made.
    pub done: usize,
    /// Why the next one was not.
    #[source]
    pub source: DatapathError,
}
