//! What the mesh reads from its own cluster's Kubernetes API: Services and EndpointSlices.
//!
//! Objects are watched, reduced to `mesh-core`'s [`LocalService`](mesh_core::LocalService) and
//! [`LocalSlice`](mesh_core::LocalSlice), and handed on. Nothing is decided here.

mod client;
mod convert;
mod objects;
mod watch;

pub use client::{ClientError, ClientErrorKind, client};
pub use convert::{service, slice};
pub use watch::{LocalEvent, LocalWatch};
