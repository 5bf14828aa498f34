//! What a kubelet is told when it starts.

use std::{net::Ipv4Addr, num::NonZeroU32, path::PathBuf};

use ipnet::Ipv4Net;

/// Options of the kubelet; as command-line flags, those of `meshbed kubelet`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Cluster that the node belongs to.
    #[arg(long, value_name = "NAME")]
    pub cluster_name: String,
    /// Name of the node.
    #[arg(long, value_name = "NAME")]
    pub node_name: String,
    /// Address of the node on its cluster's network.
    #[arg(long, value_name = "IP")]
    pub node_ip: Ipv4Addr,
    /// Addresses for the node's pods; the first one is the gateway.
    #[arg(long, value_name = "CIDR")]
    pub pod_cidr: Ipv4Net,
    /// Kubeconfig file of the cluster's API server, as reachable from the node.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: PathBuf,
    /// Folder for pod states, volumes, hosts files and container logs; made when missing.
    #[arg(long, value_name = "DIR")]
    pub state_dir: PathBuf,
    /// Cgroup (v2) below which every pod gets its own; made when missing.
    #[arg(long, value_name = "DIR")]
    pub pod_cgroup: PathBuf,
    /// Start of the names of the pods' network namespaces; eight hexadecimal digits of the pod's UID follow.
    #[arg(long, value_name = "PREFIX")]
    pub netns_prefix: String,
    /// The program `meshbed-pod`, which containers of known images run.
    #[arg(long, value_name = "FILE")]
    pub pod_program: PathBuf,
    /// How long others believe that the node lives after it renewed its lease, in seconds; it renews it four times as
    /// often. Kubernetes' kubelet has the same number in its configuration file.
    #[arg(long, value_name = "SECONDS", default_value_t = LEASE_DURATION_SECONDS, value_parser = clap::value_parser!(u32).range(1..=LEASE_DURATION_SECONDS_MAX))]
    pub node_lease_duration_seconds: u32,
    /// How many times longer than usual everything takes on this machine: probes of containers have so much more time.
    #[arg(long, value_name = "NUMBER", default_value = "1")]
    pub slowness: NonZeroU32,
}

/// Kubernetes' default.
pub const LEASE_DURATION_SECONDS: u32 = 40;
/// An hour: a longer lease tells nothing.
const LEASE_DURATION_SECONDS_MAX: i64 = 3600;
