//! From a backend back to the frontend that a socket asked for.

use core::ptr;

use aya_ebpf::{EbpfContext as _, helpers::generated::bpf_get_socket_cookie, programs::SockContext};
use mesh_abi::{Be16, Be32, ReverseSkKey, ServiceKey, scope};

use crate::{context::Connection, maps};

/// Rewrites the address if it is that of a backend which this socket reached through a frontend.
#[inline(always)]
pub(crate) fn translate(connection: &Connection) {
    let Some(protocol) = connection.protocol() else { return };
    let key =
        ReverseSkKey { cookie: connection.cookie(), address: connection.address(), port: connection.port(), pad: 0 };
    // SAFETY: an element of an LRU map may be reused while it is read; the service id that is read is checked below.
    let Some(found) = (unsafe { maps::REVERSE.get(key) }) else { return };
    let frontend = *found;
    // In either scope: a service may have got its second one since this socket asked for the first.
    let is_same = |scope| {
        let service = maps::service(&ServiceKey::master(frontend.address, frontend.port, protocol, scope));
        service.is_some_and(|service| service.rev_nat == frontend.rev_nat)
    };
    if is_same(scope::EXTERNAL) || is_same(scope::INTERNAL) {
        connection.rewrite(frontend.address, frontend.port);
    } else {
        // The service is gone or is another one by now. If the entry has gone too, all the better.
        maps::REVERSE.remove(key).ok();
    }
}

/// Removes the entry of a socket that ends.
#[inline(always)]
pub(crate) fn forget(context: &SockContext) {
    let sock = context.sock;
    // SAFETY: the kernel's context is valid while the program runs; volatile keeps the accesses at the width that
    // every kernel allows.
    let (address, port) =
        unsafe { (ptr::read_volatile(&raw const (*sock).dst_ip4), ptr::read_volatile(&raw const (*sock).dst_port)) };
    // SAFETY: the helper takes the program's own context.
    let cookie = unsafe { bpf_get_socket_cookie(context.as_ptr()) };
    let key = ReverseSkKey { cookie, address: Be32::from_raw(address), port: Be16::from_raw(port), pad: 0 };
    // Most sockets never had one.
    maps::REVERSE.remove(key).ok();
}
