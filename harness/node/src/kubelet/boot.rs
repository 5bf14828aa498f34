//! Which boot of its node a kubelet belongs to.
//!
//! A machine's memory goes with its power, and so does a node's network namespace: interfaces, routes, connections. A
//! node of the mesh is therefore up for as long as its namespace exists, and the kernel's number of that namespace
//! tells one boot from the next. No file has to be removed when a node crashes.
#![expect(unsafe_code, reason = "neither std nor nix reads the socket option `SO_NETNS_COOKIE`")]

use std::{
    fs, io,
    mem::size_of,
    net::UdpSocket,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
};

/// The machine's own boot ID, a random UUID.
const MACHINE_BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Hexadecimal digits of a UUID's last part, where the number of the namespace goes.
const LAST_PART_DIGITS: usize = 12;
const OWN_NAMESPACE: &str = "/proc/thread-self/ns/net";

/// The boot ID of the node that the calling thread is in: the machine's, with its last part replaced.
pub(crate) fn id() -> io::Result<String> {
    let machine = fs::read_to_string(MACHINE_BOOT_ID)?;
    Ok(combine(machine.trim(), namespace()?))
}

fn combine(machine: &str, namespace: u64) -> String {
    let kept = machine.len().saturating_sub(LAST_PART_DIGITS);
    let last = namespace & ((1 << (4 * LAST_PART_DIGITS)) - 1);
    format!("{}{last:0LAST_PART_DIGITS$x}", machine.get(..kept).unwrap_or_default())
}

/// The calling thread's network namespace as a number that no other one gets until the machine restarts.
fn namespace() -> io::Result<u64> {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).or_else(|_| UdpSocket::bind(("0.0.0.0", 0)))?;
    match cookie(&socket) {
        // Before Linux 5.14 there is no such option. A number of an inode may come again, though hardly at once.
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(fs::metadata(OWN_NAMESPACE)?.ino()),
        result => result,
    }
}

fn cookie(socket: &UdpSocket) -> io::Result<u64> {
    let mut cookie = 0_u64;
    let mut length = libc::socklen_t::try_from(size_of::<u64>()).expect("eight fits");
    // SAFETY: both pointers are to values that live until the call returns, and `length` is that of `cookie`.
    let result = unsafe {
        let value = (&raw mut cookie).cast();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_NETNS_COOKIE, value, &raw mut length)
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_uuid_that_stays() {
        let id = id().expect("Linux has it");
        assert_eq!(id.len(), 36, "{id}");
        assert_eq!(id, super::id().expect("Linux has it"));
    }

    #[test]
    fn namespaces_tell_boots_apart() {
        let machine = "0a1b2c3d-4e5f-4071-8293-a4b5c6d7e8f9";
        assert_eq!(combine(machine, 0x1001), "0a1b2c3d-4e5f-4071-8293-000000001001");
        assert_ne!(combine(machine, 1), combine(machine, 2));
    }
}
