//! The node's object in the API, and its heartbeat.

use std::{convert::Infallible, fs, time::Duration};

use k8s_openapi::{api::core::v1::Node, jiff::Timestamp};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::{error::KubeletError, options::Options};

/// How often the node says that it is alive. Kubernetes' kubelet does so every 10 s; a controller may mark a node as
/// unknown after 40 s without.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// First and longest pause while the API cannot be reached, as it may still be starting.
const RETRY_FIRST: Duration = Duration::from_millis(2);
const RETRY_LONGEST: Duration = Duration::from_millis(250);
/// Pods that a node takes, as by default in Kubernetes.
const PODS_MAX: usize = 110;
/// Version of Kubernetes whose API the kubelet speaks.
const KUBERNETES_VERSION: &str = "v1.37.0";

/// Makes or updates the node's object and reports the node ready. Waits for the API as long as it takes.
pub(crate) async fn register(client: &Client, options: &Options) -> Result<(), KubeletError> {
    let api: Api<Node> = Api::all(client.clone());
    let failed = |source| KubeletError::Register { node: options.node_name.clone(), source: Box::new(source) };
    let mut pause = RETRY_FIRST;
    let since = Timestamp::now();
    loop {
        match register_once(&api, options, since).await {
            Ok(()) => return Ok(()),
            Err(error) if is_retryable(&error) => {
                tracing::debug!(%error, "the API cannot be reached yet");
                sleep_until(Instant::now() + pause).await;
                pause = (pause * 2).min(RETRY_LONGEST);
            }
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Patches the node's status for ever.
pub(crate) async fn heartbeat(client: Client, options: Options) -> Infallible {
    let api: Api<Node> = Api::all(client);
    let since = Timestamp::now();
    let mut ticks = interval(HEARTBEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let patch = Patch::Merge(json!({"status": {"conditions": conditions(since, Timestamp::now())}}));
        match api.patch_status(&options.node_name, &PatchParams::default(), &patch).await {
            Ok(_) => {}
            Err(kube::Error::Api(answer)) if answer.code == 404 => {
                tracing::warn!("the node was deleted from the API; it is registered again");
                if let Err(error) = register_once(&api, &options, since).await {
                    tracing::warn!(%error, "failed to register");
                }
            }
            Err(error) => tracing::warn!(%error, "failed to report the node's status"),
        }
    }
}

/// Everything but a refusal of what was asked: refusals do not change by asking again.
fn is_retryable(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(answer) => answer.code == 429 || answer.code >= 500,
        _ => true,
    }
}

async fn register_once(api: &Api<Node>, options: &Options, since: Timestamp) -> Result<(), kube::Error> {
    let node: Node = serde_json::from_value(object(options)).map_err(kube::Error::SerdeError)?;
    match api.create(&PostParams::default(), &node).await {
        Ok(_) => {}
        Err(kube::Error::Api(answer)) if answer.code == 409 => {
            api.patch(&options.node_name, &PatchParams::default(), &Patch::Merge(object(options))).await?;
        }
        Err(error) => return Err(error),
    }
    let patch = Patch::Merge(json!({"status": status(options, since)}));
    api.patch_status(&options.node_name, &PatchParams::default(), &patch).await?;
    Ok(())
}

fn object(options: &Options) -> Value {
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

fn status(options: &Options, since: Timestamp) -> Value {
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
            "bootID": first_line("/proc/sys/kernel/random/boot_id"),
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

fn conditions(since: Timestamp, now: Timestamp) -> Value {
    json!([{
        "type": "Ready",
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
        }
    }

    #[test]
    fn the_node_is_a_node_with_its_addresses() {
        let mut value = object(&options());
        value["status"] = status(&options(), Timestamp::UNIX_EPOCH);
        let node: Node = serde_json::from_value(value).expect("a node");
        assert_eq!(node.spec.expect("a spec").pod_cidr.as_deref(), Some("10.1.1.0/24"));
        let status = node.status.expect("a status");
        assert_eq!(status.addresses.expect("addresses")[0].address, "172.18.1.11");
        let release = nix::sys::utsname::uname().expect("it has no way to fail").release().to_owned();
        assert_eq!(status.node_info.expect("info").kernel_version, release.to_string_lossy());
        assert_eq!(status.capacity.expect("capacity")["pods"].0, "110");
    }
}
