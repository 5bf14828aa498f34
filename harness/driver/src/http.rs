//! The least of HTTP: one GET in plain text from within a network namespace, for asking programs whether they are ready.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use crate::{SystemError, namespace::in_netns};

/// How long one request may take altogether in connecting, and again in each reading.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes of the head of an answer.
const HEAD_MAX: u64 = 16 * 1024;
/// Port of URLs without one.
const PORT_DEFAULT: u16 = 80;

/// The head of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Status code.
    pub(crate) status: u16,
    head: String,
}

impl Answer {
    /// Value of the header called `name`.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let headers = self.head.lines().filter_map(|line| line.split_once(':'));
        headers.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    fn parse(text: &str) -> Option<Self> {
        let head = text.strip_suffix("\r\n\r\n")?;
        let (version, rest) = head.split_once(' ')?;
        let status = rest.split(' ').next()?.trim_end().parse().ok()?;
        version.starts_with("HTTP/1.").then(|| Self { status, head: head.to_owned() })
    }
}

/// Gets `url` (`http://<address>[:<port>]/…`) in the namespace pinned as `netns`. Blocks.
pub(crate) fn get(netns: &Path, url: &str) -> Result<Answer, SystemError> {
    in_netns(netns, || {
        let (address, host, path) = parse_url(url)?;
        let mut stream = TcpStream::connect_timeout(&address, REQUEST_TIMEOUT)?;
        stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
        stream.set_write_timeout(Some(REQUEST_TIMEOUT))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
        // Not to the end: etcd's peer interface may take seconds to close a connection.
        let mut head = String::new();
        let mut lines = BufReader::new(stream.take(HEAD_MAX));
        while !head.ends_with("\r\n\r\n") && lines.read_line(&mut head)? > 0 {}
        Answer::parse(&head).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is no HTTP"))
    })
}

/// Address, host as written and path of a URL. Names other than `localhost` cannot be looked up in a mesh.
fn parse_url(url: &str) -> io::Result<(SocketAddr, &str, &str)> {
    let bad = || io::Error::new(io::ErrorKind::InvalidInput, format!("`{url}` is no `http://<address>[:<port>]/…`"));
    let rest = url.strip_prefix("http://").ok_or_else(bad)?;
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let numeric = host.replace("localhost", "127.0.0.1");
    let address = numeric.parse().or_else(|_| numeric.parse().map(|ip| SocketAddr::new(ip, PORT_DEFAULT)));
    Ok((address.map_err(|_| bad())?, host, path))
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::{Answer, parse_url};

    #[test_case("http://127.0.0.1:9879/healthz" => Some(("127.0.0.1:9879".to_owned(), "/healthz".to_owned())))]
    #[test_case("http://localhost" => Some(("127.0.0.1:80".to_owned(), "/".to_owned())))]
    #[test_case("https://127.0.0.1/" => None)]
    #[test_case("http://example.org/" => None)]
    fn urls(url: &str) -> Option<(String, String)> {
        parse_url(url).ok().map(|(address, _, path)| (address.to_string(), path.to_owned()))
    }

    #[test]
    fn answers() {
        let answer = Answer::parse("HTTP/1.1 204 No Content\r\nX-Etcd-Cluster-Id: 2a\r\n\r\n").unwrap();
        assert_eq!((answer.status, answer.header("x-etcd-cluster-id")), (204, Some("2a")));
        assert_eq!(answer.header("other"), None);
        assert_eq!(Answer::parse("SSH-2.0-x\r\n\r\n"), None);
        assert_eq!(Answer::parse("HTTP/1.1 200"), None, "cut off");
    }
}
