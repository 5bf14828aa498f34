//! The least of an HTTP/1.1 client: one GET at a time. Probes use it because they want to tell every way in which a
//! request fails; a client library would hide some.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Longest head (status line and headers) that is read. The largest that common servers send by default is 8 KiB.
const HEAD_MAX: usize = 16 * 1024;
/// Longest body that is read (and thrown away).
const BODY_MAX: u64 = 16 * 1024 * 1024;
/// End of a head.
const HEAD_END: &[u8; 4] = b"\r\n\r\n";
/// End of a body in chunks that has no trailers.
const LAST_CHUNK: &[u8; 5] = b"0\r\n\r\n";

/// Header by which a datagram's answer is told from that of an earlier one.
pub const SEQUENCE_HEADER: &str = "X-Meshbed-Sequence";

/// What becomes of a connection after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// The server closes it.
    Close,
    /// It is there for another request.
    Keep,
}

/// A GET request.
#[derive(Clone, Debug)]
pub struct Get<'a> {
    /// Value of the header `Host`.
    pub host: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// More headers.
    pub headers: &'a [(String, String)],
    /// What becomes of the connection.
    pub afterwards: Afterwards,
}

/// The head of a complete answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    headers: Vec<(String, String)>,
}

/// Why there is no complete answer.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
    /// Sending or receiving failed.
    #[error("connection failed")]
    Connection(#[source] io::Error),
    /// The stream ended before the answer did.
    #[error("connection was closed in the middle of the answer")]
    Cut,
    /// The answer is no HTTP/1.
    #[error("answer is no HTTP/1: {0}")]
    Malformed(&'static str),
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunks,
    Close,
}

impl Response {
    /// Value of the first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Reads the head of an answer that is a whole datagram.
    pub fn of_datagram(datagram: &[u8]) -> Result<Self, GetError> {
        match datagram.strip_suffix(HEAD_END) {
            Some(_) => parse_head(datagram),
            None => Err(GetError::Malformed("datagram is no whole head")),
        }
    }

    /// Whether the connection cannot take another request.
    pub fn closes(&self) -> bool {
        let closes = |value: &str| value.eq_ignore_ascii_case("close");
        self.header("connection").is_some_and(closes) || matches!(self.framing(), Ok(Framing::Close))
    }

    fn framing(&self) -> Result<Framing, GetError> {
        if matches!(self.status, 204 | 304) {
            return Ok(Framing::Length(0));
        }
        if self.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return Ok(Framing::Chunks);
        }
        match self.header("content-length") {
            None => Ok(Framing::Close),
            Some(length) => match length.parse() {
                Ok(length) if length <= BODY_MAX => Ok(Framing::Length(length)),
                _ => Err(GetError::Malformed("content-length is no number or too large")),
            },
        }
    }
}

impl Get<'_> {
    /// Sends the request and waits until the answer is complete. There is no time limit in here.
    pub async fn send(&self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<Response, GetError> {
        stream.write_all(self.head().as_bytes()).await.map_err(GetError::Connection)?;
        receive(stream).await
    }

    /// The request as it is sent.
    pub fn head(&self) -> String {
        let mut head = format!("GET {} HTTP/1.1\r\nHost: {}\r\n", self.path, self.host);
        if self.afterwards == Afterwards::Close {
            head.push_str("Connection: close\r\n");
        }
        for (name, value) in self.headers {
            head.push_str(name);
            head.push_str(": ");
            head.push_str(value);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        head
    }
}

/// Waits for a complete answer to a request that was sent. There is no time limit in here.
pub async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> Result<Response, GetError> {
    let mut bytes = Vec::with_capacity(1024);
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == HEAD_END) {
            break end + 4;
        }
        if bytes.len() > HEAD_MAX {
            return Err(GetError::Malformed("head is too long"));
        }
        if !bytes.is_empty() && !b"HTTP/1.".starts_with(&bytes[..bytes.len().min(7)]) {
            return Err(GetError::Malformed("no status line"));
        }
        if stream.read_buf(&mut bytes).await.map_err(GetError::Connection)? == 0 {
            return Err(GetError::Cut);
        }
    };
    let response = parse_head(&bytes[..end])?;
    finish_body(stream, response.framing()?, &bytes[end..]).await?;
    Ok(response)
}

fn parse_head(head: &[u8]) -> Result<Response, GetError> {
    let head = str::from_utf8(head).map_err(|_| GetError::Malformed("head is no UTF-8"))?;
    let mut lines = head.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1))
        .and_then(|code| code.parse().ok())
        .filter(|code| (100..=999).contains(code))
        .ok_or(GetError::Malformed("no status line"))?;
    let headers = lines
        .take_while(|line| !line.is_empty())
        .map(|line| {
            let (name, value) = line.split_once(':').ok_or(GetError::Malformed("header without colon"))?;
            Ok((name.to_owned(), value.trim().to_owned()))
        })
        .collect::<Result<_, GetError>>()?;
    Ok(Response { status, headers })
}

/// Reads until the body is complete; `first` is what came together with the head.
async fn finish_body(stream: &mut (impl AsyncRead + Unpin), framing: Framing, first: &[u8]) -> Result<(), GetError> {
    let mut tail = [0_u8; LAST_CHUNK.len()];
    let mut length = 0_u64;
    let mut buffer = [0_u8; 4096];
    let mut chunk = first;
    loop {
        length += chunk.len() as u64;
        for &byte in &chunk[chunk.len().saturating_sub(tail.len())..] {
            tail.rotate_left(1);
            tail[LAST_CHUNK.len() - 1] = byte;
        }
        match framing {
            Framing::Length(expected) if length > expected => return Err(GetError::Malformed("more than one answer")),
            Framing::Length(expected) if length == expected => return Ok(()),
            Framing::Chunks if &tail == LAST_CHUNK => return Ok(()),
            _ if length > BODY_MAX => return Err(GetError::Malformed("body is too long")),
            _ => {}
        }
        let count = stream.read(&mut buffer).await.map_err(GetError::Connection)?;
        if count == 0 {
            return if framing == Framing::Close { Ok(()) } else { Err(GetError::Cut) };
        }
        chunk = &buffer[..count];
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 2\r\n\r\nok" => Ok(200); "length")]
    #[test_case("HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" => Ok(404); "chunks")]
    #[test_case("HTTP/1.0 503 x\r\n\r\nuntil the end" => Ok(503); "until close")]
    #[test_case("HTTP/1.1 204 No Content\r\n\r\n" => Ok(204); "no body")]
    #[test_case("" => Err("cut"); "closed at once")]
    #[test_case("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok" => Err("cut"); "cut body")]
    #[test_case("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok" => Err("cut"); "cut chunk")]
    #[test_case("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK" => Err("malformed"); "more than was asked for")]
    #[test_case("HTTP/1.1 200 OK\r\nConte" => Err("cut"); "cut head")]
    #[test_case("SSH-2.0-OpenSSH\r\n" => Err("malformed"); "other protocol")]
    #[test_case("HTTP/1.1 abc\r\n\r\n" => Err("malformed"); "no status")]
    #[test_case("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n" => Err("malformed"); "negative length")]
    #[tokio::test]
    async fn answers_are_read(answer: &str) -> Result<u16, &'static str> {
        match receive(&mut answer.as_bytes()).await {
            Ok(response) => Ok(response.status),
            Err(GetError::Cut) => Err("cut"),
            Err(GetError::Malformed(_)) => Err("malformed"),
            Err(GetError::Connection(_)) => Err("connection"),
        }
    }

    #[test_case("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" => false; "length")]
    #[test_case("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n" => true; "the server says so")]
    #[test_case("HTTP/1.0 200 OK\r\n\r\n" => true; "the body ends with it")]
    fn connections_are_kept_if_they_can_be(head: &str) -> bool {
        parse_head(head.as_bytes()).expect("a head").closes()
    }

    #[test]
    fn datagrams_are_whole_heads() {
        assert_eq!(Response::of_datagram(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n").expect("a head").status, 200);
        assert!(Response::of_datagram(b"HTTP/1.1 200 OK\r\nA: b\r\n").is_err());
    }

    #[test]
    fn headers_are_found_in_any_case() {
        let response = parse_head(b"HTTP/1.1 200 OK\r\nX-Meshbed-Pod:  a \r\n\r\n").expect("a head");
        assert_eq!(response.header("x-meshbed-pod"), Some("a"));
    }
}
