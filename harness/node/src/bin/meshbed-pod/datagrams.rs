//! Answering datagrams: each is the head of an HTTP request, and so is each answer of a response, whose headers say who
//! answers. Anything else is not answered.

use std::{io, net::SocketAddr};

use hyper::HeaderMap;
use meshbed_node::http::SEQUENCE_HEADER;
use tokio::net::UdpSocket;

/// Longest datagram that is read; longer ones are cut, and then are no head.
const DATAGRAM_MAX: usize = 2048;
/// Headers that a request may have.
const HEADERS_MAX: usize = 32;

/// Answers what comes to `address` until it is dropped. `headers` say who answers.
pub(crate) async fn answer_all(address: SocketAddr, headers: HeaderMap) -> io::Result<std::convert::Infallible> {
    let socket = UdpSocket::bind(address).await?;
    let mut datagram = [0; DATAGRAM_MAX];
    loop {
        // An error is that of an earlier answer that nobody took (ICMP), or passes by itself.
        let Ok((length, from)) = socket.recv_from(&mut datagram).await else { continue };
        if let Some(sequence) = sequence_of(&datagram[..length]) {
            // One that cannot be sent is lost, as datagrams may be.
            let _lost = socket.send_to(&answer(sequence, &headers), from).await;
        }
    }
}

/// The number that a request gave itself.
fn sequence_of(datagram: &[u8]) -> Option<&str> {
    let text = str::from_utf8(datagram).ok()?;
    let mut lines = text.strip_suffix("\r\n\r\n")?.split("\r\n");
    if !lines.next()?.ends_with(" HTTP/1.1") {
        return None;
    }
    lines.take(HEADERS_MAX).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case(SEQUENCE_HEADER).then(|| value.trim())
    })
}

fn answer(sequence: &str, headers: &HeaderMap) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 200 OK\r\n{SEQUENCE_HEADER}: {sequence}\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("GET / HTTP/1.1\r\nHost: a\r\nX-Meshbed-Sequence: 7\r\n\r\n" => Some("7"))]
    #[test_case("GET / HTTP/1.1\r\nHost: a\r\n\r\n" => None; "no number")]
    #[test_case("GET / HTTP/1.1\r\nX-Meshbed-Sequence: 7\r\n" => None; "cut")]
    #[test_case("hello\r\nX-Meshbed-Sequence: 7\r\n\r\n" => None; "no request")]
    #[test_case("" => None; "empty")]
    fn requests_are_recognised(datagram: &str) -> Option<&str> {
        sequence_of(datagram.as_bytes())
    }
}
