//! The node's object in the API. Pure, but for what it says of the machine.

use std::fs;

use k8s_openapi::{
    api::core::v1::{Node, NodeCondition},
    jiff::Timestamp,
};
use serde_json::{Value, json};

use super::options::Options;

/// Pods that a node takes, as by default in Kubernetes.
const PODS_MAX: usize = 110;
/// Version of Kubernetes whose API the kubelet speaks.
pub(crate) const KUBERNETES_VERSION: &str = "v1.37.0";

/// The condition that the node controller takes away from a node that is silent.
const READY: &str = "Ready";

/// The object without its status.
pub(crate) fn object(options: &Options) -> Value {
    let labels = json!({
        "kubernetes.io/hostname": options.node_name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": architecture(),
    });
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": options.node_name, "labels": labels},
        "spec": {"podCIDR": options.pod_cidr, "podCIDRs": [options.pod_cidr], "providerID": provider_id(options)},
    })
}

fn provider_id(options: &Options) -> String {
    format!("meshbed://{}/{}", options.cluster_name, options.node_name)
}

/// The status of a node that is ready since `since`, in boot `boot_id`.
pub(crate) fn status(options: &Options, boot_id: &str, since: Timestamp) -> Value {
    // The machine's own are shared by all nodes on it.
    let capacity = json!({
        "cpu": std::thread::available_parallelism().map_or(1, usize::from).to_string(),
        "memory": memory(),
        "pods": options.pod_cidr.hosts().count().saturating_sub(1).min(PODS_MAX).to_string(),
    });
    json!({
        "addresses": [
            {"type": "InternalIP", "address": options.node_ip},
            {"type": "Hostname", "address": options.node_name},
        ],
        "capacity": capacity,
        "allocatable": capacity,
        "conditions": conditions(since, Timestamp::now()),
        "nodeInfo": {
            "architecture": architecture(),
            "bootID": boot_id,
            "containerRuntimeVersion": concat!("meshbed://", env!("CARGO_PKG_VERSION")),
            "kernelVersion": first_line("/proc/sys/kernel/osrelease"),
            "kubeProxyVersion": "",
            "kubeletVersion": KUBERNETES_VERSION,
            "machineID": first_line("/etc/machine-id"),
            "operatingSystem": "linux",
            "osImage": os_image(),
            "systemUUID": provider_id(options),
        },
    })
}

/// Since when the API says that the node is ready; none when it does not say so.
pub(crate) fn ready_since(node: &Node) -> Option<Timestamp> {
    let conditions = node.status.as_ref()?.conditions.iter().flatten();
    let ready = |condition: &&NodeCondition| condition.type_ == READY && condition.status == "True";
    let condition = { conditions }.find(ready)?;
    Some(condition.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0))
}

/// The boot that the API has heard of.
pub(crate) fn boot_id(node: &Node) -> Option<&String> {
    Some(&node.status.as_ref()?.node_info.as_ref()?.boot_id)
}

fn conditions(since: Timestamp, now: Timestamp) -> Value {
    json!([{
        "type": READY,
        "status": "True",
        "reason": "KubeletReady",
        "message": "meshbed's kubelet is ready",
        // Kubernetes' times have whole seconds.
        "lastHeartbeatTime": seconds(now),
        "lastTransitionTime": seconds(since),
    }])
}

fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// As Go calls it, whose names Kubernetes uses.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn first_line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

fn memory() -> String {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = total.and_then(|value| value.trim().strip_suffix(" kB"));
    format!("{}Ki", kibibytes.unwrap_or("0"))
}

fn os_image() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options {
            cluster_name: "alpha".into(),
            node_name: "alpha-1".into(),
            node_ip: std::net::Ipv4Addr::new(172, 18, 1, 11),
            pod_cidr: "10.1.1.0/24".parse().expect("a CIDR"),
            kubeconfig: "/kubeconfig".into(),
            state_dir: "/state".into(),
            pod_cgroup: "/cgroup".into(),
            netns_prefix: "mb-".into(),
            pod_program: "/meshbed-pod".into(),
            node_lease_duration_seconds: 40,
            slowness: std::num::NonZeroU32::MIN,
        }
    }

    #[test]
    fn the_node_is_a_node_with_its_addresses() {
        let mut value = object(&options());
        value["status"] = status(&options(), "boot", Timestamp::UNIX_EPOCH);
        let node: Node = serde_json::from_value(value.clone()).expect("a node");
        assert_eq!(ready_since(&node), Some(Timestamp::UNIX_EPOCH));
        assert_eq!(boot_id(&node).map(String::as_str), Some("boot"));
        value["status"]["conditions"][0]["status"] = json!("Unknown");
        assert_eq!(ready_since(&serde_json::from_value(value).expect("a node")), None);
        assert_eq!(node.spec.expect("a spec").pod_cidr.as_deref(), Some("10.1.1.0/24"));
        let status = node.status.expect("a status");
        assert_eq!(status.addresses.expect("addresses")[0].address, "172.18.1.11");
        let release = nix::sys::utsname::uname().expect("it has no way to fail").release().to_owned();
        assert_eq!(status.node_info.expect("info").kernel_version, release.to_string_lossy());
        assert_eq!(status.capacity.expect("capacity")["pods"].0, "110");
    }
}
