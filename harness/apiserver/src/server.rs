//! Listening, TLS hand-shakes and the life of connections.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::cluster::{Cluster, ClusterError};
use crate::http::{Api, Peer};
use crate::misbehaviour::Connection;
use crate::notify;
use crate::options::Options;
use crate::store::JournalError;
use crate::tls::{self, TlsError};

/// How long a client may take for its TLS hand-shake; a connection that never speaks must not stay for ever.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long nobody is let in after that failed: without descriptors left, the next attempt would fail at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long requests in flight may take after the order to stop; watches end at once.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// The API server could not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The address could not be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The inherited file descriptor is no usable listener.
    #[error("cannot listen on inherited file descriptor {fd}")]
    InheritedListener {
        /// The file descriptor's number.
        fd: RawFd,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// TLS material could not be used.
    #[error("cannot set up TLS")]
    Tls(#[source] TlsError),
    /// The token file could not be read.
    #[error("cannot read token file `{path}`")]
    Token {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The token file is empty, which would let everybody in.
    #[error("token file `{path}` is empty")]
    EmptyToken {
        /// The file.
        path: PathBuf,
    },
    /// The service CIDR has no room for the service `kubernetes`.
    #[error("service CIDR {0} is too small: it needs at least 4 addresses")]
    ServiceCidr(ipnet::Ipv4Net),
    /// The folder that the cluster is kept in cannot be read, or not be written any more.
    #[error("cannot keep the cluster in its data folder")]
    Data(#[source] JournalError),
    /// The admin socket could not be made.
    #[error("cannot listen on admin socket `{path}`")]
    AdminSocket {
        /// The socket.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Whoever started the process could not be told that it is ready.
    #[error("cannot report readiness to NOTIFY_SOCKET")]
    Notify(#[source] io::Error),
}

/// Serves the API until `shutdown` resolves; reports `READY=1` once every listener accepts.
pub async fn run(options: Options, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
    let server = Server::bind(options).await?;
    notify::ready().map_err(RunError::Notify)?;
    server.serve(shutdown).await
}

/// An API server that listens and has its first objects, but answers nobody yet.
pub struct Server {
    listeners: Vec<TcpListener>,
    admin: Option<UnixListener>,
    address: SocketAddr,
    tls: TlsAcceptor,
    api: Arc<Api>,
    closing: CancellationToken,
    streams: u32,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Reads the files that `options` names, listens, and makes the namespaces and the service every cluster has.
    pub async fn bind(options: Options) -> Result<Self, RunError> {
        let tls = TlsAcceptor::from(tls::server_config(&options).map_err(RunError::Tls)?);
        let path = &options.token_file;
        let token = std::fs::read_to_string(path).map_err(|source| RunError::Token { path: path.clone(), source })?;
        let token = token.trim().to_owned();
        if token.is_empty() {
            return Err(RunError::EmptyToken { path: path.clone() });
        }
        let listen = |source| RunError::Listen { address: options.listen, source };
        let listener = TcpListener::bind(options.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let mut listeners = vec![listener];
        if let Some(fd) = options.listen_fd {
            listeners.push(inherited(fd).map_err(|source| RunError::InheritedListener { fd, source })?);
        }
        let closing = CancellationToken::new();
        let cluster = Cluster::new(&options, address).map_err(|error| match error {
            ClusterError::ServiceRange => RunError::ServiceCidr(options.service_cidr),
            ClusterError::Journal(source) => RunError::Data(source),
        })?;
        let bind =
            |path: &PathBuf| admin::bind(path).map_err(|source| RunError::AdminSocket { path: path.clone(), source });
        let admin = options.admin_socket.as_ref().map(bind).transpose()?;
        let api = Arc::new(Api::new(Arc::new(cluster), token, options.limits, closing.clone()));
        tracing::info!(cluster = options.cluster_name, %address, "API server listens");
        Ok(Self { listeners, admin, address, tls, api, closing, streams: options.limits.streams })
    }

    /// The address that [`Options::listen`] became; tells the port that 0 turned into.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until `shutdown` resolves, then ends watches and lets the rest finish within a deadline. It ends
    /// by itself when changes can no longer be kept in the data folder.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        let cluster = Arc::clone(&self.api.cluster);
        let mut others = JoinSet::new();
        others.spawn({
            let cluster = Arc::clone(&cluster);
            async move { cluster.keep_time().await }
        });
        if let Some(listener) = self.admin {
            let misbehaviour = Arc::clone(&self.api.misbehaviour);
            let subject = admin::Subject { cluster: Arc::clone(&cluster), misbehaviour };
            others.spawn(admin::serve(listener, subject, self.closing.clone()));
        }
        let mut acceptors = JoinSet::new();
        for listener in self.listeners {
            let acceptor = Acceptor {
                tls: self.tls.clone(),
                api: Arc::clone(&self.api),
                closing: self.closing.clone(),
                streams: self.streams,
            };
            acceptors.spawn(acceptor.accept(listener));
        }
        tokio::select! {
            () = shutdown => {}
            () = cluster.failed() => {}
        }
        self.closing.cancel();
        acceptors.join_all().await;
        others.shutdown().await;
        cluster.failure().map_or(Ok(()), |error| Err(RunError::Data(error)))
    }
}

/// Takes connections off one listener, each served by a task of its own.
struct Acceptor {
    tls: TlsAcceptor,
    api: Arc<Api>,
    closing: CancellationToken,
    streams: u32,
}

impl Acceptor {
    /// Accepts until the server closes; returns when its connections have ended or the drain deadline has passed.
    async fn accept(self, listener: TcpListener) {
        let acceptor = Arc::new(self);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = acceptor.closing.cancelled() => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => { connections.spawn(Arc::clone(&acceptor).connection(stream)); }
                    // Out of descriptors or a client that went away: neither is a reason to stop serving the others.
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        // It ends early when the server does, and either way the loop goes on.
                        drop(tokio::time::timeout(ACCEPT_PAUSE, acceptor.closing.cancelled()).await);
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
        drop(listener);
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_TIMEOUT, drained).await.is_err() {
            tracing::debug!("connections outlived the drain deadline");
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, self.tls.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%error, "TLS hand-shake failed"),
            Err(_) => return tracing::debug!("TLS hand-shake timed out"),
        };
        // The verifier has checked any certificate that was shown, so its presence is enough.
        let peer = match stream.get_ref().1.peer_certificates() {
            Some([_, ..]) => Peer::Certified,
            _ => Peer::Anonymous,
        };
        let api = Arc::clone(&self.api);
        let life = Arc::new(Connection::new());
        let requests = Arc::clone(&life);
        let service = service_fn(move |request| {
            let (api, life) = (Arc::clone(&api), Arc::clone(&requests));
            async move { Ok::<_, std::convert::Infallible>(api.answer(request, peer, &life).await) }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new());
        builder.http2().timer(TokioTimer::new()).max_concurrent_streams(self.streams);
        let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = life.cut(&self.api.misbehaviour) => return tracing::debug!("connection cut on order"),
            () = self.closing.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(%error, "connection ended");
        }
    }
}

#[expect(unsafe_code, reason = "a file descriptor number on the command line is the contract with the driver")]
fn inherited(fd: RawFd) -> io::Result<TcpListener> {
    // SAFETY: the caller handed this descriptor over by naming it in `Options::listen_fd`, which documents that
    // ownership moves; nothing else in the process uses it, and a number that is not open fails in the next call.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    let listener = std::net::TcpListener::from(owned);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}
