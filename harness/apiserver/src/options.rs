//! What an operator may choose about one API server.

use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::Ipv4Net;

/// Settings of the API server of one emulated cluster.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name of the cluster, shown in logs and in `/version`'s build metadata only.
    pub cluster_name: String,
    /// Addresses that services get; the first one belongs to the service `kubernetes`.
    pub service_cidr: Ipv4Net,
    /// Addresses that nodes get a slice of (one /24 a node) when they register without a pod CIDR of their own.
    pub pod_cidr: Ipv4Net,
    /// Where to listen; the endpoint of the service `kubernetes`. Port 0 picks a free one.
    pub listen: SocketAddr,
    /// An inherited, bound TCP listener (a file descriptor number) that is served as well. Ownership goes to the server.
    pub listen_fd: Option<RawFd>,
    /// Server certificate chain, PEM.
    pub tls_cert: PathBuf,
    /// Private key of the server certificate, PEM.
    pub tls_key: PathBuf,
    /// Authority whose client certificates are let in, PEM.
    pub client_ca: PathBuf,
    /// File whose trimmed content is the bearer token that is let in.
    pub token_file: PathBuf,
    /// Folder that every change is written to, and that the cluster is read from at the start; made if it is missing.
    /// Without it nothing outlives the process.
    pub data_dir: Option<PathBuf>,
    /// Unix socket on which misbehaviour is ordered ([`crate::admin`]); without it there is none to be had.
    pub admin_socket: Option<PathBuf>,
    /// How long a node that has had a lease may go without renewing it before it counts as unreachable;
    /// [`NODE_MONITOR_GRACE_PERIOD`] in real clusters.
    pub node_monitor_grace_period: Duration,
    /// Seed of UIDs and generated name suffixes; drawn from the operating system when absent.
    pub seed: Option<u64>,
    /// Sizes that bound memory.
    pub limits: Limits,
}

/// What `kube-controller-manager --node-monitor-grace-period` is by default. (Newer versions say 50 s.)
pub const NODE_MONITOR_GRACE_PERIOD: Duration = Duration::from_secs(40);

/// Sizes that bound the server's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest request body in bytes.
    pub body_bytes: usize,
    /// Watch events kept for each resource; a watch from before the oldest one is answered `410 Gone`.
    pub watch_history: usize,
    /// Events that one watch may lag behind before it is ended.
    pub watch_backlog: usize,
    /// Concurrent HTTP/2 streams (requests and watches) of one connection.
    pub streams: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes: BODY_BYTES, watch_history: WATCH_HISTORY, watch_backlog: WATCH_BACKLOG, streams: STREAMS }
    }
}

/// What kube-apiserver allows (`MaxRequestBodyBytes`): 3 MiB, twice etcd's request limit.
const BODY_BYTES: usize = 3 * 1024 * 1024;
/// A rollout of a thousand pods makes about five events a pod.
const WATCH_HISTORY: usize = 8192;
/// Half the history, so that a watch that lagged can resume from it.
const WATCH_BACKLOG: usize = 4096;
/// An agent holds about ten watches; a test with a hundred informers on one connection still fits.
const STREAMS: u32 = 1024;
