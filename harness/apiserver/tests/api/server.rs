//! A server of a test's own: in this process, on a free loopback port, with certificates of its own.

use std::os::fd::IntoRawFd as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use meshbed_apiserver::{Limits, NODE_MONITOR_GRACE_PERIOD, Options, RunError, Server, admin};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Nothing in these tests takes a second; this is when something hangs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

const TOKEN: &str = "correct-horse";
const ADMIN_SOCKET: &str = "admin.sock";

/// A server that lives as long as this value.
pub(crate) struct TestServer {
    directory: TempDir,
    options: Options,
    url: String,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), RunError>>,
}

impl TestServer {
    /// Starts one with ordinary limits.
    pub(crate) async fn start() -> Self {
        Self::customised(|_, _| {}).await
    }

    /// Starts one with other limits.
    pub(crate) async fn with(limits: Limits) -> Self {
        Self::customised(|options, _| options.limits = limits).await
    }

    /// Starts one that is handed a listener, and is used by way of it.
    pub(crate) async fn inheriting(listener: std::net::TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let mut server = Self::customised(|options, _| options.listen_fd = Some(listener.into_raw_fd())).await;
        server.url = format!("https://{address}");
        server.write_kubeconfigs();
        server
    }

    /// Starts one whose options are changed first; the path is that of a folder of its own.
    pub(crate) async fn customised(change: impl FnOnce(&mut Options, &Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut options = prepare(directory.path());
        change(&mut options, directory.path());
        Self::serve(directory, options).await
    }

    async fn serve(directory: TempDir, mut options: Options) -> Self {
        let server = Server::bind(options.clone()).await.unwrap();
        options.listen = server.local_address();
        let url = format!("https://{}", server.local_address());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.serve(async {
            // Dropping the sender means the same.
            drop(stopped.await);
        }));
        let server = Self { directory, options, url, stop: Some(stop), task };
        server.write_kubeconfigs();
        server
    }

    /// Stops the server, and starts one with the same options at the same address.
    pub(crate) async fn restart(mut self) -> Self {
        self.end().await;
        Self::serve(self.directory, self.options).await
    }

    fn write_kubeconfigs(&self) {
        write_kubeconfig(self.directory.path(), &self.url);
    }

    /// A file of the server's.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A client with the token.
    pub(crate) async fn client(&self) -> Client {
        self.client_of("kubeconfig").await.unwrap()
    }

    /// A client with the credentials of another kubeconfig.
    pub(crate) async fn client_of(&self, kubeconfig: &str) -> kube::Result<Client> {
        let kubeconfig = Kubeconfig::read_from(self.path(kubeconfig)).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        Client::try_from(config)
    }

    /// Whether kubectl is there; says so when it is not.
    #[expect(clippy::print_stderr, reason = "a test says why it skips")]
    pub(crate) fn has_kubectl() -> bool {
        let found = std::process::Command::new("kubectl").args(["version", "--client"]).output().is_ok();
        if !found {
            eprintln!("skipped: kubectl is not installed");
        }
        found
    }

    /// A kubectl command, not yet run.
    pub(crate) fn kubectl_command(&self, arguments: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new("kubectl");
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.directory.path())
            .env("KUBECONFIG", self.path("kubeconfig"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs kubectl with `input` on its standard input; returns standard output and error, and whether it succeeded.
    pub(crate) async fn kubectl_raw(&self, arguments: &[&str], input: &str) -> (bool, String, String) {
        let mut child = self.kubectl_command(arguments).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A command that reads nothing may have closed it.
        drop(stdin.write_all(input.as_bytes()).await);
        drop(stdin);
        let output = tokio::time::timeout(DEADLINE, child.wait_with_output()).await;
        let output = output.unwrap_or_else(|_| panic!("kubectl {arguments:?} hangs")).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    }

    /// Runs kubectl, which must succeed; returns its standard output.
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> String {
        self.kubectl_with(arguments, "").await
    }

    /// Runs kubectl with input, which must succeed; returns its standard output.
    pub(crate) async fn kubectl_with(&self, arguments: &[&str], input: &str) -> String {
        let (success, out, error) = self.kubectl_raw(arguments, input).await;
        assert!(success, "kubectl {arguments:?} failed:\n{error}");
        out
    }

    /// Runs kubectl, which must fail; returns its standard error.
    pub(crate) async fn kubectl_fails(&self, arguments: &[&str], input: &str) -> String {
        let (success, out, error) = self.kubectl_raw(arguments, input).await;
        assert!(!success, "kubectl {arguments:?} succeeded:\n{out}");
        error
    }

    /// A client of the admin socket.
    pub(crate) async fn admin(&self) -> admin::Client {
        admin::Client::connect(self.path(ADMIN_SOCKET)).await.unwrap()
    }

    /// A client with the token that calls itself `user_agent`.
    pub(crate) async fn client_as(&self, user_agent: &str) -> Client {
        let kubeconfig = Kubeconfig::read_from(self.path("kubeconfig")).unwrap();
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        config.headers.push((http::header::USER_AGENT, user_agent.parse().unwrap()));
        Client::try_from(config).unwrap()
    }

    /// Stops the server; returns when it has stopped.
    pub(crate) async fn stop(mut self) {
        self.end().await;
    }

    async fn end(&mut self) {
        drop(self.stop.take());
        let ended = tokio::time::timeout(DEADLINE, &mut self.task).await.expect("the server stops");
        ended.unwrap().expect("the server ends as ordered");
    }
}

/// Writes the kubeconfigs of a server at `url`, with the token and with a certificate.
pub(crate) fn write_kubeconfig(directory: &Path, url: &str) {
    let certificate = "client-certificate: client.crt\n    client-key: client.key".to_owned();
    for (name, user) in [("kubeconfig", format!("token: {TOKEN}")), ("kubeconfig.certificate", certificate)] {
        let text = indoc::formatdoc! {"
            apiVersion: v1
            kind: Config
            clusters:
            - name: alpha
              cluster:
                server: {url}
                certificate-authority: ca.crt
            users:
            - name: admin
              user:
                {user}
            contexts:
            - name: alpha
              context: {{cluster: alpha, user: admin}}
            current-context: alpha
        "};
        std::fs::write(directory.join(name), text).unwrap();
    }
}

/// Makes the files that a server needs, and options that name them.
pub(crate) fn prepare(directory: &Path) -> Options {
    certificates(directory);
    std::fs::write(directory.join("token"), format!("{TOKEN}\n")).unwrap();
    Options {
        cluster_name: "alpha".to_owned(),
        service_cidr: "10.101.0.0/16".parse().unwrap(),
        pod_cidr: "10.1.0.0/16".parse().unwrap(),
        listen: "127.0.0.1:0".parse().unwrap(),
        listen_fd: None,
        tls_cert: directory.join("server.crt"),
        tls_key: directory.join("server.key"),
        client_ca: directory.join("ca.crt"),
        token_file: directory.join("token"),
        data_dir: None,
        admin_socket: Some(directory.join(ADMIN_SOCKET)),
        node_monitor_grace_period: NODE_MONITOR_GRACE_PERIOD,
        seed: Some(1),
        limits: Limits::default(),
    }
}

/// Reads events of a watch.
pub(crate) async fn next<T>(stream: &mut (impl Stream<Item = T> + Unpin)) -> T {
    tokio::time::timeout(DEADLINE, stream.next()).await.expect("an event comes").expect("the stream goes on")
}

/// An object out of JSON.
pub(crate) fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

fn certificates(directory: &Path) {
    let write = |name: &str, text: String| std::fs::write(directory.join(name), text).unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "test authority");
    let key = KeyPair::generate().unwrap();
    write("ca.crt", authority.self_signed(&key).unwrap().pem());
    let issuer = Issuer::new(authority, key);
    for (name, usage) in
        [("server", ExtendedKeyUsagePurpose::ServerAuth), ("client", ExtendedKeyUsagePurpose::ClientAuth)]
    {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages.push(usage);
        let key = KeyPair::generate().unwrap();
        write(&format!("{name}.crt"), params.signed_by(&key, &issuer).unwrap().pem());
        write(&format!("{name}.key"), key.serialize_pem());
    }
}

/// A node that is ready, as a kubelet registers it.
pub(crate) fn node(name: &str) -> String {
    indoc::formatdoc! {"
        apiVersion: v1
        kind: Node
        metadata:
          name: {name}
          labels: {{kubernetes.io/hostname: {name}}}
        status:
          conditions:
          - {{type: Ready, status: 'True', reason: KubeletReady}}
          addresses:
          - {{type: InternalIP, address: 172.18.1.11}}
          nodeInfo:
            architecture: amd64
            bootID: ''
            containerRuntimeVersion: meshbed://0
            kernelVersion: '6'
            kubeProxyVersion: ''
            kubeletVersion: v1.32.4
            machineID: ''
            operatingSystem: linux
            osImage: none
            systemUUID: ''
    "}
}
