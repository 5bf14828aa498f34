//! What the root tests share.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use meshbed_driver::{ClusterState, Programs, RunId, SystemError, UpOptions, in_netns, leftovers};
use meshbed_scenario::Topology;

/// Whether the test can run; prints why not.
pub(crate) fn is_root() -> bool {
    let root = fs::read_to_string("/proc/self/status").unwrap().contains("CapEff:\t000001ff")
        || fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !root {
        eprintln!("skipped: needs root for namespaces, mounts and cgroups");
    }
    root
}

pub(crate) fn topology() -> Topology {
    let text = "\
apiVersion: meshbed.dev/v1alpha1
kind: Topology
name: two-clusters
clusters:
- name: alpha
  id: 1
  nodeCIDR: 172.18.1.0/24
  podCIDR: 10.1.0.0/16
  serviceCIDR: 10.101.0.0/16
  nodes: [{name: alpha-1}, {name: alpha-2}]
- name: beta
  id: 2
  nodeCIDR: 172.18.2.0/24
  podCIDR: 10.2.0.0/16
  serviceCIDR: 10.102.0.0/16
  nodes: [{name: beta-1}, {name: beta-2}]
";
    Topology::parse(text, "two-clusters.yaml").unwrap()
}

const PERL: &str = "/usr/bin/perl";
/// Says what it sees, reports that it is ready, and stays; `apiserver` also greets on the inherited listener.
const SCRIPT: &str = r#"#!/usr/bin/perl
use strict; use Socket; use IO::Socket::UNIX;
$| = 1;
print "arguments: @ARGV\n";
print "netns: ", (stat "/proc/self/ns/net")[1], "\n";
print "session: ", getpgrp() == $$ ? "own" : "inherited", "\n";
open my $cgroups, "<", "/proc/self/cgroup"; print grep { /^0::/ } <$cgroups>;
open my $mounts, "<", "/proc/self/mountinfo"; print grep { m{ /sys/fs/bpf } } <$mounts>;
$SIG{TERM} = "IGNORE" if $ENV{IGNORE_TERM} and -e $ENV{IGNORE_TERM};
if ($ENV{FAIL}) { print "cannot go on\n"; exit 3; }
my %options = grep { defined } @ARGV[1 .. $#ARGV];
sub ready { IO::Socket::UNIX->new(Type => SOCK_DGRAM, Peer => $ENV{NOTIFY_SOCKET})->send("READY=1") or die; }
if (my $fd = $options{"--listen-fd"}) {
    open my $listener, "+<&=", $fd or die "no listener: $!";
    ready();
    while (accept my $client, $listener) { print $client "greetings"; close $client; }
}
ready();
sleep 1000 while 1;
"#;

/// The script in a directory of its own, or `None` if this machine cannot run it.
pub(crate) fn script() -> Option<(tempfile::TempDir, PathBuf)> {
    if !Path::new(PERL).exists() {
        eprintln!("skipped: there is no {PERL}");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("program");
    fs::write(&path, SCRIPT).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    Some((directory, path))
}

/// Options for a fresh run of the real etcd and, for everything else, `program`.
pub(crate) fn options(program: &Path) -> UpOptions {
    let mut programs = Programs::next_to(program);
    programs.meshbed_pod = program.to_owned();
    let mut options = UpOptions::new(RunId::random().unwrap(), programs);
    options.agent = options.agent.with_program(program.to_str().unwrap());
    options
}

/// Prints progress with the time since the start.
pub(crate) fn progress() -> impl FnMut(&str) + Send {
    let start = Instant::now();
    move |what| eprintln!("{:8.1} ms  {what}", start.elapsed().as_secs_f64() * 1e3)
}

/// Looks for the run's ID where things could be, without the driver's own functions, and with them.
pub(crate) fn assert_gone(run: &RunId) {
    assert_eq!(leftovers(run).unwrap(), Vec::<String>::new());
    let id = run.as_str();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounted: Vec<_> = mounts.lines().filter(|line| line.contains(id)).collect();
    assert!(mounted.is_empty(), "{mounted:?}");
    let named = |directory: &str| -> Vec<PathBuf> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(|path| path.to_string_lossy().contains(id)).collect()
    };
    assert_eq!(named("/run/netns"), Vec::<PathBuf>::new());
    assert_eq!(named("/run/meshbed"), Vec::<PathBuf>::new());
    // Gone with its mount on machines that have cgroup v2 nowhere else.
    if let Some(line) = mounts.lines().find(|line| line.contains(" - cgroup2 ")) {
        let root = Path::new(line.split(' ').nth(4).unwrap());
        assert!(!root.join("meshbed").join(id).exists());
    }
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        // A command line of ours names the run directory.
        let line = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        assert!(!line.contains(&format!("/run/meshbed/{id}")), "{line}");
    }
}

/// How long a connection may take: longer than two SYNs, shorter than a test's patience.
pub(crate) const CONNECT_DEADLINE: Duration = Duration::from_secs(3);

/// A TCP conversation from one namespace to a listener in another.
pub(crate) fn talk(from: &Path, to: &Path, address: Ipv4Addr) -> SocketAddr {
    try_talk(from, to, address).unwrap()
}

/// The same, when the connection may fail.
pub(crate) fn try_talk(from: &Path, to: &Path, address: Ipv4Addr) -> Result<SocketAddr, SystemError> {
    let listener = in_netns(to, || TcpListener::bind((address, 0))).unwrap();
    let target = listener.local_addr().unwrap();
    let mut stream = in_netns(from, || TcpStream::connect_timeout(&target, CONNECT_DEADLINE))?;
    // The kernel has accepted it already.
    let (mut server, client) = listener.accept().unwrap();
    server.write_all(b"hello").unwrap();
    drop(server);
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
    Ok(client)
}

/// A client of `cluster`'s etcd, connected from within `netns`, with the certificate called `name`.
pub(crate) fn etcd_options(cluster: &ClusterState, name: &str) -> ConnectOptions {
    let file = |name: String| fs::read(cluster.pki.join(name)).unwrap();
    let tls = TlsOptions::new()
        .ca_certificate(Certificate::from_pem(file("ca.crt".into())))
        .identity(Identity::from_pem(file(format!("{name}.crt")), file(format!("{name}.key"))));
    ConnectOptions::new().with_tls(tls).with_connect_timeout(CONNECT_DEADLINE).with_timeout(CONNECT_DEADLINE)
}

/// Puts and gets a key from a thread in `netns`.
pub(crate) fn round_trip(netns: &Path, endpoint: &str, options: ConnectOptions) -> Result<String, String> {
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(async {
            let mut client = Client::connect([endpoint], Some(options)).await?;
            client.put("cilium/test", "value", None).await?;
            let answer = client.get("cilium/test", None).await?;
            Ok(answer.kvs()[0].value_str()?.to_owned())
        }))
    };
    in_netns(netns, work).unwrap().map_err(|error: etcd_client::Error| error.to_string())
}

/// Whether a client may read what everybody may who has a user.
pub(crate) fn try_reading(netns: &Path, endpoint: &str, options: ConnectOptions) -> Result<(), String> {
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(async {
            Client::connect([endpoint], Some(options)).await?.get("cilium/.heartbeat", None).await.map(drop)
        }))
    };
    in_netns(netns, work).unwrap().map_err(|error: etcd_client::Error| error.to_string())
}

/// Value of the key that [`round_trip`] puts; `absent` is an error.
pub(crate) fn get(netns: &Path, endpoint: &str, options: ConnectOptions) -> Result<String, String> {
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(async {
            let mut client = Client::connect([endpoint], Some(options)).await?;
            let answer = client.get("cilium/test", None).await?;
            answer.kvs().first().map(|pair| pair.value_str().map(str::to_owned)).transpose()
        }))
    };
    let found: Result<Option<String>, etcd_client::Error> = in_netns(netns, work).unwrap();
    found.map_err(|error| error.to_string())?.ok_or_else(|| "absent".to_owned())
}
