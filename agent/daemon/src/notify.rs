//! Telling whoever started us that we are ready: the protocol of `sd_notify(3)`.

use std::{
    env,
    ffi::OsString,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

/// Says `READY=1`, if somebody wants to know.
pub(crate) fn ready() {
    if let Some(socket) = env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty())
        && let Err(error) = send(&socket, b"READY=1")
    {
        tracing::warn!(%error, ?socket, "failed to tell readiness");
    }
}

/// A name that begins with `@` is in the abstract name space.
fn send(socket: &OsString, message: &[u8]) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(message, &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sends_to_paths_and_to_abstract_names() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("notify");
        let by_path = UnixDatagram::bind(&path).expect("bound");
        let name = format!("mesh-agent-test-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(&name).expect("a name");
        let by_name = UnixDatagram::bind_addr(&abstract_address).expect("bound");
        for (socket, receiver) in [(path.into_os_string(), by_path), (format!("@{name}").into(), by_name)] {
            send(&socket, b"READY=1").expect("sent");
            let mut message = [0; 16];
            let length = receiver.recv(&mut message).expect("received");
            assert_eq!(&message[..length], b"READY=1");
        }
    }
}
