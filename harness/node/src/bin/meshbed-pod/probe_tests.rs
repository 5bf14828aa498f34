//! The probe against servers in this process that fail in every way.

use test_case::test_case;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

const WHOLE: &str = "HTTP/1.1 200 OK\r\nX-Meshbed-Cluster: alpha\r\nX-Meshbed-Pod: rebel-base-1\r\n\
                     X-Meshbed-Pod-IP: 10.1.1.2\r\nContent-Length: 2\r\n\r\nok";

fn client(target: SocketAddr) -> Client {
    Client {
        target,
        host: "rebel-base".into(),
        path: "/".into(),
        timeout: Duration::from_millis(200),
        in_flight: Arc::new(Semaphore::new(1)),
    }
}

/// A server that reads a request, sends `answer` and closes.
async fn server(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut request).await.expect("a request"), 0, "the whole of it");
        }
        stream.write_all(answer.as_bytes()).await.expect("the client reads");
    });
    address
}

#[tokio::test]
async fn a_whole_answer_names_its_pod() {
    let (answer, _) = client(server(WHOLE).await).ask().await.expect("a whole answer");
    assert_eq!(
        answer,
        Answer { status: 200, cluster: "alpha".into(), pod: "rebel-base-1".into(), ip: "10.1.1.2".into() }
    );
}

#[test_case("", ErrorKind::Reset ; "closed without an answer")]
#[test_case("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", ErrorKind::Reset ; "closed within the answer")]
#[test_case("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ErrorKind::Malformed ; "nobody's answer")]
#[test_case("220 smtp\r\n\r\n", ErrorKind::Malformed ; "no HTTP")]
#[tokio::test]
async fn bad_answers_have_their_words(answer: &'static str, expected: ErrorKind) {
    assert_eq!(client(server(answer).await).ask().await.expect_err("no answer"), expected);
}

#[tokio::test]
async fn a_closed_port_refuses() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    assert_eq!(client(address).ask().await.expect_err("nobody listens"), ErrorKind::Refused);
}

#[test_case(Errno::EHOSTUNREACH => ErrorKind::Unreachable)]
#[test_case(Errno::ENETUNREACH => ErrorKind::Unreachable)]
#[test_case(Errno::EPERM => ErrorKind::NotPermitted)]
#[test_case(Errno::ECONNRESET => ErrorKind::Reset)]
#[test_case(Errno::EPIPE => ErrorKind::Reset)]
#[test_case(Errno::ETIMEDOUT => ErrorKind::TimedOut)]
#[test_case(Errno::EADDRNOTAVAIL => ErrorKind::Other)]
fn error_numbers_have_their_words(errno: Errno) -> ErrorKind {
    kind_of(&std::io::Error::from_raw_os_error(errno as i32))
}

#[tokio::test]
async fn silence_times_out_and_a_full_client_says_so_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let client = Arc::new(client(listener.local_addr().expect("it is bound")));
    let (reporter, lines) = Reporter::to_channel();
    let mut requests = JoinSet::new();
    client.start(0, &mut requests, &reporter);
    client.start(1, &mut requests, &reporter);
    while requests.join_next().await.is_some() {}
    let (second, first) = (lines.recv().expect("one line"), lines.recv().expect("another line"));
    assert_eq!(second.waited_ns(), (1, Some(ErrorKind::TimedOut), 0), "no room for a second one");
    let (sequence, error, waited_ns) = first.waited_ns();
    assert_eq!((sequence, error), (0, Some(ErrorKind::TimedOut)));
    assert!(waited_ns >= 200_000_000, "it had its time: {waited_ns} ns");
}
