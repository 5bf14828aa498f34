//! Each request a datagram from a socket of its own, and so its answer. Nothing is sent again.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use meshbed_events::ErrorKind;
use meshbed_node::http::{Afterwards, Get, Response, SEQUENCE_HEADER};
use tokio::net::UdpSocket;

use super::{
    client::{Question, answer_of},
    failure::{kind_of, kind_of_get},
};
use crate::report::{Answer, Seen};

/// Longest answer that is read; longer ones are cut, and then are no answer.
const DATAGRAM_MAX: usize = 2048;

/// Asks, and waits for the answer to this very request.
pub(super) async fn ask(question: &Question, sequence: u64, seen: &mut Seen) -> Result<Answer, ErrorKind> {
    let headers = [(SEQUENCE_HEADER.to_owned(), sequence.to_string())];
    let get = Get { host: &question.host, path: &question.path, headers: &headers, afterwards: Afterwards::Keep };
    let mut datagram = [0; DATAGRAM_MAX];
    let exchange = async {
        let any: SocketAddr = match question.target {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(question.target).await?;
        seen.ends(socket.local_addr(), socket.peer_addr());
        socket.send(get.head().as_bytes()).await?;
        loop {
            let length = socket.recv(&mut datagram).await?;
            let response = Response::of_datagram(&datagram[..length]);
            // One to an earlier socket at the same port may come late.
            let is_old = |response: &Response| response.header(SEQUENCE_HEADER) != Some(headers[0].1.as_str());
            if !response.as_ref().is_ok_and(is_old) {
                return Ok(response);
            }
        }
    };
    let response: std::io::Result<_> = exchange.await;
    let response = response.map_err(|error| kind_of(&error))?.map_err(|error| kind_of_get(&error))?;
    answer_of(&response)
}
