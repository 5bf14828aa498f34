//! The recorded agent, end to end: our agent gets the Kubernetes objects and the kvstore that Cilium's own agent saw
//! (`fixtures/vectors/input`, `kvstore/beta-hand-written.jsonl`), and its commands, which read its real maps, have to print
//! what Cilium's printed for its ones (`fixtures/vectors/cli`).
//!
//! Row order, IDs and slots are an agent's choice and are taken out of both sides. The node and the control plane have
//! addresses of the testbed, for which the recorded ones are put. What is left over is in [`ONLY_CILIUM`], with the
//! reason.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::Value;

use crate::meshbed::{Down, Machine, beside, meshbed, project, run_folder, skip, succeed, wait_for_none};

/// The recorded cluster. etcd, the API and the first node get addresses from the range of the nodes.
const TOPOLOGY: &str = "\
apiVersion: meshbed.dev/v1alpha1
kind: Topology
name: recorded
clusters:
- name: alpha
  id: 1
  nodeCIDR: 172.30.0.0/24
  podCIDR: 10.9.0.0/16
  serviceCIDR: 10.96.0.0/16
  nodes: [{name: node-c1}]
";
/// Far above what it takes; only reached when something is missing.
const DEADLINE: Duration = Duration::from_secs(20);

/// A command, and rows of Cilium's that ours does not print.
struct Difference {
    file: &'static str,
    rows: &'static [&'static str],
    /// For the reader.
    _why: &'static str,
}

const ONLY_CILIUM: [Difference; 2] = [
    Difference {
        file: "bpf-ipcache-list",
        rows: &["10.9.0.223/32 identity=1 encryptkey=0 tunnelendpoint=0.0.0.0 flags=<none>"],
        _why: "the node's address among its pods' ones (cilium_host): this agent routes no packets and has no such device",
    },
    Difference {
        file: "bpf-ipcache-list",
        rows: &["172.30.0.1/32 identity=16777217 encryptkey=0 tunnelendpoint=0.0.0.0 flags=<none>"],
        _why: "an identity of the node's own for the API server's address, which only policies need",
    },
];

/// The mesh, and where its parts are.
struct Mesh {
    state: Value,
    folder: tempfile::TempDir,
    _down: Down,
}

impl Mesh {
    fn up() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let topology = folder.path().join("recorded.yaml");
        fs::write(&topology, TOPOLOGY).expect("the folder is writable");
        succeed(meshbed().arg("up").arg(&topology));
        let down = Down;
        let state = fs::read(run_folder().join("run.json")).expect("the run has a state");
        Self { state: serde_json::from_slice(&state).expect("it is JSON"), folder, _down: down }
    }

    fn of_cluster(&self, name: &str) -> &str {
        self.state["clusters"][0][name].as_str().unwrap_or_else(|| panic!("no `{name}`: {}", self.state))
    }

    fn of_node(&self, name: &str) -> &str {
        self.state["clusters"][0]["nodes"][0][name].as_str().unwrap_or_else(|| panic!("no `{name}`: {}", self.state))
    }

    /// Applies the recorded Services and EndpointSlices, but those of the API itself, which the testbed has too.
    fn apply_input(&self) {
        for file in ["services.yaml", "endpointslices.yaml"] {
            let path = vectors().join("input").join(file);
            let list = fs::read_to_string(&path).expect("the input is there");
            let mut list: Value = serde_saphyr::from_str(&list).expect("it is YAML");
            let items = list["items"].as_array_mut().expect("it is a list");
            items.retain(|item| item["metadata"]["name"] != "kubernetes");
            let written = self.folder.path().join(file);
            fs::write(&written, list.to_string()).expect("the folder is writable");
            let config = self.of_cluster("kubeconfig_host");
            succeed(Command::new("kubectl").args(["--kubeconfig", config, "apply", "-f"]).arg(written));
        }
    }

    /// Puts the recorded cluster `beta` into the only etcd that there is, and tells the agent of it.
    fn join_beta(&self) {
        let pki = Path::new(self.of_cluster("pki"));
        let endpoint = self.of_cluster("etcd_endpoint");
        let netns = Path::new(self.of_cluster("netns")).file_name().expect("it has a name");
        let (ca, certificate, key) =
            (pki.join("ca.crt"), pki.join("etcd-client-root.crt"), pki.join("etcd-client-root.key"));
        let lines = fs::read_to_string(vectors().join("kvstore/beta-hand-written.jsonl")).expect("it is there");
        for line in lines.lines() {
            let pair: Value = serde_json::from_str(line).expect("it is JSON");
            let text = |name: &str| pair[name].as_str().expect("a text").to_owned();
            let mut put = Command::new("ip");
            put.args(["netns", "exec"]).arg(netns).args(["etcdctl", "--endpoints", endpoint, "--cacert"]).arg(&ca);
            put.arg("--cert").arg(&certificate).arg("--key").arg(&key);
            succeed(put.args(["put", &text("key"), &text("value")]).env("ETCDCTL_API", "3"));
        }
        let config = format!(
            "endpoints:\n- {endpoint}\ntrusted-ca-file: {}\ncert-file: {}\nkey-file: {}\n",
            ca.display(),
            certificate.display(),
            key.display()
        );
        fs::write(Path::new(self.of_node("clustermesh_dir")).join("beta"), config).expect("the folder is writable");
    }

    /// What a command of the agent prints, with the recorded addresses in the places of ours.
    fn print(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(beside("mesh-agent"));
        command.args(arguments);
        match arguments.first() {
            Some(&"bpf") => command.args(["--bpf-root", self.of_node("bpf_root")]),
            _ => command.args(["--state-dir", self.of_node("agent_state_dir")]),
        };
        let (api, node) = (self.of_cluster("control_plane_ip"), self.of_node("ip"));
        // The recorded node has the address of our control plane: first all of ours go, then the recorded ones come.
        let port = self.of_cluster("api_host_url").rsplit_once(':').map_or("", |(_, port)| port).to_owned();
        let printed = succeed(&mut command).replace(&format!("{api}:6443"), "<api>:16443").replace(&port, "<port>");
        let printed = printed.replace(&format!("{node}:"), "<node>:").replace(&format!("{node}/"), "<node>/");
        let printed = printed.replace(&format!("{node} "), "<node> ").replace(&format!("//{api} "), "//<api> ");
        let printed = printed.replace(self.of_node("pod_cidr"), "10.9.0.0/24");
        printed.replace("<api>", "172.30.0.1").replace("<node>", "172.30.0.2")
    }
}

fn vectors() -> PathBuf {
    project().join("fixtures/vectors")
}

/// Rows without the title, with single blanks, and without what an agent may choose.
fn rows(printed: &str, normal: Normal) -> BTreeSet<String> {
    let words = printed.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    words.filter(|words| !words.is_empty()).map(|words| normal(&words)).collect()
}

/// `10.0.0.1:80/TCP (1) 10.0.0.2:80/TCP (5) (1)`: without IDs, and without slots but for the master's.
fn of_service(words: &[&str]) -> String {
    let [address, slot, backend, _id, _slot, flags @ ..] = words else { return words.join(" ") };
    match *slot {
        "(0)" => format!("{address} {slot} {backend} {}", flags.join(" ")),
        _ => format!("{address} {backend} {}", flags.join(" ")),
    }
    .trim_end()
    .to_owned()
}

/// `10.0.0.1:80/TCP (0) 10800 1[1] (3) [0x52 0x0]`: without the IDs of the service and of a slot's backend.
fn of_frontend(words: &[&str]) -> String {
    let [address, slot, first, counts, _id, flags @ ..] = words else { return words.join(" ") };
    match *slot {
        "(0)" => format!("{address} {slot} {first} {counts} {}", flags.join(" ")),
        _ => format!("{address} {counts} {}", flags.join(" ")),
    }
}

/// `6 TCP://10.2.0.12`: without the ID.
fn of_id(words: &[&str]) -> String {
    words[1..].join(" ")
}

fn whole(words: &[&str]) -> String {
    words.join(" ")
}

/// A row as words to a row without what an agent may choose.
type Normal = fn(&[&str]) -> String;

/// A recorded file, our command for it, and what an agent may choose in a row.
const COMMANDS: [(&str, &[&str], Normal); 6] = [
    ("bpf-lb-list", &["bpf", "lb", "list"], of_service),
    ("bpf-lb-list-frontends", &["bpf", "lb", "list", "--frontends"], of_frontend),
    ("bpf-lb-list-backends", &["bpf", "lb", "list", "--backends"], of_id),
    ("bpf-lb-list-revnat", &["bpf", "lb", "list", "--revnat"], of_id),
    ("bpf-ipcache-list", &["bpf", "ipcache", "list"], whole),
    ("node-list", &["node", "list"], whole),
];

/// Differences of all commands between what is printed now and what was recorded.
fn differences(mesh: &Mesh) -> Vec<String> {
    let mut found = Vec::new();
    for (file, arguments, normal) in COMMANDS {
        let recorded = fs::read_to_string(vectors().join("cli").join(file).with_extension("txt")).expect("it is there");
        // The first line is the command.
        let (_, recorded) = recorded.split_once('\n').expect("there are two lines");
        let mut recorded = rows(recorded, normal);
        for difference in ONLY_CILIUM.iter().filter(|difference| difference.file == file) {
            for row in difference.rows {
                assert!(recorded.remove(*row), "{file}: `{row}` is no recorded row any more");
            }
        }
        let ours = rows(&mesh.print(arguments), normal);
        found.extend(recorded.difference(&ours).map(|row| format!("{file}: missing: {row}")));
        found.extend(ours.difference(&recorded).map(|row| format!("{file}: unknown: {row}")));
    }
    found
}

#[test]
fn root_the_recorded_agent_end_to_end() {
    if skip() {
        return;
    }
    let machine = Machine::now();
    let mesh = Mesh::up();
    // The exporter owns what is under its prefixes, and would take the other cluster's keys away.
    succeed(meshbed().args(["fault", "inject", "exporterKill: {clusters: [alpha]}"]));
    mesh.apply_input();
    mesh.join_beta();
    wait_for_none(DEADLINE, || differences(&mesh));
    status_says_the_same(&mesh);
    drop(mesh);
    machine.assert_as_before();
}

/// The part about the mesh of `status --verbose`, but for the ID of the etcd.
fn status_says_the_same(mesh: &Mesh) {
    let part = |printed: &str| -> Vec<String> {
        let lines = printed.lines().skip_while(|line| !line.starts_with("ClusterMesh:"));
        let lines = lines.enumerate().take_while(|(number, line)| *number == 0 || line.starts_with(' '));
        let blank = |line: &str| line.split(", ID: ").next().unwrap_or_default().to_owned();
        lines.map(|(_, line)| blank(line)).collect()
    };
    let recorded = fs::read_to_string(vectors().join("cli/status-verbose.txt")).expect("it is there");
    assert_eq!(part(&mesh.print(&["status", "--verbose"])), part(&recorded));
}
