//! Two clusters of one host each, and the router between them, in namespaces of their own.

use std::{
    fs::File,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use mesh_types::{ClusterName, MaxConnectedClusters};
use meshbed_scenario::LinkConditions;
use meshbed_wan::{Client, Config, ConfigCluster, Counters, Options, run};
use nix::sched::{CloneFlags, setns};
use tokio::sync::oneshot;

/// How long anything may take that should happen at once.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// Where all random decisions come from.
pub(crate) const SEED: u64 = 7;

/// A pod of alpha.
pub(crate) const POD_A: Ipv4Addr = Ipv4Addr::new(10, 1, 1, 5);
/// A pod of beta.
pub(crate) const POD_B: Ipv4Addr = Ipv4Addr::new(10, 2, 1, 5);

/// Whether the test can run; prints why not.
pub(crate) fn is_root() -> bool {
    let root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if !root {
        eprintln!("skipped: needs root for namespaces");
    }
    root
}

/// Runs a command line; it must succeed.
fn command(line: &str) {
    let mut words = line.split(' ');
    let status = Command::new(words.next().unwrap()).args(words).status().unwrap();
    assert!(status.success(), "{line}: {status}");
}

/// The output of a command line in the namespace `netns`.
pub(crate) fn output_in(netns: &str, line: &str) -> String {
    let mut arguments = vec!["netns", "exec", netns];
    arguments.extend(line.split(' '));
    String::from_utf8(Command::new("ip").args(arguments).output().unwrap().stdout).unwrap()
}

/// Runs `work` on a thread in the namespace `netns`.
pub(crate) fn within<T: Send>(netns: &str, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let file = File::open(Path::new("/run/netns").join(netns))?;
    thread::scope(|scope| {
        let enter_and_work = || {
            setns(&file, CloneFlags::CLONE_NEWNET)?;
            work()
        };
        scope.spawn(enter_and_work).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The namespaces. They end with this value.
pub(crate) struct Bench {
    pub(crate) wan: String,
    pub(crate) alpha: String,
    pub(crate) beta: String,
    directory: tempfile::TempDir,
    router: Option<Running>,
    pub(crate) client: Option<Client>,
}

struct Running {
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

pub(crate) fn name(text: &str) -> ClusterName {
    ClusterName::new(text).unwrap()
}

impl Bench {
    /// Makes the namespaces and starts the router.
    pub(crate) async fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("mbwan-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let [wan, alpha, beta] = ["wan", "alpha", "beta"].map(|what| format!("{prefix}-{what}"));
        command(&format!("ip netns add {wan}"));
        for setting in ["ip_forward=1", "conf.all.rp_filter=0", "conf.default.rp_filter=0", "icmp_ratemask=0"] {
            command(&format!("ip netns exec {wan} sysctl -qw net.ipv4.{setting}"));
        }
        for (id, netns) in [(1, &alpha), (2, &beta)] {
            for line in [
                format!("ip netns add {netns}"),
                format!("ip -n {netns} link set lo up"),
                format!("ip -n {netns} link add eth0 type veth peer name cluster{id} netns {wan}"),
                format!("ip -n {netns} link set eth0 up"),
                format!("ip -n {netns} address add 172.18.{id}.11/24 dev eth0"),
                format!("ip -n {netns} address add 10.{id}.1.5/32 dev lo"),
                format!("ip -n {wan} link set cluster{id} up"),
                format!("ip -n {wan} address add 172.18.{id}.1/24 dev cluster{id}"),
                format!("ip -n {wan} route add 10.{id}.0.0/16 via 172.18.{id}.11"),
                format!("ip -n {netns} route add default via 172.18.{id}.1 src 10.{id}.1.5"),
            ] {
                command(&line);
            }
        }
        let directory = tempfile::tempdir().unwrap();
        let mut bench = Self { wan, alpha, beta, directory, router: None, client: None };
        let cluster = |text: &str, id: u16| ConfigCluster {
            name: name(text),
            id: mesh_types::ClusterId::new(id, MaxConnectedClusters::N255).unwrap(),
            interface: format!("cluster{id}"),
            router: format!("172.18.{id}.1").parse().unwrap(),
            cidrs: vec![format!("172.18.{id}.0/24").parse().unwrap(), format!("10.{id}.0.0/16").parse().unwrap()],
        };
        let config = Config { clusters: vec![cluster("alpha", 1), cluster("beta", 2)], links: Vec::new() };
        config.store(&bench.config_file()).unwrap();
        bench.start().await;
        bench
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.directory.path().join("wan.json")
    }

    /// Starts the router and connects to it.
    pub(crate) async fn start(&mut self) {
        let socket = self.directory.path().join("wan.sock");
        let options = Options { config: self.config_file(), socket: socket.clone(), seed: SEED };
        let (stop, stopped) = oneshot::channel();
        let netns = self.wan.clone();
        let thread = thread::spawn(move || {
            let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
            let shutdown = async { drop(stopped.await) };
            within(&netns, move || {
                runtime()?.block_on(run(options, shutdown)).unwrap_or_else(|error| panic!("{error:?}"));
                Ok(())
            })
            .unwrap();
        });
        self.router = Some(Running { stop, thread });
        let mut attempts = tokio::time::interval(Duration::from_millis(1));
        let connect = async {
            loop {
                attempts.tick().await;
                if let Ok(client) = Client::connect(&socket).await {
                    return client;
                }
            }
        };
        self.client = Some(tokio::time::timeout(DEADLINE, connect).await.expect("the router listens"));
    }

    /// Ends the router as if it were killed: it does not clean up.
    pub(crate) fn stop(&mut self) {
        self.client = None;
        if let Some(Running { stop, thread }) = self.router.take() {
            stop.send(()).ok();
            thread.join().unwrap();
        }
    }

    pub(crate) fn client(&self) -> &Client {
        self.client.as_ref().unwrap()
    }

    /// Sets the direction from alpha to beta.
    pub(crate) async fn there(&self, conditions: LinkConditions) {
        self.client().set(&name("alpha"), &name("beta"), &conditions).await.unwrap();
    }

    /// Sets the direction from beta to alpha.
    pub(crate) async fn back(&self, conditions: LinkConditions) {
        self.client().set(&name("beta"), &name("alpha"), &conditions).await.unwrap();
    }

    /// Counters from alpha to beta.
    pub(crate) async fn counters_there(&self) -> Counters {
        self.client().direction(&name("alpha"), &name("beta")).await.unwrap().counters
    }

    /// Counters from beta to alpha.
    pub(crate) async fn counters_back(&self) -> Counters {
        self.client().direction(&name("beta"), &name("alpha")).await.unwrap().counters
    }

    /// A socket of a pod of alpha, connected to one of a pod of beta and the other way round.
    pub(crate) fn datagrams(&self) -> (UdpSocket, UdpSocket) {
        let alpha = udp_in(&self.alpha, POD_A);
        let beta = udp_in(&self.beta, POD_B);
        alpha.connect(beta.local_addr().unwrap()).unwrap();
        beta.connect(alpha.local_addr().unwrap()).unwrap();
        (alpha, beta)
    }

    /// A listener of a pod of beta.
    pub(crate) fn listener(&self) -> (TcpListener, SocketAddr) {
        let listener = within(&self.beta, || TcpListener::bind((POD_B, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }
}

/// A socket that waits [`DEADLINE`] at most.
pub(crate) fn udp_in(netns: &str, address: Ipv4Addr) -> UdpSocket {
    let socket = within(netns, || UdpSocket::bind((address, 0))).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop();
        for netns in [&self.wan, &self.alpha, &self.beta] {
            command(&format!("ip netns delete {netns}"));
        }
    }
}
