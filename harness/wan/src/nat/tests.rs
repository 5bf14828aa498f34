use std::time::{Duration, Instant};

use meshbed_scenario::Inbound;
use test_case::test_case;

use super::{CLOSING_LIFE, Nat, OTHER_LIFE, SESSIONS_MAX, Verdict};
use crate::{
    fragment::fragments,
    packet::{
        Packet, Ports, ports,
        testing::{assert_sealed, echo, icmp, tcp, udp},
    },
};

const HIDDEN: &str = "198.18.1.2";
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const FIN_ACK: u8 = 0x11;

fn nat() -> Nat {
    Nat::new(HIDDEN.parse().unwrap(), Inbound::Pass)
}

/// Source and destination in words.
fn ends(packet: &Packet) -> String {
    let (source, destination) = (packet.source(), packet.destination());
    match ports(packet.bytes()).unwrap() {
        Ports::Pair { source: from, destination: to } => format!("{source}:{from} > {destination}:{to}"),
        Ports::Query(id) => format!("{source} > {destination} id {id}"),
        Ports::Error | Ports::None => format!("{source} > {destination}"),
    }
}

#[test_case(udp(("10.1.1.5", 4000), ("10.2.1.5", 53), b"hi"), udp(("10.2.1.5", 53), (HIDDEN, 4000), b"ho")
    => ("198.18.1.2:4000 > 10.2.1.5:53".to_owned(), "10.2.1.5:53 > 10.1.1.5:4000".to_owned()) ; "udp")]
#[test_case(tcp(("10.1.1.5", 4000), ("10.2.1.5", 80), SYN), tcp(("10.2.1.5", 80), (HIDDEN, 4000), SYN | ACK)
    => ("198.18.1.2:4000 > 10.2.1.5:80".to_owned(), "10.2.1.5:80 > 10.1.1.5:4000".to_owned()) ; "tcp")]
#[test_case(echo("10.1.1.5", "10.2.1.5", 8, 9), echo("10.2.1.5", HIDDEN, 0, 9)
    => ("198.18.1.2 > 10.2.1.5 id 9".to_owned(), "10.2.1.5 > 10.1.1.5 id 9".to_owned()) ; "ping")]
fn there_and_back(mut packet: Packet, mut answer: Packet) -> (String, String) {
    let (mut nat, now) = (nat(), Instant::now());
    assert_eq!(nat.outwards(&mut packet, now), Verdict::Translated);
    assert_sealed(&packet);
    assert_eq!(nat.inwards(&mut answer, now), Verdict::Translated);
    assert_sealed(&answer);
    (ends(&packet), ends(&answer))
}

#[test]
fn equal_ports_are_told_apart() {
    let (mut nat, now) = (nat(), Instant::now());
    let mut first = tcp(("10.1.1.5", 4000), ("10.2.1.5", 80), SYN);
    let mut second = tcp(("10.1.2.6", 4000), ("10.2.1.5", 80), SYN);
    let mut elsewhere = tcp(("10.1.2.6", 4000), ("10.2.1.6", 80), SYN);
    for packet in [&mut first, &mut second, &mut elsewhere] {
        assert_eq!(nat.outwards(packet, now), Verdict::Translated);
        assert_sealed(packet);
    }
    assert_eq!(ends(&first), "198.18.1.2:4000 > 10.2.1.5:80");
    assert_eq!(ends(&second), "198.18.1.2:1024 > 10.2.1.5:80", "the port was taken");
    assert_eq!(ends(&elsewhere), "198.18.1.2:4000 > 10.2.1.6:80", "a port is taken for one destination only");
    let mut answer = tcp(("10.2.1.5", 80), (HIDDEN, 1024), SYN | ACK);
    assert_eq!(nat.inwards(&mut answer, now), Verdict::Translated);
    assert_eq!(ends(&answer), "10.2.1.5:80 > 10.1.2.6:4000");
    assert_sealed(&answer);
}

#[test]
fn strangers_are_refused() {
    let (mut nat, now) = (nat(), Instant::now());
    nat.outwards(&mut tcp(("10.1.1.5", 4000), ("10.2.1.5", 80), SYN), now);
    for mut stranger in [tcp(("10.2.1.5", 81), (HIDDEN, 4000), SYN), tcp(("10.2.1.6", 80), (HIDDEN, 4000), SYN)] {
        let before = stranger.clone();
        assert_eq!(nat.inwards(&mut stranger, now), Verdict::Refused);
        assert_eq!(stranger, before);
    }
}

#[test]
fn conversations_from_outside_are_left_alone() {
    let (mut nat, now) = (nat(), Instant::now());
    assert_eq!(nat.admit(&tcp(("10.2.1.5", 5000), ("10.1.1.5", 80), SYN), now), Verdict::Untouched);
    let mut answer = tcp(("10.1.1.5", 80), ("10.2.1.5", 5000), SYN | ACK);
    assert_eq!(nat.outwards(&mut answer, now), Verdict::Untouched);
    assert_eq!(ends(&answer), "10.1.1.5:80 > 10.2.1.5:5000");
    // The middle of a connection from before does not count as its beginning.
    assert_eq!(nat.admit(&tcp(("10.2.1.5", 5001), ("10.1.1.5", 80), ACK), now), Verdict::Untouched);
    let mut answer = tcp(("10.1.1.5", 80), ("10.2.1.5", 5001), ACK);
    assert_eq!(nat.outwards(&mut answer, now), Verdict::Translated);

    let mut closed = Nat::new(HIDDEN.parse().unwrap(), Inbound::Drop);
    assert_eq!(closed.admit(&tcp(("10.2.1.5", 5000), ("10.1.1.5", 80), SYN), now), Verdict::Refused);
}

#[test]
fn errors_find_their_way_with_the_packet_that_they_quote() {
    let (mut nat, now) = (nat(), Instant::now());
    let original = udp(("10.1.1.5", 4000), ("10.2.1.5", 53), b"question");
    let mut packet = original.clone();
    nat.outwards(&mut udp(("10.1.9.9", 4000), ("10.2.1.5", 53), b""), now);
    assert_eq!(nat.outwards(&mut packet, now), Verdict::Translated);
    assert_eq!(ends(&packet), "198.18.1.2:1024 > 10.2.1.5:53");
    // Port unreachable, as the server's node says it.
    let mut error = icmp("172.18.2.11", HIDDEN, 3, 3, [0; 4], packet.bytes());
    assert_eq!(nat.inwards(&mut error, now), Verdict::Translated);
    assert_sealed(&error);
    assert_eq!(ends(&error), "172.18.2.11 > 10.1.1.5");
    assert_eq!(error.bytes()[28..], *original.bytes(), "the sender must recognise its packet, checksums included");
    // And the other way: the client cannot take the answer.
    let answer = udp(("10.2.1.5", 53), (HIDDEN, 1024), b"answer");
    let mut delivered = answer.clone();
    assert_eq!(nat.inwards(&mut delivered, now), Verdict::Translated);
    let mut error = icmp("10.1.1.5", "10.2.1.5", 3, 3, [0; 4], delivered.bytes());
    assert_eq!(nat.outwards(&mut error, now), Verdict::Translated);
    assert_sealed(&error);
    assert_eq!((ends(&error).as_str(), &error.bytes()[28..]), ("198.18.1.2 > 10.2.1.5", answer.bytes()));
    let mut stray = icmp("172.18.2.11", HIDDEN, 3, 3, [0; 4], original.bytes());
    assert_eq!(nat.inwards(&mut stray, now), Verdict::Refused);
}

#[test]
fn fragments_follow_the_first() {
    let (mut nat, now) = (nat(), Instant::now());
    let whole = udp(("10.1.1.5", 4000), ("10.2.1.5", 53), &[3; 3000]);
    let mut pieces = fragments(&whole, 1400);
    let mut stray = pieces[1].clone();
    assert_eq!(nat.outwards(&mut stray, now), Verdict::Refused, "nobody knows where it belongs");
    for piece in &mut pieces {
        assert_eq!(nat.outwards(piece, now), Verdict::Translated);
        assert_eq!(piece.source().to_string(), HIDDEN);
        assert_sealed(piece);
    }
    let answer = udp(("10.2.1.5", 53), (HIDDEN, 4000), &[4; 3000]);
    for mut piece in fragments(&answer, 1400) {
        assert_eq!(nat.inwards(&mut piece, now), Verdict::Translated);
        assert_eq!(piece.destination().to_string(), "10.1.1.5");
        assert_sealed(&piece);
    }
}

#[test]
fn full_tables_refuse_until_something_is_over() {
    let (mut nat, start) = (nat(), Instant::now());
    let client = |number: usize| {
        let [.., high, low] = u32::try_from(number).unwrap().to_be_bytes();
        (format!("10.1.{high}.{low}"), format!("10.2.0.{}", number % 200))
    };
    for number in 0..SESSIONS_MAX {
        let (from, to) = client(number);
        let mut packet = udp((&from, 4000), (&to, 53), b"");
        assert_eq!(nat.outwards(&mut packet, start), Verdict::Translated, "{number}");
    }
    let mut one_more = udp(("10.1.0.0", 4001), ("10.2.0.0", 53), b"");
    assert_eq!(nat.outwards(&mut one_more.clone(), start), Verdict::Refused);
    let later = start + OTHER_LIFE + Duration::from_secs(2);
    assert_eq!(nat.outwards(&mut one_more, later), Verdict::Translated);
    assert_eq!((nat.sessions.len(), nat.masks.len()), (1, 1));
}

#[test]
fn finished_connections_make_room_soon() {
    let (mut nat, start) = (nat(), Instant::now());
    for (flags, answer) in [(SYN, SYN | ACK), (FIN_ACK, FIN_ACK)] {
        nat.outwards(&mut tcp(("10.1.1.5", 4000), ("10.2.1.5", 80), flags), start);
        nat.inwards(&mut tcp(("10.2.1.5", 80), (HIDDEN, 4000), answer), start);
    }
    nat.outwards(&mut tcp(("10.1.1.5", 4001), ("10.2.1.5", 80), SYN), start);
    nat.purge(start + CLOSING_LIFE);
    assert_eq!(nat.sessions.len(), 2, "not yet");
    nat.purge(start + CLOSING_LIFE + Duration::from_secs(5));
    assert_eq!(nat.sessions.len(), 1, "the one that was not finished");
}
