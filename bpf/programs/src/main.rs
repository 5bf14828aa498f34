//! BPF programs of the mesh, which `bpf/objects` compiles.
//!
//! The socket load balancer: a socket that asks for a frontend is given a backend when it connects or
//! sends, and is told of the frontend when it asks whom it talks to. Names, maps and behaviour are Cilium 1.19's.
//!
//! Not here: NodePort surrogates, external IPs that are left alone, layer-7 redirection, local redirect policy, IPv6.
//! Only TCP and UDP are touched.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(
    target_arch = "bpf",
    expect(unsafe_code, reason = "contexts, maps and helpers are the kernel's, behind raw pointers")
)]

#[cfg(target_arch = "bpf")]
mod affinity;
#[cfg(target_arch = "bpf")]
mod context;
#[cfg(target_arch = "bpf")]
mod forward;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod programs;
#[cfg(target_arch = "bpf")]
mod reverse;

#[cfg(not(target_arch = "bpf"))]
fn main() {}
