//! The compiled BPF programs, as bytes.
//!
//! Apart from the programs themselves (`bpf/programs`), which are for another machine and have no library, and from
//! the agent, which only needs the bytes. `build.rs` compiles them.

/// Bytes with the alignment of an ELF header, which the loader reads in place.
#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

static SOCKET_LB_ALIGNED: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/mesh-bpf")));

/// The socket load balancer: ELF object of `bpf/programs`.
pub static SOCKET_LB: &[u8] = &SOCKET_LB_ALIGNED.0;

#[cfg(test)]
mod tests {
    use super::SOCKET_LB;

    #[test]
    fn an_elf_object_for_bpf_aligned() {
        const EM_BPF: u16 = 247;
        assert_eq!(SOCKET_LB[..4], *b"\x7fELF", "empty when built with AYA_BUILD_SKIP");
        let machine = u16::from_ne_bytes([SOCKET_LB[18], SOCKET_LB[19]]);
        assert_eq!(machine, EM_BPF, "ELF machine");
        assert_eq!(SOCKET_LB.as_ptr().addr() % 8, 0, "alignment of the ELF header");
    }
}
