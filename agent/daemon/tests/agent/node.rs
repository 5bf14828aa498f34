//! A node: a bpffs and a cgroup of its own, and an agent on them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

use crate::{
    api::Api,
    etcd::Etcd,
    process::{Process, output},
    text, texts,
};

/// Everything is removed when dropped.
pub(crate) struct Node {
    folder: TempDir,
    bpf_root: PathBuf,
    cgroup: PathBuf,
    agent: Option<Process>,
}

impl Node {
    /// Mounts and makes what a node needs.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        for name in ["bpf", "clustermesh", "state"] {
            fs::create_dir(folder.path().join(name)).expect("made");
        }
        let bpf_root = folder.path().join("bpf");
        mount(Some("bpf"), &bpf_root, Some("bpf"), MsFlags::empty(), None::<&str>).expect("bpffs mounted");
        let cgroup = cgroup2().join(format!("mesh-agent-test-{}", std::process::id()));
        fs::create_dir(&cgroup).expect("cgroup made");
        Self { folder, bpf_root, cgroup, agent: None }
    }

    /// Starts the agent, a member of cluster `beta`, and waits until it is ready.
    pub(crate) async fn start_agent(&mut self, api: &Api) {
        let arguments = self.arguments(api);
        self.agent = Some(Process::start(self.folder.path(), &texts(&arguments)).await);
    }

    /// The same with a planted defect.
    #[cfg(feature = "planted-defects")]
    pub(crate) async fn start_planted_agent(&mut self, api: &Api, defect: &str) {
        let arguments = self.arguments(api);
        self.agent = Some(Process::start_planted(self.folder.path(), &texts(&arguments), defect).await);
    }

    fn arguments(&self, api: &Api) -> Vec<String> {
        let kubeconfig = self.path("kubeconfig");
        api.write_kubeconfig(&kubeconfig);
        let (mesh, state) = (self.path("clustermesh"), self.path("state"));
        let cluster = ["run", "--cluster-name", "beta", "--cluster-id", "2", "--node-name", "beta-1"];
        let paths = ["--k8s-kubeconfig-path", text(&kubeconfig), "--clustermesh-config", text(&mesh)];
        let more = ["--state-dir", text(&state)];
        let arguments = [&cluster[..], &paths[..], &more[..], &self.datapath()[..]].concat();
        arguments.into_iter().map(str::to_owned).collect()
    }

    /// Ends the agent in an orderly way.
    pub(crate) fn stop_agent(&mut self) {
        self.agent.take().expect("an agent runs").terminate();
    }

    /// Tells the agent about cluster `alpha`.
    pub(crate) fn mesh_with(&self, etcd: &Etcd) {
        let text = fs::read_to_string(etcd.config()).expect("readable");
        // Its paths are relative to its own folder.
        let folder = etcd.config().parent().expect("in a folder").display().to_string();
        let text = text.replace("-file: ", &format!("-file: {folder}/"));
        fs::write(self.path("clustermesh/.alpha"), text).expect("written");
        fs::rename(self.path("clustermesh/.alpha"), self.path("clustermesh/alpha")).expect("renamed");
    }

    /// Takes cluster `alpha` away from the agent.
    pub(crate) fn leave_mesh(&self) {
        fs::remove_file(self.path("clustermesh/alpha")).expect("removed");
    }

    /// What `mesh-agent status --verbose` prints.
    pub(crate) fn status(&self) -> String {
        let output = output(&["status", "--verbose", "--state-dir", text(&self.path("state"))]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Removes the datapath.
    pub(crate) fn clean_up(&self) {
        let output = output(&[&["cleanup"], &self.datapath()[..]].concat());
        assert!(output.status.success(), "{output:?}");
    }

    /// The node's bpffs.
    pub(crate) fn bpf_root(&self) -> &Path {
        &self.bpf_root
    }

    /// How many pinned links there are.
    pub(crate) fn links(&self) -> usize {
        fs::read_dir(self.bpf_root.join("cilium/socketlb/links/cgroup")).map_or(0, Iterator::count)
    }

    /// The agent's log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn datapath(&self) -> [&str; 4] {
        ["--bpf-root", text(&self.bpf_root), "--cgroup-root", text(&self.cgroup)]
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.agent = None;
        // Unmounting removes all pins, and with the last pin of a link the program is detached.
        let unmounted = umount2(&self.bpf_root, MntFlags::MNT_DETACH);
        let removed = fs::remove_dir(&self.cgroup);
        if !std::thread::panicking() {
            unmounted.expect("bpffs unmounted");
            removed.expect("cgroup removed");
        }
    }
}

/// Where cgroup v2 is mounted.
fn cgroup2() -> PathBuf {
    let mounts = fs::read_to_string("/proc/mounts").expect("readable");
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2")).expect("cgroup v2 is mounted");
    PathBuf::from(mount.split(' ').nth(1).expect("a mount point"))
}
