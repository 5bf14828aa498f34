//! What the mesh reads from its own cluster's Kubernetes API, and Cilium's own kinds of objects, which it also writes.
//!
//! Objects are watched ([`LocalWatch`]), reduced to what matters, such as `mesh-core`'s
//! [`LocalService`](mesh_core::LocalService) and [`LocalSlice`](mesh_core::LocalSlice), and handed on. [`CiliumObjects`] defines
//! Cilium's kinds where nobody did, and writes objects of them. Nothing is decided here.

mod cilium;
mod client;
mod convert;
mod objects;
mod watch;
mod write;

pub use cilium::{
    AddressPair, CiliumEndpoint, CiliumEndpointStatus, CiliumIdentity, CiliumNode, CiliumNodeAddress, CiliumNodeIpam,
    CiliumNodeSpec, Encryption, EndpointIdentity, EndpointNetworking, EndpointPort,
};
pub use client::{ClientError, ClientErrorKind, client};
pub use convert::{LocalNamespace, LocalNode, LocalPod, namespace, node, pod, service, slice};
pub use watch::{Kind, LocalEvent, LocalWatch};
pub use write::CiliumObjects;

/// Why a request to the Kubernetes API failed.
pub type ApiError = kube::Error;
