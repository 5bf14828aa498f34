//! Clusters of a mesh on other machines than the one that leads: guests with other kernels.
//!
//! The machine that leads has the router between the clusters, the harness and some of the clusters. On each other machine an
//! *outpost* ([`serve`]) brings its clusters up and does there what must be done in place. They talk over an interface of their own,
//! so that no fault of the mesh can come between them.

mod client;
mod clock;
mod far;
mod link;
pub(crate) mod nic;
mod order;
mod request;
mod serve;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

pub use client::Outpost;
pub use clock::monotonic_ns;
pub(crate) use far::{Far, NotUp, Rising, Shadow};
pub use link::{OUTPOST, OUTPOSTS, OutpostLink};
pub(crate) use order::{Order, Ordered};
pub use request::{Answer, Hello, kernel_release};
pub(crate) use request::{Call, File, Part, Request, Tell, Told};
pub(crate) use serve::PartHere;
pub use serve::{Answerer, serve};
pub use wire::{Reader, Writer, receive, send};
