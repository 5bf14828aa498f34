//! A node in a network namespace of its own, with a Kubernetes API on its loopback interface and a kubelet.

use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Config,
    api::{DeleteParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::wait::{Condition, await_condition},
};
use meshbed_node::{
    PodState,
    kubelet::{self, KubeletError, Options},
};
use nix::sched::{CloneFlags, unshare};
use rtnetlink::{LinkMessageBuilder, LinkUnspec};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

/// Longest time for anything; only a failing test takes it.
const DEADLINE: Duration = Duration::from_secs(20);
/// What names of namespaces begin with; the process follows.
const NETNS_PREFIX: &str = "mb-test";
/// What names of cgroups and folders begin with; the process follows.
const CGROUP_PREFIX: &str = "meshbed-node-test-";
pub(crate) const NODE_IP: Ipv4Addr = Ipv4Addr::new(172, 18, 1, 11);

pub(crate) struct Testbed {
    pub(crate) client: Client,
    pub(crate) options: Options,
    pub(crate) netlink: rtnetlink::Handle,
    kubelet: Option<(CancellationToken, JoinHandle<Result<(), KubeletError>>)>,
    _folder: TempDir,
}

#[expect(clippy::print_stdout, reason = "a test that is skipped says why")]
/// Runs a test on a thread in a new network namespace. Prints why and does nothing without root.
pub(crate) fn on_node<F, T>(name: &str, test: F)
where
    F: FnOnce(Testbed) -> T + Send + 'static,
    T: Future<Output = Testbed>,
{
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: `{name}` needs root");
        return;
    }
    sweep();
    let cgroup = cgroup_root().join(format!("{CGROUP_PREFIX}{}-{name}", std::process::id()));
    let at_end = cgroup.clone();
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("root may make a network namespace");
        // Nodes route for their pods.
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("root may set this");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let testbed = test(Testbed::start(cgroup).await).await;
            testbed.stop().await;
        });
    });
    let result = thread.join();
    // A failed test leaves pods behind; nobody else would remove them.
    remove_cgroup(&at_end);
    remove_namespaces(&netns_prefix());
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

impl Testbed {
    async fn start(pod_cgroup: PathBuf) -> Self {
        let _logs = tracing_subscriber::fmt().with_test_writer().with_max_level(tracing::Level::INFO).try_init();
        let prefix = format!("{CGROUP_PREFIX}{}-", std::process::id());
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir().expect("a temporary folder");
        let (connection, netlink, _) = rtnetlink::new_connection().expect("a netlink socket");
        tokio::spawn(connection);
        let up = LinkMessageBuilder::<LinkUnspec>::new().index(1).up().build();
        netlink.link().change(up).execute().await.expect("lo is up");
        netlink.address().add(1, IpAddr::V4(NODE_IP), 32).execute().await.expect("the node has its address");
        let kubeconfig = start_api(folder.path()).await;
        let config = Kubeconfig::read_from(&kubeconfig).expect("we wrote it");
        let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.expect("it is valid");
        let options = Options {
            cluster_name: "alpha".into(),
            node_name: "alpha-1".into(),
            node_ip: NODE_IP,
            pod_cidr: "10.1.1.0/24".parse().expect("a CIDR"),
            kubeconfig,
            state_dir: folder.path().join("kubelet"),
            pod_cgroup,
            netns_prefix: netns_prefix(),
            pod_program: env!("CARGO_BIN_EXE_meshbed-pod").into(),
            node_lease_duration_seconds: 4,
            slowness: std::num::NonZeroU32::MIN,
        };
        let client = Client::try_from(config).expect("a client");
        let mut testbed = Self { client, options, netlink, kubelet: None, _folder: folder };
        testbed.start_kubelet();
        testbed
    }

    pub(crate) fn start_kubelet(&mut self) {
        let shutdown = CancellationToken::new();
        let kubelet = kubelet::run(self.options.clone(), shutdown.clone().cancelled_owned());
        self.kubelet = Some((shutdown, tokio::spawn(kubelet)));
    }

    pub(crate) async fn stop_kubelet(&mut self) {
        let (shutdown, kubelet) = self.kubelet.take().expect("it runs");
        shutdown.cancel();
        kubelet.await.expect("it does not panic").expect("it ends well");
    }

    async fn stop(mut self) {
        if self.kubelet.is_some() {
            self.stop_kubelet().await;
        }
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "default")
    }

    /// Creates a pod that is bound to the node already, as a scheduler would leave it.
    pub(crate) async fn create(&self, name: &str, spec: Value) -> Pod {
        let mut spec = spec;
        spec["nodeName"] = json!("alpha-1");
        let pod = json!({"metadata": {"name": name, "labels": {"name": name}}, "spec": spec});
        let pod = serde_json::from_value(pod).expect("a pod");
        self.pods().create(&PostParams::default(), &pod).await.expect("the API takes it")
    }

    pub(crate) async fn wait(&self, name: &str, condition: impl Condition<Pod>) -> Option<Pod> {
        timeout(DEADLINE, await_condition(self.pods(), name, condition)).await.expect("in time").expect("a watch")
    }

    pub(crate) async fn wait_ready(&self, name: &str) -> Pod {
        self.wait(name, |pod: Option<&Pod>| is_ready(pod)).await.expect("it is there")
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.pods().delete(name, &DeleteParams::default()).await.expect("the API takes it");
        self.wait(name, |pod: Option<&Pod>| pod.is_none()).await;
    }

    pub(crate) fn state(&self, name: &str) -> PodState {
        PodState::read(&PodState::path(&self.options.state_dir, "default", name)).expect("the kubelet wrote it")
    }

    /// Names of the links in the node's namespace.
    pub(crate) async fn links(&self) -> Vec<String> {
        use futures::TryStreamExt;
        use netlink_packet_route::link::LinkAttribute;
        let links: Vec<_> = self.netlink.link().get().execute().try_collect().await.expect("a list");
        let name = |attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name),
            _ => None,
        };
        links.into_iter().filter_map(|link| link.attributes.into_iter().find_map(name)).collect()
    }

    /// Fails unless no pod left anything behind.
    pub(crate) async fn assert_clean(&self) {
        let links = self.links().await;
        assert!(!links.iter().any(|link| link.starts_with("lxc")), "links: {links:?}");
        assert_eq!(namespaces(&self.options.netns_prefix), Vec::<PathBuf>::new());
        let folders = |path: &Path| std::fs::read_dir(path).expect("a folder").flatten().map(|e| e.path());
        let cgroups: Vec<_> = folders(&self.options.pod_cgroup).filter(|path| path.is_dir()).collect();
        assert_eq!(cgroups, Vec::<PathBuf>::new());
        for left in ["pods", "volumes"] {
            assert_eq!(folders(&self.options.state_dir.join(left)).count(), 0, "nothing in `{left}`");
        }
    }
}

/// Looks until what is seen is as wanted, and returns it.
pub(crate) async fn until<T: std::fmt::Debug>(
    what: &str,
    mut look: impl AsyncFnMut() -> T,
    wanted: impl Fn(&T) -> bool,
) -> T {
    let begin = std::time::Instant::now();
    loop {
        let seen = look().await;
        if wanted(&seen) {
            return seen;
        }
        assert!(begin.elapsed() < DEADLINE, "{what} after {DEADLINE:?}: {seen:?}");
        tokio::task::yield_now().await;
    }
}

pub(crate) fn is_ready(pod: Option<&Pod>) -> bool {
    condition_of(pod, "Ready").as_deref() == Some("True")
}

pub(crate) fn condition_of(pod: Option<&Pod>, kind: &str) -> Option<String> {
    let conditions = pod?.status.as_ref()?.conditions.as_ref()?;
    Some(conditions.iter().find(|condition| condition.type_ == kind)?.status.clone())
}

/// A web pod with a readiness probe, as in Cilium's Star Wars example.
pub(crate) fn web() -> Value {
    json!({"containers": [{
        "name": "rebel-base", "image": "docker.io/nginx:1.15.8",
        "readinessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1},
    }]})
}

fn netns_prefix() -> String {
    format!("{NETNS_PREFIX}{}-", std::process::id())
}

/// Removes what tests left that were ended from outside: their names tell the process, which lives no more.
fn sweep() {
    let owner = |entry: &std::fs::DirEntry, prefix: &str| -> Option<u32> {
        let name = entry.file_name().into_string().ok()?;
        name.strip_prefix(prefix)?.split_once('-')?.0.parse().ok()
    };
    let is_left = |entry: &std::fs::DirEntry, prefix: &str| {
        owner(entry, prefix).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
    };
    let left = |folder: &Path, prefix: &str| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter(|entry| is_left(entry, prefix)).map(|entry| entry.path()).collect()
    };
    for path in left(&cgroup_root(), CGROUP_PREFIX) {
        remove_cgroup(&path);
    }
    for path in left(Path::new("/run/netns"), NETNS_PREFIX) {
        remove_namespace(&path);
    }
    for path in left(&std::env::temp_dir(), CGROUP_PREFIX) {
        let _removed = std::fs::remove_dir_all(path);
    }
}

fn namespaces(prefix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)).map(|entry| entry.path()).collect()
}

fn remove_namespaces(prefix: &str) {
    for path in namespaces(prefix) {
        remove_namespace(&path);
    }
}

fn remove_namespace(path: &Path) {
    let _unmounted = nix::mount::umount2(path, nix::mount::MntFlags::MNT_DETACH);
    let _removed = std::fs::remove_file(path);
}

fn remove_cgroup(path: &Path) {
    let Ok(entries) = std::fs::read_dir(path) else { return };
    let _killed = std::fs::write(path.join("cgroup.kill"), "1");
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        remove_cgroup(&entry.path());
    }
    let begin = std::time::Instant::now();
    while std::fs::remove_dir(path).is_err() && begin.elapsed() < DEADLINE {
        std::thread::yield_now();
    }
}

fn cgroup_root() -> PathBuf {
    let mounts = std::fs::read_to_string("/proc/mounts").expect("the mount table");
    let mount = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|fields| fields[2] == "cgroup2");
    PathBuf::from(mount.expect("a cgroup v2 mount")[1])
}

/// Starts the API and returns the path of a kubeconfig for it.
async fn start_api(folder: &Path) -> PathBuf {
    let key = rcgen::KeyPair::generate().expect("a key");
    let names = vec!["127.0.0.1".to_owned()];
    let certificate = rcgen::CertificateParams::new(names).expect("a name").self_signed(&key).expect("signed");
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let tls_cert = write("tls.crt", certificate.pem());
    let options = meshbed_apiserver::Options {
        cluster_name: "alpha".into(),
        service_cidr: "10.101.0.0/16".parse().expect("a CIDR"),
        pod_cidr: "10.1.0.0/16".parse().expect("a CIDR"),
        listen: "127.0.0.1:0".parse().expect("an address"),
        listen_fd: None,
        client_ca: tls_cert.clone(),
        tls_key: write("tls.key", key.serialize_pem()),
        token_file: write("token", "test".into()),
        tls_cert: tls_cert.clone(),
        data_dir: None,
        admin_socket: None,
        node_monitor_grace_period: meshbed_apiserver::NODE_MONITOR_GRACE_PERIOD,
        seed: Some(1),
        limits: meshbed_apiserver::Limits::default(),
    };
    let server = meshbed_apiserver::Server::bind(options).await.expect("the API starts");
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "alpha",
        "clusters": [{"name": "alpha", "cluster": {
            "server": format!("https://{}", server.local_address()), "certificate-authority": tls_cert,
        }}],
        "users": [{"name": "admin", "user": {"token": "test"}}],
        "contexts": [{"name": "alpha", "context": {"cluster": "alpha", "user": "admin"}}],
    });
    tokio::spawn(server.serve(std::future::pending()));
    write("kubeconfig", kubeconfig.to_string())
}
