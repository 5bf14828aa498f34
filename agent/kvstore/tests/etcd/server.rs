//! A real etcd for one test.

use std::{
    fs,
    net::Ipv4Addr,
    os::unix::net::UnixDatagram,
    path::PathBuf,
    process::{self, Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use etcd_client::{
    Certificate, Client, ConnectOptions, EventType, GetOptions, Identity, KeyValue, Permission, SortOrder, SortTarget,
    TlsOptions, UserAddOptions, WatchOptions, WatchStream,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};
use tempfile::TempDir;

/// A slow machine with both cores busy still starts an etcd in less.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Where clients connect to at first. Servers have addresses of their own, so ports need not be looked for: one that was
/// found free may be taken by the time it is used.
const CLIENT_PORT: u16 = 2379;
/// Where members would meet, if there were more than one.
const PEER_PORT: u16 = 2380;
/// Servers that a process may start: so many addresses of 127.0.0.0/8 there are for each, as process numbers have 22 bits.
const SERVERS_MAX: u32 = 4;

/// A running etcd; killed when dropped.
pub(crate) struct Etcd {
    folder: TempDir,
    process: Child,
    host: Ipv4Addr,
    port: u16,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Etcd {
    /// Starts one and waits until it serves. `None`, said aloud, when there is no etcd on this machine.
    pub(crate) async fn start() -> Option<Self> {
        if Command::new("etcd").arg("--version").stdout(Stdio::null()).status().is_err() {
            note("skipped: no `etcd` on the path (Debian: apt-get install etcd-server)");
            return None;
        }
        let folder = tempfile::tempdir().expect("temporary folder");
        let host = own_host();
        let authority = write_pki(&folder, host);
        let port = CLIENT_PORT;
        let process = spawn(&folder, host, port).await;
        let etcd = Self { folder, process, host, port, authority };
        etcd.write_config();
        Some(etcd)
    }

    /// Ends the process as a crash would.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("waited for");
    }

    /// Starts again with the same data.
    pub(crate) async fn restart(&mut self) {
        self.process = spawn(&self.folder, self.host, self.port).await;
    }

    /// Starts again without data: as another etcd, with a cluster ID of its own, at the same address.
    pub(crate) async fn restart_empty(&mut self) {
        fs::remove_dir_all(self.folder.path().join("data")).expect("removed");
        self.restart().await;
    }

    /// Replaces the client's certificate by one that is valid, or that was.
    pub(crate) fn renew_client(&self, validity: Validity) {
        write_certificate(&self.folder, &self.authority, self.host, "client", validity);
    }

    /// Starts again with the same data on another port, unknown to readers until [`Etcd::write_config`].
    pub(crate) async fn restart_elsewhere(&mut self) {
        self.port = if self.port == CLIENT_PORT { PEER_PORT + 1 } else { CLIENT_PORT };
        self.restart().await;
    }

    /// Replaces the client configuration file by something that is none.
    pub(crate) fn corrupt_config(&self) {
        fs::write(self.config(), "endpoints: {").expect("written");
    }

    /// Stops the process with all its threads (SIGSTOP), or lets it go on.
    pub(crate) fn stop(&self, stopped: bool) {
        let pid = self.process.id();
        let signal = if stopped { "-STOP" } else { "-CONT" };
        let status = Command::new("kill").args([signal, &pid.to_string()]).status();
        assert!(status.expect("`kill` runs").success(), "the process is there");
        let is_stopped = |thread: fs::DirEntry| {
            let stat = fs::read_to_string(thread.path().join("stat")).expect("readable");
            // State follows the name, which is in parentheses (proc_pid_stat(5)).
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
        };
        let threads = || fs::read_dir(format!("/proc/{pid}/task")).expect("it lives").flatten();
        while stopped && !threads().all(is_stopped) {
            std::thread::yield_now();
        }
    }

    /// From now on clients with our certificate may read and write keys under `prefix`, and `key`, only.
    pub(crate) async fn restrict_to(&self, prefix: &str, key: &str) {
        let mut client = self.client().await;
        client.role_add("limited").await.expect("role");
        for permission in [Permission::read_write(prefix).with_prefix(), Permission::read_write(key)] {
            client.role_grant_permission("limited", permission).await.expect("granted");
        }
        let no_password = || Some(UserAddOptions::new().with_no_pwd());
        for (user, role) in [("client", "limited"), ("root", "root")] {
            client.user_add(user, "", no_password()).await.expect("user");
            if role == "root" {
                client.role_add(role).await.expect("role");
            }
            client.user_grant_role(user, role).await.expect("granted");
        }
        client.auth_enable().await.expect("enabled");
    }

    /// Path of the client configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("alpha")
    }

    /// Writes the client configuration file.
    pub(crate) fn write_config(&self) {
        self.write("key-file: client.key\ncert-file: client.crt\n");
    }

    /// Writes one with which the server refuses us.
    pub(crate) fn write_config_without_identity(&self) {
        self.write("");
    }

    fn write(&self, identity: &str) {
        let url = client_url(self.host, self.port);
        let text = format!("endpoints:\n- {url}\ntrusted-ca-file: ca.crt\n{identity}");
        fs::write(self.config(), text).expect("written");
    }

    /// A client of its own.
    pub(crate) async fn client(&self) -> Client {
        let read = |name: &str| fs::read(self.folder.path().join(name)).expect("readable");
        let tls = TlsOptions::new()
            .ca_certificate(Certificate::from_pem(read("ca.crt")))
            .identity(Identity::from_pem(read("client.crt"), read("client.key")));
        let options = ConnectOptions::new().with_tls(tls);
        Client::connect([client_url(self.host, self.port)], Some(options)).await.expect("connected")
    }

    /// All keys of the mesh, sorted.
    pub(crate) async fn keys(&self) -> Vec<KeyValue> {
        let options = GetOptions::new().with_prefix().with_sort(SortTarget::Key, SortOrder::Ascend);
        self.client().await.get("cilium/", Some(options)).await.expect("listed").take_kvs()
    }

    /// A watch on one key from now on.
    pub(crate) async fn watch(&self, key: &str) -> KeyWatch {
        let mut client = self.client().await;
        let mut stream = client.watch(key, Some(WatchOptions::new())).await.expect("watching");
        let created = stream.message().await.expect("answer").expect("open");
        assert!(created.created(), "the first answer says that the watch began");
        KeyWatch { _client: client, stream }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // Already dead after `kill`; nothing to be done about anything else in a test that ends.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A watch on one key.
pub(crate) struct KeyWatch {
    _client: Client,
    stream: WatchStream,
}

impl KeyWatch {
    /// The next value; `None` when the key was deleted.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let answer = self.stream.message().await.expect("answer").expect("open");
            if let Some(event) = answer.events().first() {
                return match event.event_type() {
                    EventType::Put => event.kv().map(|entry| entry.value().to_vec()),
                    EventType::Delete => None,
                };
            }
        }
    }

    /// Whether the next change is a put.
    pub(crate) async fn next_is_put(&mut self) -> bool {
        self.next().await.is_some()
    }
}

#[expect(clippy::print_stderr, reason = "a skipped test says why on its stderr")]
fn note(text: &str) {
    eprintln!("{text}");
}

/// A loopback address that no other server has.
fn own_host() -> Ipv4Addr {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    assert!(
        number < SERVERS_MAX,
        "a process has addresses for {SERVERS_MAX} servers (nextest runs each test in its own)"
    );
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 0, 0, 0).to_bits() + process::id() * SERVERS_MAX + number)
}

/// A name for the cluster of a server that starts without data, unlike any other.
fn own_token() -> String {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}", process::id(), STARTED.fetch_add(1, Ordering::Relaxed))
}

fn client_url(host: Ipv4Addr, port: u16) -> String {
    format!("https://{host}:{port}")
}

async fn spawn(folder: &TempDir, host: Ipv4Addr, port: u16) -> Child {
    let path = |name: &str| folder.path().join(name);
    let notify = path("notify");
    // Left over from the start before, if any.
    drop(fs::remove_file(&notify));
    let socket = UnixDatagram::bind(&notify).expect("bound");
    socket.set_nonblocking(true).expect("non-blocking");
    let socket = tokio::net::UnixDatagram::from_std(socket).expect("registered");
    let peer = format!("http://{host}:{PEER_PORT}");
    let client = client_url(host, port);
    let log = fs::File::create(path("etcd.log")).expect("log file");
    // The cluster's ID follows from addresses and token; a server with data has its ID already.
    let token = own_token();
    let process = Command::new("etcd")
        .args(["--name", "default", "--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster-token", &token])
        .args(["--initial-cluster", &format!("default={peer}")])
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--heartbeat-interval", "10", "--election-timeout", "100", "--client-cert-auth"])
        .arg("--data-dir")
        .arg(path("data"))
        .arg("--cert-file")
        .arg(path("server.crt"))
        .arg("--key-file")
        .arg(path("server.key"))
        .arg("--trusted-ca-file")
        .arg(path("ca.crt"))
        .env("NOTIFY_SOCKET", &notify)
        .stdout(log.try_clone().expect("log file"))
        .stderr(log)
        .spawn()
        .expect("etcd started");
    let mut message = [0; 256];
    let ready = tokio::time::timeout(START_TIMEOUT, async {
        loop {
            let length = socket.recv(&mut message).await.expect("notified");
            if message[..length].starts_with(b"READY=1") {
                break;
            }
        }
    });
    if ready.await.is_err() {
        let log = fs::read_to_string(path("etcd.log")).unwrap_or_default();
        panic!("etcd did not become ready:\n{log}");
    }
    process
}

/// Until when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Validity {
    /// For long.
    Valid,
    /// Until the end of 2001.
    Expired,
}

/// An authority, a server certificate for its address and a client certificate.
fn write_pki(folder: &TempDir, host: Ipv4Addr) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("valid");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "test authority");
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("key")).expect("signed");
    write(folder, "ca.crt", &ca.pem());
    for name in ["server", "client"] {
        write_certificate(folder, &ca, host, name, Validity::Valid);
    }
    ca
}

fn write_certificate(
    folder: &TempDir,
    ca: &CertifiedIssuer<'_, KeyPair>,
    host: Ipv4Addr,
    name: &str,
    validity: Validity,
) {
    let mut params = CertificateParams::new(vec![host.to_string()]).expect("valid");
    params.distinguished_name.push(DnType::CommonName, name);
    // etcd's own gateway is a client of the server with the server's certificate.
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    if validity == Validity::Expired {
        params.not_after = date_time_ymd(2001, 12, 31);
    }
    let key = KeyPair::generate().expect("key");
    let certificate = params.signed_by(&key, ca).expect("signed");
    write(folder, &format!("{name}.crt"), &certificate.pem());
    write(folder, &format!("{name}.key"), &key.serialize_pem());
}

fn write(folder: &TempDir, name: &str, text: &str) {
    fs::write(folder.path().join(name), text).expect("written");
}
