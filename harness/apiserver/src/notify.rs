//! Readiness by the `sd_notify` protocol: one datagram to the socket that `NOTIFY_SOCKET` names.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

/// Tells whoever started this process that it is ready. Does nothing without `NOTIFY_SOCKET`.
pub(crate) fn ready() -> io::Result<()> {
    let Some(target) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let address = match target.as_encoded_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(Path::new(&target))?,
    };
    UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address).map(|_| ())
}
