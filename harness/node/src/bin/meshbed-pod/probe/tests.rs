//! The probe against servers in this process that fail in every way.

use meshbed_events::ErrorKind;
use nix::errno::Errno;
use test_case::test_case;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
};

use super::{failure::kind_of, *};
use crate::report::{Answer, Seen};

const WHOLE: &str = "HTTP/1.1 200 OK\r\nX-Meshbed-Cluster: alpha\r\nX-Meshbed-Pod: rebel-base-1\r\n\
                     X-Meshbed-Pod-IP: 10.1.1.2\r\nContent-Length: 2\r\n\r\nok";

fn client(target: SocketAddr, transport: Transport) -> Client {
    Client {
        question: Question { target, host: "rebel-base".into(), path: "/".into() },
        transport,
        timeout: Duration::from_millis(200),
        in_flight: Arc::new(Semaphore::new(1)),
    }
}

async fn ask(client: &Client) -> Result<Answer, ErrorKind> {
    client.ask(0, &mut Seen::default()).await.map(|(answer, _)| answer)
}

async fn read_request(stream: &mut TcpStream) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut request).await.expect("a request"), 0, "the whole of it");
    }
}

/// A server that reads a request, sends `answer` and closes.
async fn server(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        read_request(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.expect("the client reads");
    });
    address
}

#[tokio::test]
async fn a_whole_answer_names_its_pod() {
    let answer = ask(&client(server(WHOLE).await, Transport::Connect)).await.expect("a whole answer");
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
    assert_eq!(ask(&client(server(answer).await, Transport::Connect)).await.expect_err("no answer"), expected);
}

#[tokio::test]
async fn a_closed_port_refuses() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    for transport in [Transport::Connect, Transport::Keepalive(keepalive::Line::default()), Transport::Datagram] {
        assert_eq!(ask(&client(address, transport)).await.expect_err("nobody listens"), ErrorKind::Refused);
    }
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
    let client = Arc::new(client(listener.local_addr().expect("it is bound"), Transport::Connect));
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

/// What the probe says of requests, one after the other, on one connection.
async fn kept(address: SocketAddr, requests: u64) -> Vec<(bool, bool, bool)> {
    let client = client(address, Transport::Keepalive(keepalive::Line::default()));
    let client = Arc::new(Client { timeout: Duration::from_secs(5), ..client });
    let (reporter, lines) = Reporter::to_channel();
    for sequence in 0..requests {
        let mut tasks = JoinSet::new();
        client.start(sequence, &mut tasks, &reporter);
        while tasks.join_next().await.is_some() {}
    }
    lines.try_iter().map(|line| line.how()).collect()
}

#[tokio::test]
async fn a_connection_is_kept_until_it_ends_and_a_closing_one_costs_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        // Two answers, then the third request finds nobody; the next connection serves the rest.
        let (mut stream, _) = listener.accept().await.expect("a connection");
        for _ in 0..2 {
            read_request(&mut stream).await;
            stream.write_all(WHOLE.as_bytes()).await.expect("the client reads");
        }
        read_request(&mut stream).await;
        drop(stream);
        let (mut stream, _) = listener.accept().await.expect("another connection");
        loop {
            read_request(&mut stream).await;
            stream.write_all(WHOLE.as_bytes()).await.expect("the client reads");
        }
    });
    let (fresh, again, retried) = ((true, false, false), (true, true, false), (true, false, true));
    assert_eq!(kept(address, 4).await, [fresh, again, retried, again]);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_answer_on_a_kept_connection_either() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        read_request(&mut stream).await;
        stream.write_all(WHOLE.as_bytes()).await.expect("the client reads");
        read_request(&mut stream).await;
        stream.write_all(&WHOLE.as_bytes()[..40]).await.expect("the client reads");
    });
    assert_eq!(kept(address, 2).await, [(true, false, false), (false, true, false)]);
}

#[tokio::test]
async fn a_datagram_is_answered_by_its_own_answer() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let target = socket.local_addr().expect("it is bound");
    tokio::spawn(async move {
        let mut request = [0; 512];
        let (length, from) = socket.recv_from(&mut request).await.expect("a request");
        let request = str::from_utf8(&request[..length]).expect("text");
        assert!(request.starts_with("GET / HTTP/1.1\r\nHost: rebel-base\r\nX-Meshbed-Sequence: 0\r\n"), "{request}");
        let head = WHOLE.strip_suffix("\r\n\r\nok").expect("a head");
        for (sequence, pod) in [(41, "late"), (0, "right")] {
            let head = head.replace("rebel-base-1", pod);
            let answer = format!("{head}\r\nX-Meshbed-Sequence: {sequence}\r\n\r\n");
            socket.send_to(answer.as_bytes(), from).await.expect("sent");
        }
    });
    let answer = ask(&client(target, Transport::Datagram)).await.expect("an answer");
    assert_eq!(answer.pod, "right");
}
