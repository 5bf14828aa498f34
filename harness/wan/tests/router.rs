//! The router with real packets: two namespaces talk through it. Needs root, `/dev/net/tun` and iproute2.
#![expect(clippy::print_stderr, reason = "tests tell how long things take and why they skip")]

mod support;

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    num::NonZeroU64,
    thread,
    time::{Duration, Instant},
};

use meshbed_scenario::{Inbound, LinkConditions, LossRatio, Nat};
use meshbed_wan::ClientError;
use nix::sys::socket::{setsockopt, sockopt};
use support::{Bench, DEADLINE, POD_A, POD_B, is_root, name, output_in, udp_in, within};

/// Room for all datagrams of a test at the receiver.
const BUFFER_BYTES: usize = 16 << 20;
const MILLISECOND: Duration = Duration::from_millis(1);
/// The address that hides alpha from beta.
const HIDDEN: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 2);

fn clear() -> LinkConditions {
    LinkConditions::default()
}

fn delay(delay: Duration) -> LinkConditions {
    LinkConditions { delay, ..clear() }
}

fn down() -> LinkConditions {
    LinkConditions { down: true, ..clear() }
}

fn nat(inbound: Inbound) -> LinkConditions {
    LinkConditions { nat: Some(Nat { address: None, inbound }), ..clear() }
}

/// The middle one of some round-trip times.
fn round_trip(alpha: &UdpSocket, beta: &UdpSocket) -> Duration {
    let mut buffer = [0; 64];
    let mut times: Vec<Duration> = (0..21)
        .map(|_| {
            let start = Instant::now();
            alpha.send(b"ping").unwrap();
            let length = beta.recv(&mut buffer).unwrap();
            beta.send(&buffer[..length]).unwrap();
            alpha.recv(&mut buffer).unwrap();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// The next datagram as text.
fn heard(socket: &UdpSocket) -> String {
    let mut buffer = [0; 2048];
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

/// Sends `bytes` from alpha to beta over a new connection; returns how long that took, and whom beta saw.
fn transfer(bench: &Bench, bytes: &[u8]) -> io::Result<(Duration, SocketAddr)> {
    let (listener, address) = bench.listener();
    thread::scope(|scope| {
        let server = scope.spawn(move || -> io::Result<SocketAddr> {
            let (mut stream, peer) = listener.accept()?;
            stream.set_read_timeout(Some(DEADLINE))?;
            let mut received = Vec::with_capacity(bytes.len());
            stream.read_to_end(&mut received)?;
            assert!(received == bytes, "what arrives is what was sent");
            stream.write_all(b"thanks")?;
            Ok(peer)
        });
        let start = Instant::now();
        let mut stream = within(&bench.alpha, || TcpStream::connect_timeout(&address, DEADLINE))?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.write_all(bytes)?;
        stream.shutdown(std::net::Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        assert_eq!(answer, "thanks");
        Ok((start.elapsed(), server.join().unwrap()?))
    })
}

/// Bytes that are not all alike.
fn bytes(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(1);
    (0..length).map(|_| random.u8(..)).collect()
}

#[tokio::test]
async fn root_clear_links_do_without_us() {
    if !is_root() {
        return;
    }
    let bench = Bench::new().await;
    transfer(&bench, &bytes(100_000)).unwrap();
    assert_eq!(bench.client().get().await.unwrap(), []);
    let links = output_in(&bench.wan, "ip -o link show");
    assert!(!links.contains("wan1"), "no device before it is needed: {links}");
    bench.there(delay(MILLISECOND)).await;
    let rules = output_in(&bench.wan, "ip rule");
    assert_eq!(rules.matches("iif cluster1 lookup 1001").count(), 2, "{rules}");
    bench.there(clear()).await;
    let rules = output_in(&bench.wan, "ip rule");
    assert!(!rules.contains("iif"), "{rules}");
    let before = bench.counters_there().await;
    transfer(&bench, &bytes(100_000)).unwrap();
    assert_eq!(bench.counters_there().await, before, "the kernel forwards again");
}

#[tokio::test]
async fn root_delay_is_per_direction() {
    if !is_root() {
        return;
    }
    let bench = Bench::new().await;
    let (alpha, beta) = bench.datagrams();
    let without = round_trip(&alpha, &beta);
    bench.there(delay(20 * MILLISECOND)).await;
    let there = round_trip(&alpha, &beta);
    bench.back(LinkConditions { jitter: 2 * MILLISECOND, ..delay(20 * MILLISECOND) }).await;
    let both = round_trip(&alpha, &beta);
    bench.client().reset().await.unwrap();
    let healed = round_trip(&alpha, &beta);
    eprintln!("round trip: {without:?}, 20 ms there: {there:?}, 20 ± 2 ms back too: {both:?}, healed: {healed:?}");
    assert!(without < 10 * MILLISECOND && healed < 10 * MILLISECOND);
    assert!(there >= 20 * MILLISECOND && there < 36 * MILLISECOND);
    assert!(both >= 36 * MILLISECOND);
}

#[tokio::test]
async fn root_one_way_partition() {
    if !is_root() {
        return;
    }
    let bench = Bench::new().await;
    let (alpha, beta) = bench.datagrams();
    bench.there(down()).await;
    for number in 0..10 {
        alpha.send(format!("lost {number}").as_bytes()).unwrap();
        beta.send(format!("heard {number}").as_bytes()).unwrap();
        assert_eq!(heard(&alpha), format!("heard {number}"), "the other direction is whole");
    }
    let counters = bench.counters_there().await;
    assert_eq!((counters.dropped.down, counters.delivered.packets), (10, 0), "{counters:?}");
    bench.there(clear()).await;
    alpha.send(b"healed").unwrap();
    assert_eq!(heard(&beta), "healed", "nothing of before came through");
}

#[tokio::test]
async fn root_no_packet_slips_through_while_conditions_change() {
    if !is_root() {
        return;
    }
    let bench = Bench::new().await;
    let (alpha, beta) = bench.datagrams();
    for round in 0..50 {
        bench.there(down()).await;
        for _ in 0..20 {
            alpha.send(b"must not arrive").unwrap();
        }
        bench.there(clear()).await;
        alpha.send(format!("round {round}").as_bytes()).unwrap();
        assert_eq!(heard(&beta), format!("round {round}"));
    }
    assert_eq!(bench.counters_there().await.dropped.down, 50 * 20);
}

#[tokio::test]
async fn root_loss_is_as_asked_and_repeats() {
    if !is_root() {
        return;
    }
    let bench = Bench::new().await;
    let (alpha, beta) = bench.datagrams();
    setsockopt(&beta, sockopt::RcvBufForce, &BUFFER_BYTES).unwrap();
    let mut patterns = Vec::new();
    for _ in 0..2 {
        bench.there(LinkConditions { loss: LossRatio::new(0.3).unwrap(), ..clear() }).await;
        for number in 0..1000 {
            alpha.send(format!("{number}").as_bytes()).unwrap();
        }
        bench.there(clear()).await;
        alpha.send(b"end").unwrap();
        let arrived: Vec<_> = std::iter::from_fn(|| Some(heard(&beta)).filter(|text| text != "end")).collect();
        patterns.push(arrived);
    }
    let counters = bench.counters_there().await;
    let arrived: usize = patterns.iter().map(Vec::len).sum();
    assert_eq!(counters.received.packets, 2000);
    assert_eq!(counters.delivered.packets, arrived as u64, "what was counted as delivered arrived");
    assert_eq!(counters.dropped.loss, 2000 - arrived as u64);
    assert!((250..350).contains(&(1000 - patterns[0].len())), "{} of 1000 arrived", patterns[0].len());
    assert_eq!(patterns[0], patterns[1], "the same seed loses the same packets");
}

#[tokio::test]
async fn root_rate_limits_a_bulk_transfer() {
    if !is_root() {
        return;
    }
    let bench = Bench::new().await;
    let bytes = bytes(2_000_000);
    let (without, _) = transfer(&bench, &bytes).unwrap();
    bench.there(LinkConditions { rate: NonZeroU64::new(20_000_000), ..clear() }).await;
    let (with, _) = transfer(&bench, &bytes).unwrap();
    eprintln!("2 MB: {without:?}, at 20 Mbit/s: {with:?}; {:?}", bench.counters_there().await);
    // 16 Mbit less the burst, and more for headers and repeats.
    assert!(with >= 780 * MILLISECOND, "{with:?}");
    assert!(with < 4 * Duration::from_millis(800), "the rate is used: {with:?}");
}

#[tokio::test]
async fn root_packet_too_big_is_told() {
    if !is_root() {
        return;
    }
    let bench = Bench::new().await;
    bench.there(LinkConditions { mtu: Some(1400), ..clear() }).await;
    // A datagram may be fragmented on the way: this sender does not forbid it.
    output_in(&bench.alpha, "sysctl -qw net.ipv4.ip_no_pmtu_disc=1");
    let (alpha, beta) = bench.datagrams();
    let large = bytes(1472);
    alpha.send(&large).unwrap();
    let mut buffer = [0; 2048];
    let length = beta.recv(&mut buffer).unwrap();
    assert!(buffer[..length] == large);
    assert_eq!(bench.counters_there().await.fragmented, 1);

    output_in(&bench.alpha, "sysctl -qw net.ipv4.ip_no_pmtu_disc=0");
    transfer(&bench, &bytes(300_000)).unwrap();
    let counters = bench.counters_there().await;
    assert!(counters.ptb_sent > 0 && counters.dropped.mtu > 0, "{counters:?}");
    let route = output_in(&bench.alpha, &format!("ip route get {POD_B}"));
    assert!(route.contains("mtu 1400"), "the sender has learnt it: {route}");
}

#[tokio::test]
async fn root_black_hole_lets_small_packets_pass_only() {
    if !is_root() {
        return;
    }
    let bench = Bench::new().await;
    bench.there(LinkConditions { mtu: Some(1400), drop_ptb: true, ..clear() }).await;
    let (listener, address) = bench.listener();
    let mut alpha = within(&bench.alpha, || TcpStream::connect_timeout(&address, DEADLINE)).unwrap();
    let (mut beta, _) = listener.accept().unwrap();
    beta.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut small = [0; 5];
    alpha.write_all(b"small").unwrap();
    beta.read_exact(&mut small).unwrap();

    let large = bytes(50_000);
    alpha.write_all(&large).unwrap();
    let mut polls = tokio::time::interval(5 * MILLISECOND);
    while bench.counters_there().await.ptb_filtered < 2 {
        polls.tick().await;
    }
    beta.set_nonblocking(true).unwrap();
    let mut received = vec![0; large.len()];
    let error = beta.read(&mut received).map(drop).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "full-size segments never arrive");
    assert_eq!(bench.counters_there().await.ptb_sent, 0);
    bench.there(clear()).await;
    beta.set_nonblocking(false).unwrap();
    beta.read_exact(&mut received).unwrap();
    assert!(received == large, "all is made up for when the link is whole again");
}

#[tokio::test]
async fn root_hidden_cluster_talks_and_is_not_found() {
    if !is_root() {
        return;
    }
    let bench = Bench::new().await;
    bench.there(nat(Inbound::Pass)).await;
    // Large segments, so that what the kernel leaves to hardware would show.
    let (_, peer) = transfer(&bench, &bytes(3_000_000)).unwrap();
    assert_eq!(peer.ip(), HIDDEN);
    // From the other side, alpha's own address is still good.
    let (alpha, beta) = bench.datagrams();
    beta.send(b"who is there?").unwrap();
    assert_eq!(heard(&alpha), "who is there?");
    alpha.send(b"me").unwrap();
    assert_eq!(heard(&beta), "me", "a connected socket hears only whom it asked");
    // An error from the other side finds its way back: nobody listens on that port.
    let closed = udp_in(&bench.beta, POD_B).local_addr().unwrap();
    let client = udp_in(&bench.alpha, POD_A);
    client.connect(closed).unwrap();
    client.send(b"anybody?").unwrap();
    assert_eq!(client.recv(&mut [0; 16]).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);

    bench.there(nat(Inbound::Drop)).await;
    beta.send(b"hidden now").unwrap();
    let dropped = bench.counters_back().await.dropped.nat;
    assert_eq!(dropped, 1);
    assert_eq!(transfer(&bench, &bytes(1000)).unwrap().1.ip(), HIDDEN);
    assert!(bench.counters_there().await.natted > 0);

    bench.there(clear()).await;
    assert_eq!(transfer(&bench, &bytes(1000)).unwrap().1.ip(), POD_A);
    let routes = output_in(&bench.wan, "ip route");
    assert!(!routes.contains("198.18."), "{routes}");
}

#[tokio::test]
async fn root_router_that_dies_lets_nothing_pass() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new().await;
    let (alpha, beta) = bench.datagrams();
    bench.there(down()).await;
    bench.stop();
    alpha.send(b"lost").unwrap();
    bench.start().await;
    alpha.send(b"clear again").unwrap();
    assert_eq!(heard(&beta), "clear again");
}

#[tokio::test]
async fn root_nonsense_is_refused_and_changes_nothing() {
    if !is_root() {
        return;
    }
    let bench = Bench::new().await;
    let (alpha, beta) = (name("alpha"), name("beta"));
    bench.there(down()).await;
    let address = |address: &str| Some(Nat { address: Some(address.parse().unwrap()), inbound: Inbound::Pass });
    for (from, to, conditions, why) in [
        (&alpha, &name("gamma"), clear(), "unknown cluster `gamma`"),
        (&alpha, &alpha, clear(), "a link from `alpha` to itself"),
        (&alpha, &beta, LinkConditions { mtu: Some(67), ..clear() }, "MTU 67 is too small, 68 is the least"),
        (
            &alpha,
            &beta,
            LinkConditions { nat: address("10.2.9.9"), ..clear() },
            "NAT address 10.2.9.9 belongs to cluster `beta`",
        ),
    ] {
        match bench.client().set(from, to, &conditions).await {
            Err(ClientError::Refused(said)) => assert_eq!(said, why),
            other => panic!("{other:?} instead of `{why}`"),
        }
    }
    assert_eq!(bench.client().direction(&alpha, &beta).await.unwrap().conditions, down());
}

/// User and system time of this process in seconds.
fn cpu_seconds() -> f64 {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).unwrap();
    [usage.user_time(), usage.system_time()].map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6).iter().sum()
}

#[tokio::test]
async fn root_throughput_is_told() {
    if !is_root() {
        return;
    }
    let bench = Bench::new().await;
    let bytes = bytes(100_000_000);
    for (what, conditions) in [
        ("clear", clear()),
        ("diverted, MTU 1500", LinkConditions { mtu: Some(1500), ..clear() }),
        ("delay 1 ms", delay(MILLISECOND)),
        ("NAT", nat(Inbound::Pass)),
    ] {
        bench.there(conditions).await;
        let cpu = cpu_seconds();
        let (time, _) = transfer(&bench, &bytes).unwrap();
        let cpu = cpu_seconds() - cpu;
        let rate = bytes.len() as f64 * 8.0 / time.as_secs_f64() / 1e9;
        let packets = bench.counters_there().await.received.packets;
        eprintln!("{what}: {rate:.2} Gbit/s, {cpu:.2} s of CPU for both ends and the router, {packets} packets so far");
        assert!(rate > 0.05, "{what}: {rate} Gbit/s would get in the way of scenarios");
    }
}
