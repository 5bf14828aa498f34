//! Each request on a TCP connection of its own.

use std::{io, net::SocketAddr, time::Duration};

use meshbed_events::ErrorKind;
use meshbed_node::http::{Afterwards, Get};
use tokio::net::{TcpSocket, TcpStream};

use super::{
    client::{Question, answer_of},
    failure::{kind_of, kind_of_get},
};
use crate::report::{Answer, Seen};

/// How long, at most, an answered connection is kept open for the server to close it first.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// Asks, and returns the connection for the server to close.
pub(super) async fn ask(question: &Question, seen: &mut Seen) -> Result<(Answer, TcpStream), ErrorKind> {
    let mut stream = open(question.target, seen).await.map_err(|error| kind_of(&error))?;
    let get = Get { host: &question.host, path: &question.path, headers: &[], afterwards: Afterwards::Close };
    let response = get.send(&mut stream).await.map_err(|error| kind_of_get(&error))?;
    Ok((answer_of(&response)?, stream))
}

/// Opens a connection and takes note of its ends.
pub(super) async fn open(target: SocketAddr, seen: &mut Seen) -> io::Result<TcpStream> {
    let socket = if target.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_nodelay(true)?;
    let stream = socket.connect(target).await?;
    seen.ends(stream.local_addr(), stream.peer_addr());
    Ok(stream)
}

/// Lets the server close first: TIME_WAIT then takes up a place there, not one of the client's ports, of which
/// there would soon be none left at hundreds of connections a second.
pub(super) async fn wait_for_close(stream: TcpStream) {
    let mut byte = [0];
    let closed = async {
        loop {
            if stream.readable().await.is_err() {
                return;
            }
            match stream.try_read(&mut byte) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    };
    // A server that keeps it open loses it.
    let _elapsed = tokio::time::timeout(CLOSE_WAIT, closed).await;
}
