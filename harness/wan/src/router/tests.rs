use std::time::{Duration, Instant};

use meshbed_scenario::{Inbound, LinkConditions, LossRatio, Nat};
use test_case::test_case;

use super::{Output, Router, Segment, Setting};
use crate::packet::{
    Packet,
    testing::{assert_sealed, echo, forbid_fragments, icmp, tcp, udp},
};

const ALPHA: usize = 0;
const BETA: usize = 1;
const POD_A: &str = "10.1.1.5";
const POD_B: &str = "10.2.1.5";
const HIDDEN: &str = "198.18.1.2";

/// Collects what the router does.
#[derive(Debug, Default)]
struct Sink {
    forwarded: Vec<(usize, Packet)>,
    answered: Vec<Packet>,
    refuses: bool,
}

impl Output for Sink {
    fn forward(&mut self, from: usize, packet: &Packet) -> bool {
        assert_sealed(packet);
        if !self.refuses {
            self.forwarded.push((from, packet.clone()));
        }
        !self.refuses
    }

    fn answer(&mut self, packet: &Packet) {
        assert_sealed(packet);
        self.answered.push(packet.clone());
    }
}

struct Bench {
    router: Router,
    sink: Sink,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let segment = |node: &str, pod: &str, router: &str| Segment {
            cidrs: vec![node.parse().unwrap(), pod.parse().unwrap()],
            router: router.parse().unwrap(),
        };
        let segments = vec![
            segment("172.18.1.0/24", "10.1.0.0/16", "172.18.1.1"),
            segment("172.18.2.0/24", "10.2.0.0/16", "172.18.2.1"),
        ];
        Self { router: Router::new(segments, 7), sink: Sink::default(), now: Instant::now() }
    }

    fn with(way: (usize, usize), conditions: LinkConditions) -> Self {
        let mut bench = Self::new();
        bench.set(way, conditions);
        bench
    }

    fn set(&mut self, way: (usize, usize), conditions: LinkConditions) {
        let nat_address = conditions.nat.as_ref().map(|_| HIDDEN.parse().unwrap());
        self.router.set(way, &Setting { conditions, nat_address }, self.now, &mut self.sink);
    }

    fn send(&mut self, from: usize, packet: &Packet) {
        self.router.receive(from, packet.bytes().to_vec(), self.now, &mut self.sink);
    }

    /// Ends of what was forwarded since the last call.
    fn forwarded(&mut self) -> Vec<(String, String)> {
        let packets = self.sink.forwarded.drain(..);
        packets.map(|(_, packet)| (packet.source().to_string(), packet.destination().to_string())).collect()
    }
}

fn ask() -> Packet {
    udp((POD_A, 4000), (POD_B, 53), b"question")
}

fn reply() -> Packet {
    udp((POD_B, 53), (POD_A, 4000), b"answer")
}

#[test]
fn one_way_partition() {
    let mut bench = Bench::with((ALPHA, BETA), LinkConditions { down: true, ..LinkConditions::default() });
    bench.send(ALPHA, &ask());
    bench.send(BETA, &reply());
    assert_eq!(bench.forwarded(), [(POD_B.to_owned(), POD_A.to_owned())]);
    let (there, back) = (bench.router.counters((ALPHA, BETA)), bench.router.counters((BETA, ALPHA)));
    assert_eq!((there.received.packets, there.dropped.down, there.delivered.packets), (1, 1, 0));
    assert_eq!((back.dropped.total(), back.delivered.packets, back.delivered.bytes), (0, 1, 34));
    bench.set((ALPHA, BETA), LinkConditions::default());
    bench.send(ALPHA, &ask());
    assert_eq!(bench.forwarded().len(), 1, "healed");
}

#[test]
fn hops_of_the_detour_do_not_count() {
    let mut bench = Bench::new();
    let mut packet = ask();
    // The kernel took one on the way in.
    packet.bytes_mut()[8] = 1;
    crate::packet::seal_header(packet.bytes_mut());
    bench.send(ALPHA, &packet);
    assert_eq!(bench.sink.forwarded[0].1.bytes()[8], 2);
}

#[test]
fn total_loss_delivers_nothing_and_counts_all() {
    let mut bench = Bench::with((ALPHA, BETA), LinkConditions { loss: LossRatio::ALL, ..LinkConditions::default() });
    for _ in 0..100 {
        bench.send(ALPHA, &ask());
    }
    assert_eq!(bench.forwarded(), []);
    assert_eq!(bench.router.counters((ALPHA, BETA)).dropped.loss, 100);
}

#[test_case(false, true => (0, 1, 1, 0) ; "told")]
#[test_case(true, true => (0, 0, 1, 1) ; "black hole")]
#[test_case(false, false => (2, 0, 0, 0) ; "fragmented")]
fn too_large_packets(drop_ptb: bool, forbid: bool) -> (usize, usize, u64, u64) {
    let mut bench =
        Bench::with((ALPHA, BETA), LinkConditions { mtu: Some(1400), drop_ptb, ..LinkConditions::default() });
    let packet = udp((POD_A, 4000), (POD_B, 53), &[0; 1400]);
    bench.send(ALPHA, &if forbid { forbid_fragments(packet) } else { packet });
    let counters = bench.router.counters((ALPHA, BETA));
    assert_eq!(counters.ptb_sent as usize, bench.sink.answered.len());
    if let Some(answer) = bench.sink.answered.first() {
        assert_eq!(
            (answer.source().to_string(), answer.destination().to_string()),
            ("172.18.1.1".into(), POD_A.into())
        );
    }
    assert!(bench.sink.forwarded.iter().all(|(_, piece)| piece.len() <= 1400));
    (bench.sink.forwarded.len(), bench.sink.answered.len(), counters.dropped.mtu, counters.ptb_filtered)
}

#[test]
fn packets_of_the_mtu_pass_whole() {
    let mut bench = Bench::with((ALPHA, BETA), LinkConditions { mtu: Some(1400), ..LinkConditions::default() });
    bench.send(ALPHA, &forbid_fragments(udp((POD_A, 4000), (POD_B, 53), &[0; 1372])));
    assert_eq!(bench.sink.forwarded[0].1.len(), 1400);
}

#[test]
fn messages_of_others_are_filtered_on_their_way() {
    let mut bench = Bench::with((BETA, ALPHA), LinkConditions { drop_ptb: true, ..LinkConditions::default() });
    bench.send(BETA, &icmp("172.18.2.11", POD_A, 3, 4, [0, 0, 5, 0], ask().bytes()));
    bench.send(BETA, &icmp("172.18.2.11", POD_A, 3, 3, [0; 4], ask().bytes()));
    assert_eq!(bench.forwarded().len(), 1, "other errors pass");
    let counters = bench.router.counters((BETA, ALPHA));
    assert_eq!((counters.ptb_filtered, counters.dropped.ptb), (1, 1));
}

#[test]
fn cleared_direction_delivers_what_waits_in_order() {
    let delay = Duration::from_millis(40);
    let mut bench = Bench::with((ALPHA, BETA), LinkConditions { delay, ..LinkConditions::default() });
    for port in 1..=3 {
        bench.send(ALPHA, &udp((POD_A, port), (POD_B, 53), b""));
    }
    assert_eq!(bench.router.next_release(), Some(bench.now + delay));
    bench.router.release(bench.now + delay - Duration::from_nanos(1), &mut bench.sink);
    assert_eq!(bench.sink.forwarded, []);
    bench.set((ALPHA, BETA), LinkConditions::default());
    let ports: Vec<_> = bench.sink.forwarded.iter().map(|(_, packet)| packet.bytes()[21]).collect();
    assert_eq!(ports, [1, 2, 3]);
    assert_eq!(bench.router.next_release(), None);
}

fn hidden(inbound: Inbound) -> LinkConditions {
    LinkConditions { nat: Some(Nat { address: None, inbound }), ..LinkConditions::default() }
}

#[test]
fn hidden_cluster_is_seen_under_one_address_and_answered() {
    let mut bench = Bench::with((ALPHA, BETA), hidden(Inbound::Drop));
    bench.send(ALPHA, &ask());
    bench.send(BETA, &udp((POD_B, 53), (HIDDEN, 4000), b"answer"));
    let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    assert_eq!(bench.forwarded(), [pair(HIDDEN, POD_B), pair(POD_B, POD_A)]);
    bench.send(BETA, &tcp((POD_B, 4000), (POD_A, 80), 2));
    bench.send(BETA, &echo(POD_B, HIDDEN, 8, 5));
    assert_eq!(bench.forwarded(), [], "nothing gets in that was not asked for");
    assert_eq!(bench.router.counters((ALPHA, BETA)).natted, 1);
    let back = bench.router.counters((BETA, ALPHA));
    assert_eq!((back.natted, back.dropped.nat), (1, 2));
    bench.set((ALPHA, BETA), LinkConditions::default());
    bench.send(ALPHA, &ask());
    assert_eq!(bench.forwarded(), [pair(POD_A, POD_B)]);
    bench.send(BETA, &udp((POD_B, 53), (HIDDEN, 4000), b"late"));
    assert_eq!((bench.forwarded().len(), bench.router.strays()), (0, 1));
}

#[test]
fn both_sides_can_be_hidden() {
    let mut bench = Bench::new();
    bench.set((ALPHA, BETA), hidden(Inbound::Pass));
    let beta = Setting { conditions: hidden(Inbound::Pass), nat_address: Some("198.18.2.1".parse().unwrap()) };
    bench.router.set((BETA, ALPHA), &beta, bench.now, &mut bench.sink);
    let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    bench.send(ALPHA, &tcp((POD_A, 4000), (POD_B, 80), 2));
    bench.send(BETA, &tcp((POD_B, 80), (HIDDEN, 4000), 0x12));
    assert_eq!(bench.forwarded(), [pair(HIDDEN, POD_B), pair(POD_B, POD_A)]);
    bench.send(BETA, &tcp((POD_B, 5000), (POD_A, 80), 2));
    bench.send(ALPHA, &tcp((POD_A, 80), ("198.18.2.1", 5000), 0x12));
    assert_eq!(bench.forwarded(), [pair("198.18.2.1", POD_A), pair(POD_A, POD_B)]);
}

#[test]
fn large_packets_are_translated_before_they_are_split() {
    let mut bench = Bench::with((ALPHA, BETA), LinkConditions { mtu: Some(1400), ..hidden(Inbound::Pass) });
    bench.send(ALPHA, &udp((POD_A, 4000), (POD_B, 53), &[0; 3000]));
    assert!(bench.forwarded().iter().all(|(source, _)| source == HIDDEN));
    assert_eq!(bench.router.counters((ALPHA, BETA)).fragmented, 2);
}

#[test]
fn nonsense_is_a_stray() {
    let mut bench = Bench::new();
    bench.router.receive(ALPHA, vec![0; 10], bench.now, &mut bench.sink);
    bench.send(ALPHA, &udp((POD_A, 1), ("8.8.8.8", 53), b""));
    bench.send(ALPHA, &udp((POD_A, 1), ("10.1.2.2", 53), b""));
    assert_eq!((bench.forwarded().len(), bench.router.strays()), (0, 3));
}

#[test]
fn every_packet_is_accounted_for() {
    let mut bench = Bench::with(
        (ALPHA, BETA),
        LinkConditions {
            delay: Duration::from_millis(3),
            loss: LossRatio::new(0.2).unwrap(),
            rate: std::num::NonZeroU64::new(5_000_000),
            mtu: Some(1000),
            ..LinkConditions::default()
        },
    );
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..5000 {
        let packet = udp((POD_A, 1), (POD_B, 53), &vec![0; random.usize(0..3000)]);
        let packet = if random.bool() { forbid_fragments(packet) } else { packet };
        bench.send(ALPHA, &packet);
        bench.now += Duration::from_micros(random.u64(0..1000));
        bench.router.release(bench.now, &mut bench.sink);
    }
    bench.sink.refuses = true;
    bench.now += Duration::from_millis(20);
    bench.router.release(bench.now, &mut bench.sink);
    let counters = bench.router.counters((ALPHA, BETA));
    let dropped = counters.dropped;
    assert!(dropped.loss > 0 && dropped.mtu > 0 && dropped.queue > 0 && dropped.refused > 0 && counters.queued > 0);
    assert_eq!(
        counters.received.packets + counters.fragmented,
        counters.delivered.packets + dropped.total() + counters.queued
    );
}
