//! What the kernel hands to a program at `connect()` and its like, and what it takes back.

use core::ptr;

use aya_ebpf::{
    bindings::bpf_sock_addr,
    helpers::{bpf_set_retval, generated::bpf_get_netns_cookie, generated::bpf_get_socket_cookie},
    programs::SockAddrContext,
};
use mesh_abi::{Be16, Be32, protocol};

/// Set by the loader: whether the kernel has `bpf_set_retval`. A constant for the verifier, so that an older kernel
/// never looks at the call.
#[unsafe(no_mangle)]
static HAVE_SET_RETVAL: u8 = 0;

/// Why a socket may not go on. The numbers are negative `errno`s.
#[repr(i32)]
#[derive(Clone, Copy)]
pub(crate) enum Verdict {
    /// The frontend has no backend.
    HostUnreachable = -113,
    /// The reverse entry could not be written.
    OutOfMemory = -12,
}

impl Verdict {
    /// Return code that lets the socket go on.
    pub(crate) const PASS: i32 = 1;
    /// Return code that stops it: with `EPERM`, unless another error was set.
    const STOP: i32 = 0;

    /// Sets the error and gives the return code.
    #[inline(always)]
    pub(crate) fn refuse(self) -> i32 {
        // SAFETY: reads a byte of this object; volatile, because the loader changes it after compilation.
        if unsafe { ptr::read_volatile(&raw const HAVE_SET_RETVAL) } != 0 {
            // SAFETY: the helper takes a plain number.
            unsafe { bpf_set_retval(self as i32) };
        }
        Self::STOP
    }
}

/// An address that a socket asks for, or is asked about.
pub(crate) struct Connection {
    context: *mut bpf_sock_addr,
}

impl Connection {
    #[inline(always)]
    pub(crate) fn new(context: &SockAddrContext) -> Self {
        Self { context: context.sock_addr }
    }

    /// The protocol, if it is one that is balanced.
    #[inline(always)]
    pub(crate) fn protocol(&self) -> Option<u8> {
        // SAFETY: the kernel's context is valid while the program runs; volatile keeps the access at the width that
        // every kernel allows.
        let number = unsafe { ptr::read_volatile(&raw const (*self.context).protocol) };
        match number {
            6 => Some(protocol::TCP),
            17 => Some(protocol::UDP),
            _ => None,
        }
    }

    #[inline(always)]
    pub(crate) fn address(&self) -> Be32 {
        // SAFETY: as in `protocol`.
        Be32::from_raw(unsafe { ptr::read_volatile(&raw const (*self.context).user_ip4) })
    }

    #[inline(always)]
    pub(crate) fn port(&self) -> Be16 {
        // SAFETY: as in `protocol`. The port is in the first two bytes in network order.
        Be16::from_raw(unsafe { ptr::read_volatile(&raw const (*self.context).user_port) } as u16)
    }

    /// Puts another address in the place of the one that was asked for.
    #[inline(always)]
    pub(crate) fn rewrite(&self, address: Be32, port: Be16) {
        // SAFETY: as in `protocol`; both fields are writable at all four attach points.
        unsafe {
            ptr::write_volatile(&raw mut (*self.context).user_ip4, address.raw());
            ptr::write_volatile(&raw mut (*self.context).user_port, u32::from(port.raw()));
        }
    }

    /// A number that the socket has as long as it lives, and no other socket.
    #[inline(always)]
    pub(crate) fn cookie(&self) -> u64 {
        // SAFETY: the helper takes the program's own context.
        unsafe { bpf_get_socket_cookie(self.context.cast()) }
    }

    /// A number that the network namespace has as long as it lives, and no other.
    #[inline(always)]
    pub(crate) fn netns_cookie(&self) -> u64 {
        // SAFETY: the helper takes the program's own context.
        unsafe { bpf_get_netns_cookie(self.context.cast()) }
    }
}
