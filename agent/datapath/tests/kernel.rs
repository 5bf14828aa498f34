//! The real thing: maps and programs in the running kernel, sockets that are balanced.
//!
//! Every test has a bpffs and a cgroup of its own, which are gone afterwards; see `ground`.

use std::{
    collections::BTreeSet,
    io::Read as _,
    net::{SocketAddr, TcpStream, UdpSocket},
    os::fd::AsFd as _,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use mesh_abi::{AFFINITY, BACKENDS, Bytes as _, MAPS, MapSpec, REVERSE_SK, ReverseSkKey, SERVICES};
use mesh_datapath::{
    BpfDatapath, Contents, Datapath as _, DatapathErrorKind, MapStore as _,
    bpf::{PROGRAMS, PinnedMaps, globals, links},
    list::{Listing, View},
    memory::MemoryMaps,
    sys,
};
use mesh_types::{Backend, BackendState, Frontend, FrontendType, Protocol, Scope, TrafficPolicies, TrafficPolicy};

use crate::{
    fixture::{self, backend, cilium, cluster_ip, dumped_bytes, frontend_address},
    ground::{self, Ground, TcpBackend},
};

/// No connection in these tests leaves the machine; one that takes this long hangs.
const DEADLINE: Duration = Duration::from_secs(5);
/// `EHOSTUNREACH`, `EPERM`.
const NO_BACKEND: [Option<i32>; 2] = [Some(113), Some(1)];

const VIP: &str = "10.101.0.10:80";

fn active(address: SocketAddr) -> Backend {
    backend(&address.to_string(), BackendState::Active)
}

fn udp(mut frontend: Frontend) -> Frontend {
    frontend.address.protocol = Protocol::Udp;
    for backend in &mut frontend.backends {
        backend.address.protocol = Protocol::Udp;
    }
    frontend
}

/// Connects to the VIP and gives the socket and the name of the backend that answered.
fn ask(vip: &str) -> std::io::Result<(TcpStream, String)> {
    let mut stream = TcpStream::connect_timeout(&vip.parse().unwrap(), DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut name = String::new();
    stream.read_to_string(&mut name)?;
    Ok((stream, name))
}

fn entries(ground: &Ground, map: &MapSpec) -> Vec<(Vec<u8>, Vec<u8>)> {
    let pin = globals(&ground.options().bpf_root).join(map.name);
    let fd = sys::open_pin(&pin, sys::PinAccess::Read).unwrap().expect("the map is pinned");
    sys::entries(fd.as_fd(), map).unwrap()
}

#[test]
fn root_tcp_reaches_a_backend_and_the_peer_is_the_frontend() {
    ground::run(|ground| {
        let backends = [TcpBackend::start("one"), TcpBackend::start("two")];
        let mut datapath = BpfDatapath::open(&ground.options()).unwrap();
        assert!(!datapath.restored());
        datapath.upsert(&cluster_ip(VIP, backends.iter().map(|backend| active(backend.address)).collect())).unwrap();
        let mut seen = BTreeSet::new();
        // Both are picked soon: that 64 fair choices between two all fall alike has a chance of 2^-63.
        for _ in 0..64 {
            let (stream, name) = ask(VIP).unwrap();
            assert_eq!(stream.peer_addr().unwrap(), VIP.parse().unwrap(), "getpeername shows the frontend");
            seen.insert(name);
        }
        assert_eq!(seen, BTreeSet::from(["one".to_owned(), "two".to_owned()]));
    });
}

#[test]
fn root_a_socket_outside_the_cgroup_is_left_alone() {
    ground::run(|ground| {
        let server = TcpBackend::start("one");
        let mut datapath = BpfDatapath::open(&ground.options()).unwrap();
        // The frontend's address is one that exists, so that a socket that is left alone gets there.
        let frontend = TcpBackend::start("frontend itself");
        datapath.upsert(&cluster_ip(&frontend.address.to_string(), vec![active(server.address)])).unwrap();
        assert_eq!(ask(&frontend.address.to_string()).unwrap().1, "one");
        ground.leave_cgroup();
        assert_eq!(ask(&frontend.address.to_string()).unwrap().1, "frontend itself");
    });
}

#[test]
fn root_a_service_without_backends_refuses_at_once() {
    ground::run(|ground| {
        let server = TcpBackend::start("one");
        let mut datapath = BpfDatapath::open(&ground.options()).unwrap();
        datapath.upsert(&cluster_ip(VIP, vec![])).unwrap();
        let expected = if sys::has_set_retval() { NO_BACKEND[0] } else { NO_BACKEND[1] };
        assert_eq!(ask(VIP).unwrap_err().raw_os_error(), expected);
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        datapath.upsert(&udp(cluster_ip(VIP, vec![]))).unwrap();
        assert_eq!(socket.send_to(b"x", VIP).unwrap_err().raw_os_error(), expected);

        datapath.upsert(&cluster_ip(VIP, vec![active(server.address)])).unwrap();
        assert_eq!(ask(VIP).unwrap().1, "one");
        let quarantined = Backend { state: BackendState::Quarantined, ..active(server.address) };
        datapath.upsert(&cluster_ip(VIP, vec![quarantined])).unwrap();
        assert_eq!(ask(VIP).unwrap_err().raw_os_error(), expected, "quarantined backends are not chosen");
        let terminating = Backend { state: BackendState::Terminating, ..active(server.address) };
        datapath.upsert(&cluster_ip(VIP, vec![terminating])).unwrap();
        assert_eq!(ask(VIP).unwrap().1, "one", "terminating ones are, when nothing is active");
    });
}

#[test]
fn root_udp_goes_there_and_back() {
    ground::run(|ground| {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut datapath = BpfDatapath::open(&ground.options()).unwrap();
        datapath.upsert(&udp(cluster_ip(VIP, vec![active(server.local_addr().unwrap())]))).unwrap();
        let vip: SocketAddr = VIP.parse().unwrap();
        let exchange = |send: &dyn Fn() -> usize, client: &UdpSocket| {
            assert_eq!(send(), 4);
            let mut buffer = [0; 16];
            let (length, from) = server.recv_from(&mut buffer).unwrap();
            server.send_to(&buffer[..length], from).unwrap();
            let (length, from) = client.recv_from(&mut buffer).unwrap();
            assert_eq!(
                (&buffer[..length], from),
                (b"ping".as_slice(), vip),
                "the answer seems to come from the frontend"
            );
        };
        let new_client = || {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.set_read_timeout(Some(DEADLINE)).unwrap();
            client
        };
        server.set_read_timeout(Some(DEADLINE)).unwrap();

        let unconnected = new_client();
        for _ in 0..3 {
            exchange(&|| unconnected.send_to(b"ping", vip).unwrap(), &unconnected);
        }
        assert_eq!(entries(ground, &REVERSE_SK).len(), 1, "one entry a socket, however many messages");
        let connected = new_client();
        connected.connect(vip).unwrap();
        assert_eq!(connected.peer_addr().unwrap(), vip);
        exchange(&|| connected.send(b"ping").unwrap(), &connected);
        assert_eq!(entries(ground, &REVERSE_SK).len(), 2);

        // A service that was deleted and made anew is another service: its old sockets see the backend.
        datapath.delete(&udp(cluster_ip(VIP, vec![])).address).unwrap();
        assert_eq!(connected.peer_addr().unwrap(), server.local_addr().unwrap());
        assert_eq!(entries(ground, &REVERSE_SK).len(), 1, "the stale entry was removed");
    });
}

#[test]
fn root_the_end_of_a_socket_removes_its_reverse_entry() {
    ground::run(|ground| {
        let server = TcpBackend::start("one");
        let mut datapath = BpfDatapath::open(&ground.options()).unwrap();
        datapath.upsert(&cluster_ip(VIP, vec![active(server.address)])).unwrap();
        let (stream, _) = ask(VIP).unwrap();
        let found = entries(ground, &REVERSE_SK);
        assert_eq!(found.len(), 1);
        let key = ReverseSkKey::from_bytes(&found[0].0).unwrap();
        assert_eq!(
            (key.address, key.port),
            (std::net::Ipv4Addr::LOCALHOST.into(), mesh_abi::Be16::new(server.address.port()))
        );
        drop(stream);
        assert_eq!(entries(ground, &REVERSE_SK), []);
    });
}

#[test]
fn root_a_deleted_service_is_no_longer_balanced() {
    ground::run(|ground| {
        let server = TcpBackend::start("one");
        let there = TcpBackend::start("frontend itself");
        let vip = there.address.to_string();
        let mut datapath = BpfDatapath::open(&ground.options()).unwrap();
        datapath.upsert(&cluster_ip(&vip, vec![active(server.address)])).unwrap();
        assert_eq!(ask(&vip).unwrap().1, "one");
        datapath.delete(&frontend_address(&vip)).unwrap();
        assert_eq!(ask(&vip).unwrap().1, "frontend itself");
        for map in [&SERVICES, &BACKENDS] {
            assert_eq!(entries(ground, map), [], "{map}");
        }
    });
}

#[test]
fn root_of_two_scopes_a_socket_gets_the_internal_one() {
    ground::run(|ground| {
        let servers = [TcpBackend::start("outside"), TcpBackend::start("inside")];
        let [outside, inside] = &servers;
        let policies = TrafficPolicies { internal: TrafficPolicy::Local, ..TrafficPolicies::default() };
        let of = |policies, scope, server: &TcpBackend| {
            let mut frontend = cluster_ip(VIP, vec![active(server.address)]);
            frontend.address.scope = scope;
            Frontend { kind: FrontendType::LoadBalancer, policies, ..frontend }
        };
        let mut datapath = BpfDatapath::open(&ground.options()).unwrap();
        datapath.upsert(&of(TrafficPolicies::default(), Scope::External, outside)).unwrap();
        let (early, name) = ask(VIP).unwrap();
        assert_eq!(name, "outside", "there is one scope yet");
        datapath.upsert(&of(policies, Scope::External, outside)).unwrap();
        assert_eq!(ask(VIP).unwrap().1, "outside", "the second one is not there yet");
        datapath.upsert(&of(policies, Scope::Internal, inside)).unwrap();
        let (stream, name) = ask(VIP).unwrap();
        assert_eq!((name.as_str(), stream.peer_addr().unwrap()), ("inside", VIP.parse().unwrap()));
        assert_eq!(early.peer_addr().unwrap(), VIP.parse().unwrap(), "older sockets keep their peer");

        let nobody = Frontend { backends: vec![], ..of(policies, Scope::Internal, inside) };
        datapath.upsert(&nobody).unwrap();
        let error = ask(VIP).unwrap_err().raw_os_error();
        assert!(NO_BACKEND.contains(&error), "backends for others do not count: {error:?}");
        datapath.delete(&nobody.address).unwrap();
        datapath.upsert(&of(TrafficPolicies::default(), Scope::External, outside)).unwrap();
        assert_eq!(ask(VIP).unwrap().1, "outside");
    });
}

#[test]
fn root_session_affinity_keeps_a_client_until_its_backend_goes() {
    ground::run(|ground| {
        let backends = [TcpBackend::start("one"), TcpBackend::start("two")];
        let mut datapath = BpfDatapath::open(&ground.options()).unwrap();
        let sticky = |backends: Vec<Backend>| Frontend {
            session_affinity: Some(Duration::from_secs(10_800)),
            ..cluster_ip(VIP, backends)
        };
        datapath.upsert(&sticky(backends.iter().map(|backend| active(backend.address)).collect())).unwrap();
        let (_, first) = ask(VIP).unwrap();
        for _ in 0..32 {
            assert_eq!(ask(VIP).unwrap().1, first);
        }
        assert_eq!(entries(ground, &AFFINITY).len(), 1, "one client: this network namespace");

        let state = |name: &str| if name == first { BackendState::Terminating } else { BackendState::Active };
        let shifted = backends.iter().map(|backend| Backend { state: state(backend.name), ..active(backend.address) });
        datapath.upsert(&sticky(shifted.collect())).unwrap();
        for _ in 0..32 {
            assert_ne!(ask(VIP).unwrap().1, first, "a terminating backend keeps no clients");
        }
    });
}

#[test]
fn root_a_restart_is_not_noticed_by_connections() {
    ground::run(|ground| {
        let server = TcpBackend::start("one");
        let options = ground.options();
        let frontend = cluster_ip(VIP, vec![active(server.address)]);
        let mut datapath = BpfDatapath::open(&options).unwrap();
        datapath.upsert(&frontend).unwrap();
        let before = programs(&options.bpf_root);
        drop(datapath);
        assert_eq!(ask(VIP).unwrap().1, "one", "without an agent");

        let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            let client = scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let (stream, name) = ask(VIP).expect("a connection failed during a restart");
                    assert_eq!((name.as_str(), stream.peer_addr().unwrap()), ("one", VIP.parse().unwrap()));
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
            for _ in 0..5 {
                let mut datapath = BpfDatapath::open(&options).unwrap();
                assert!(datapath.restored());
                assert!(datapath.upsert(&frontend).unwrap().is_nothing(), "restored entries are not written again");
                let enough = asked.load(Ordering::Relaxed) + 20;
                while asked.load(Ordering::Relaxed) < enough && !client.is_finished() {
                    std::thread::yield_now();
                }
            }
            stop.store(true, Ordering::Relaxed);
            client.join().unwrap();
        });
        let after = programs(&options.bpf_root);
        assert!(
            before.iter().zip(&after).all(|(before, after)| before != after),
            "other programs: {before:?} {after:?}"
        );
        ground::say(&format!("{} connections during five restarts", asked.load(Ordering::Relaxed)));
    });
}

/// Ids of the attached programs.
fn programs(bpf_root: &Path) -> Vec<u32> {
    let id = |name: &str| {
        let link =
            sys::open_pin(&links(bpf_root).join(name), sys::PinAccess::ReadWrite).unwrap().expect("a pinned link");
        sys::link_info(link.as_fd()).unwrap().program
    };
    PROGRAMS.iter().map(|(name, _)| id(name)).collect()
}

#[test]
fn root_a_link_to_another_cgroup_is_replaced() {
    ground::run(|ground| {
        let server = TcpBackend::start("one");
        let elsewhere = mesh_datapath::Options { cgroup_root: ground.other_cgroup(), ..ground.options() };
        drop(BpfDatapath::open(&elsewhere).unwrap());
        // The node was made anew: same path, another cgroup, and links that hold on to the old one.
        std::fs::remove_dir(&elsewhere.cgroup_root).unwrap();
        std::fs::create_dir(&elsewhere.cgroup_root).unwrap();
        drop(BpfDatapath::open(&elsewhere).unwrap());
        let mut datapath = BpfDatapath::open(&ground.options()).unwrap();
        datapath.upsert(&cluster_ip(VIP, vec![active(server.address)])).unwrap();
        assert_eq!(ask(VIP).unwrap().1, "one");
        datapath.remove().unwrap();
        assert_eq!(std::fs::read_dir(globals(&ground.options().bpf_root)).unwrap().count(), 0, "maps that are left");
        assert_eq!(std::fs::read_dir(links(&ground.options().bpf_root)).unwrap().count(), 0, "links that are left");
    });
}

#[test]
fn root_a_pin_of_another_shape_is_made_anew() {
    ground::run(|ground| {
        let options = ground.options();
        let other = MapSpec { max_entries: 16, ..SERVICES };
        std::fs::create_dir_all(globals(&options.bpf_root)).unwrap();
        let pin = globals(&options.bpf_root).join(SERVICES.name);
        sys::pin(sys::create_map(&other).unwrap().as_fd(), &pin).unwrap();
        drop(BpfDatapath::open(&options).unwrap());
        for spec in &MAPS {
            let pin = globals(&options.bpf_root).join(spec.name);
            let fd = sys::open_pin(&pin, sys::PinAccess::Read).unwrap().expect("the map is pinned");
            assert_eq!(sys::map_info(fd.as_fd()).unwrap(), sys::MapInfo::from(spec), "{spec}");
        }
    });
}

#[test]
fn root_a_directory_on_the_wrong_file_system_is_named() {
    ground::run(|ground| {
        let options = ground.options();
        let wrong = mesh_datapath::Options { cgroup_root: options.bpf_root.clone(), ..options.clone() };
        let error = BpfDatapath::open(&wrong).unwrap_err();
        assert!(matches!(&error.kind, DatapathErrorKind::FileSystem { expected: "cgroup2", .. }), "{error:?}");
        let wrong = mesh_datapath::Options { bpf_root: options.cgroup_root.clone(), ..options };
        let error = BpfDatapath::open(&wrong).unwrap_err();
        assert!(error.kind.to_string().contains("mount -t bpf bpf "), "{}", error.kind);
    });
}

#[test]
fn root_bpftool_dumps_the_bytes_that_the_list_claims() {
    if Command::new("bpftool").arg("version").output().is_err() {
        ground::say("skipped: bpftool is not installed");
        return;
    }
    ground::run(|ground| {
        let root = ground.options().bpf_root;
        // Cilium's recorded entries, put into our maps: all kinds of them.
        let mut maps = PinnedMaps::open(&root).unwrap();
        maps.apply(&fixture::writes(&Contents::read(&cilium()).unwrap())).unwrap();
        let listing = Listing::read(&root).unwrap();

        let mut dumped = MemoryMaps::default();
        for map in &MAPS {
            let pin = globals(&root).join(map.name);
            let output = Command::new("bpftool").args(["-j", "map", "dump", "pinned"]).arg(pin).output().unwrap();
            assert!(output.status.success(), "bpftool: {}", String::from_utf8_lossy(&output.stderr));
            for entry in serde_json::from_slice::<Vec<serde_json::Value>>(&output.stdout).unwrap() {
                dumped.put(map, &dumped_bytes(&entry["key"]), &dumped_bytes(&entry["value"]));
            }
        }
        let dumped = Listing::from(Contents::read(&dumped).unwrap());
        assert_eq!(listing.contents(), dumped.contents());
        for view in [View::Services, View::Frontends, View::Backends, View::ReverseNat] {
            assert_eq!(listing.table(view), dumped.table(view));
        }
        assert_eq!(listing.table(View::Services).lines().count(), 19);
    });
}

#[test]
fn root_batches_and_single_calls_agree() {
    ground::run(|ground| {
        const BACKENDS_MANY: u32 = 10_000;
        let many: Vec<Backend> = (0..BACKENDS_MANY)
            .map(|number| {
                let mut backend = backend("10.1.0.0:80", BackendState::Active);
                backend.address.ip = std::net::Ipv4Addr::from_bits(0x0a01_0000 + number);
                backend
            })
            .collect();
        let mut datapath = BpfDatapath::open(&ground.options()).unwrap();
        let start = Instant::now();
        datapath.upsert(&cluster_ip(VIP, many)).unwrap();
        ground::say(&format!("{BACKENDS_MANY} backends written in {:?}", start.elapsed()));
        for map in [&SERVICES, &BACKENDS] {
            let pin = globals(&ground.options().bpf_root).join(map.name);
            let fd = sys::open_pin(&pin, sys::PinAccess::Read).unwrap().expect("the map is pinned");
            let mut batched = sys::entries(fd.as_fd(), map).unwrap();
            batched.sort_unstable();
            assert_eq!(batched, sys::entries_singly(fd.as_fd(), map).unwrap(), "{map}");
            assert!(batched.len() >= BACKENDS_MANY as usize, "{map}");
        }
        let fd = sys::create_map(&BACKENDS).unwrap();
        let (key, value) = ([1, 0, 0, 0], [0; 12]);
        assert_eq!(
            sys::batch(fd.as_fd(), &BACKENDS, &[(&key, &value)]).map_err(|(done, error)| (done, error.kind())),
            Ok(1)
        );
    });
}
