//! A mesh that stays up, used with tools that we did not write.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::meshbed::{Down, Machine, beside, meshbed, run_folder, skip, succeed, wait_for_none};

fn kubectl(kubeconfig: &Path, arguments: &[&str]) -> String {
    succeed(Command::new("kubectl").arg("--kubeconfig").arg(kubeconfig).args(arguments))
}

fn kubectl_is_missing() -> bool {
    let missing = Command::new("kubectl").arg("version").arg("--client").output().is_err();
    if missing {
        eprintln!("skipped: kubectl is not installed");
    }
    missing
}

#[test]
fn root_kept_mesh_serves_kubectl_exec_and_bpftool() {
    if skip() || kubectl_is_missing() {
        return;
    }
    let machine = Machine::now();
    succeed(meshbed().arg("up"));
    let down = Down;
    let folder = tempfile::tempdir().expect("a temporary folder");
    for cluster in ["alpha", "beta"] {
        let config = succeed(meshbed().args(["kubeconfig", cluster]));
        std::fs::write(folder.path().join(cluster), config).expect("the folder is writable");
    }
    let manifests = crate::meshbed::project().join("fixtures/manifests/star-wars");
    for cluster in ["alpha", "beta"] {
        let config = folder.path().join(cluster);
        for file in ["services.yaml".to_owned(), format!("{cluster}.yaml")] {
            kubectl(&config, &["apply", "-f", &manifests.join(file).display().to_string()]);
        }
        kubectl(&config, &["rollout", "status", "--timeout=30s", "deployment/rebel-base"]);
        kubectl(&config, &["rollout", "status", "--timeout=30s", "deployment/x-wing"]);
        kubectl(&config, &["annotate", "service", "rebel-base", "service.cilium.io/global=true"]);
    }
    describe_shows_local_endpoints_only(&folder.path().join("alpha"));
    both_clusters_answer();
    let pods = identities_of_pods(&["alpha", "beta"].map(|cluster| folder.path().join(cluster)));
    for cluster in ["alpha", "beta"] {
        for node in 1..=2 {
            let node = format!("{cluster}-{node}");
            bpftool_agrees_with_the_list(cluster, &node);
            bpftool_finds_all_pods(cluster, &node, &pods);
        }
    }
    all_agents_are_connected();
    let status = succeed(meshbed().arg("status"));
    assert!(status.contains("cluster alpha (ID 1)") && status.contains("rebel-base-"), "{status}");
    drop(down);
    machine.assert_as_before();
}

fn describe_shows_local_endpoints_only(kubeconfig: &Path) {
    let described = kubectl(kubeconfig, &["describe", "service", "rebel-base"]);
    let endpoints = described.lines().find(|line| line.starts_with("Endpoints:")).expect("describe lists endpoints");
    assert!(endpoints.contains("10.1.") && !endpoints.contains("10.2."), "{described}");
}

/// Asks until both clusters have answered; a fresh annotation needs a moment to arrive.
fn both_clusters_answer() {
    let mut answers = String::new();
    let both = |answers: &str| answers.contains("Cluster-1") && answers.contains("Cluster-2");
    for _ in 0..ASKED_MAX {
        answers.push_str(&succeed(meshbed().args(["exec", "alpha/x-wing", "--", "curl", "-s", "rebel-base"])));
        if both(&answers) {
            return;
        }
    }
    panic!("after {ASKED_MAX} requests only these answers:\n{answers}");
}

/// Dumps a node's maps with bpftool, reads the bytes by hand, and compares them with what `mesh-agent bpf lb list` claims.
fn bpftool_agrees_with_the_list(cluster: &str, node: &str) {
    let bpf = run_folder().join(cluster).join(node).join("bpf");
    let backends: BTreeMap<Vec<u8>, String> =
        dump(&bpf, "cilium_lb4_backends_v3").into_iter().map(|(id, value)| (id, address(&value))).collect();
    let mut claimed_by_bytes = BTreeMap::new();
    for (key, value) in dump(&bpf, "cilium_lb4_services_v2") {
        // Key: address and port in network order, slot in the CPU's, protocol. A port of 0 is a wildcard entry.
        let slot = u16::from_le_bytes([key[6], key[7]]);
        let protocol = if key[8] == 6 { "TCP" } else { "ANY" };
        let row = format!("{}/{protocol} ({slot})", address(&key));
        let service = u16::from_be_bytes([value[6], value[7]]);
        let claim = match slot {
            0 => format!("0.0.0.0:0 ({service}) (0) [ClusterIP, non-routable] "),
            _ => format!("{}/TCP ({service}) ({slot})", backends[&value[..4].to_vec()]),
        };
        claimed_by_bytes.insert(row, vec![claim]);
    }
    let mut list = Command::new(beside("mesh-agent"));
    list.args(["bpf", "lb", "list", "-o", "json", "--bpf-root"]).arg(&bpf);
    let listed = succeed(&mut list);
    let listed: BTreeMap<String, Vec<String>> = serde_json::from_str(&listed).expect("the list is JSON");
    assert_eq!(listed, claimed_by_bytes, "node {cluster}/{node}");
    assert!(listed.len() > 4, "both services and their backends are there: {listed:?}");
}

/// Addresses of the pods of these clusters and their security identities, as their CiliumEndpoints say.
fn identities_of_pods(kubeconfigs: &[PathBuf]) -> BTreeMap<String, u32> {
    let mut pods = BTreeMap::new();
    for kubeconfig in kubeconfigs {
        let list = kubectl(kubeconfig, &["get", "ciliumendpoints", "--all-namespaces", "-o", "json"]);
        let list: serde_json::Value = serde_json::from_str(&list).expect("kubectl prints JSON");
        for endpoint in list["items"].as_array().expect("a list") {
            let status = &endpoint["status"];
            let address = status["networking"]["addressing"][0]["ipv4"].as_str().expect("an address").to_owned();
            pods.insert(address, status["identity"]["id"].as_u64().expect("a number").try_into().expect("32 bits"));
        }
    }
    assert_eq!(pods.len(), 8, "two deployments of two pods in each cluster: {pods:?}");
    pods
}

/// Waits until a node's ipcache, as bpftool dumps it, has these identities for these addresses of pods and no others, then
/// compares all of it with what `mesh-agent bpf ipcache list` claims.
fn bpftool_finds_all_pods(cluster: &str, node: &str, pods: &BTreeMap<String, u32>) {
    let bpf = run_folder().join(cluster).join(node).join("bpf");
    wait_for_none(ARRIVAL_MAX, || {
        let entries = ipcache(&bpf);
        let found = entries.iter().filter(|((ip, prefix), _)| *prefix == 32 && ip.starts_with("10."));
        let found: BTreeMap<String, u32> = found.map(|((ip, _), (identity, _))| (ip.clone(), *identity)).collect();
        (found != *pods).then(|| format!("{node}: {found:?}, expected {pods:?}"))
    });
    let mut list = Command::new(beside("mesh-agent"));
    list.args(["bpf", "ipcache", "list", "-o", "json", "--bpf-root"]).arg(&bpf);
    let listed = succeed(&mut list);
    let listed: BTreeMap<String, Vec<String>> = serde_json::from_str(&listed).expect("the list is JSON");
    let listed: BTreeMap<String, String> =
        listed.into_iter().map(|(prefix, text)| (prefix, text[0].split(" flags").next().unwrap().to_owned())).collect();
    let expected: BTreeMap<String, String> = ipcache(&bpf)
        .into_iter()
        .map(|((ip, prefix), (identity, tunnel))| {
            (format!("{ip}/{prefix}"), format!("identity={identity} encryptkey=0 tunnelendpoint={tunnel}"))
        })
        .collect();
    assert_eq!(listed, expected, "node {node}");
}

/// Addresses with the lengths of their prefixes, and identities with the addresses of tunnels, of a node's ipcache.
fn ipcache(bpf: &Path) -> BTreeMap<(String, u32), (u32, String)> {
    let ip = |at: &[u8]| format!("{}.{}.{}.{}", at[0], at[1], at[2], at[3]);
    let entry = |(key, value): (Vec<u8>, Vec<u8>)| {
        let prefix = u32::from_le_bytes([key[0], key[1], key[2], key[3]]) - 32;
        assert_eq!(key[7], 1, "IPv4: {key:?}");
        let identity = u32::from_le_bytes([value[0], value[1], value[2], value[3]]);
        ((ip(&key[8..]), prefix), (identity, ip(&value[4..])))
    };
    dump(bpf, "cilium_ipcache_v2").into_iter().map(entry).collect()
}

/// `mesh-agent clustermesh status` of each cluster's nodes.
fn all_agents_are_connected() {
    for (cluster, other) in [("alpha", "beta"), ("beta", "alpha")] {
        let mut command = Command::new(beside("mesh-agent"));
        command.args(["clustermesh", "status", "--wait", "--wait-duration", "15s"]);
        for node in 1..=2 {
            command.arg("--state-dir").arg(run_folder().join(cluster).join(format!("{cluster}-{node}")).join("agent"));
        }
        let printed = succeed(&mut command);
        let expected = format!(
            "✅ All 2 nodes are connected to all clusters [min:1 / avg:1.0 / max:1]\n\n\
             🔌 Cluster Connections:\n  - {other}: 2/2 configured, 2/2 connected\n"
        );
        assert_eq!(printed, expected);
    }
}

/// Address and port that a key or value begins with, both in network order.
fn address(bytes: &[u8]) -> String {
    let port = u16::from_be_bytes([bytes[4], bytes[5]]);
    format!("{}.{}.{}.{}:{port}", bytes[0], bytes[1], bytes[2], bytes[3])
}

/// Keys and values of a pinned map, as bpftool prints them.
fn dump(bpf: &Path, map: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let pin = bpf.join("tc/globals").join(map);
    let text = succeed(Command::new("bpftool").args(["-j", "map", "dump", "pinned"]).arg(&pin));
    let entries: Vec<serde_json::Value> = serde_json::from_str(&text).expect("bpftool prints JSON");
    let bytes = |value: &serde_json::Value| -> Vec<u8> {
        let texts = value.as_array().expect("a list of bytes").iter();
        let byte = |text: &serde_json::Value| {
            let text = text.as_str().expect("a byte is a text").trim_start_matches("0x");
            u8::from_str_radix(text, 16).expect("a byte is hexadecimal")
        };
        texts.map(byte).collect()
    };
    entries.iter().map(|entry| (bytes(&entry["key"]), bytes(&entry["value"]))).collect()
}

/// Chance that one of two equally likely answers never comes in so many requests: below one in a billion.
const ASKED_MAX: usize = 40;
/// How long identities of pods may take to reach all nodes; it is far less.
const ARRIVAL_MAX: Duration = Duration::from_secs(15);
