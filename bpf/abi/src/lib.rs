//! Keys and values of Cilium 1.19's load-balancer maps and of its ipcache, byte for byte.
//!
//! The BPF programs (`bpf/programs`), the agent that fills the maps (`agent/datapath`) and the harness that reads
//! them share exactly this: layouts, map names and flag bits. No decision lives here.
//!
//! Three rules hold for every type:
//!
//! 1. Addresses, layer-4 ports and service ids are in network byte order ([`Be16`], [`Be32`]).
//! 2. Backend ids, counts, slots, time-outs, security identities, cluster ids and prefix lengths are in the CPU's
//!    order.
//! 3. Padding is a named field that is always zero: hash maps compare whole keys, tries up to the prefix length.
#![no_std]

mod affinity;
mod backend;
mod bytes;
mod flags;
mod ipcache;
mod map;
mod order;
mod reverse_nat;
mod reverse_sk;
mod service;
#[cfg(feature = "user")]
mod user;

pub use affinity::{AffinityKey, AffinityMatchKey, AffinityValue};
pub use backend::{BackendKey, BackendValue, state};
pub use bytes::{Bytes, WrongLength};
pub use flags::ServiceFlags;
pub use ipcache::{IpcacheFlags, IpcacheKey, IpcacheValue, family};
pub use map::{
    AFFINITY, AFFINITY_MATCH, BACKENDS, IPCACHE, LB_MAPS, MAPS, MapFlags, MapSpec, MapType, REVERSE_NAT, REVERSE_SK,
    SERVICES,
};
pub use order::{Be16, Be32};
pub use reverse_nat::{ReverseNatKey, ReverseNatValue};
pub use reverse_sk::{ReverseSkKey, ReverseSkValue};
pub use service::{ServiceKey, ServiceValue, algorithm, protocol, scope};
