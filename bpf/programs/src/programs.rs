//! The programs, by the names that Cilium gives them.

use aya_ebpf::{
    macros::{cgroup_sock, cgroup_sock_addr},
    programs::{SockAddrContext, SockContext},
};

use crate::{
    context::{Connection, Verdict},
    forward, reverse,
};

/// `connect()`: sends a socket that asks for a frontend to one of its backends.
#[cgroup_sock_addr(connect4)]
pub(crate) fn cil_sock4_connect(context: SockAddrContext) -> i32 {
    translate(&context)
}

/// `sendmsg()` on an unconnected UDP socket: the same for one message.
#[cgroup_sock_addr(sendmsg4)]
pub(crate) fn cil_sock4_sendmsg(context: SockAddrContext) -> i32 {
    translate(&context)
}

/// `recvmsg()` on a UDP socket: a message of a backend seems to come from the frontend.
#[cgroup_sock_addr(recvmsg4)]
pub(crate) fn cil_sock4_recvmsg(context: SockAddrContext) -> i32 {
    reverse::translate(&Connection::new(&context));
    // The kernel takes no other answer here.
    Verdict::PASS
}

/// `getpeername()`: the peer is the frontend that was asked for.
#[cgroup_sock_addr(getpeername4)]
pub(crate) fn cil_sock4_getpeername(context: SockAddrContext) -> i32 {
    reverse::translate(&Connection::new(&context));
    // The kernel takes no other answer here.
    Verdict::PASS
}

/// End of a socket: forgets what it asked for.
#[cgroup_sock(sock_release)]
pub(crate) fn cil_sock_release(context: SockContext) -> i32 {
    reverse::forget(&context);
    Verdict::PASS
}

#[inline(always)]
fn translate(context: &SockAddrContext) -> i32 {
    match forward::translate(&Connection::new(context)) {
        Ok(()) => Verdict::PASS,
        Err(verdict) => verdict.refuse(),
    }
}

/// The kernel asks for a licence; helpers reserved for the GPL are not used.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 11] = *b"Apache-2.0\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Nothing here can panic; the verifier would reject this loop if it could be reached.
    loop {}
}
