//! The connection, from within the cluster's network namespace.

use std::{fmt, fs, io, path::Path, sync::Arc, thread, time::Duration};

use etcd_client::{Certificate, Client, ConnectOptions, DeleteOptions, GetOptions, Identity, PutOptions, TlsOptions};
use meshbed_driver::{ClusterState, SystemError, in_netns};
use tokio::{
    runtime::{Builder, Handle},
    sync::{Notify, oneshot},
    time::timeout,
};

use crate::{Compacted, Entry, EtcdError, EtcdErrorKind, Listing};

/// Name of the client certificate with full rights in a cluster's `pki` folder.
const CERTIFICATE: &str = "etcd-client-root";
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long one request may take, connecting again included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to the etcd of a cluster, with full rights. Cheap to clone. It connects again by itself after etcd was gone;
/// requests in between fail.
#[derive(Clone)]
pub struct Etcd {
    cluster: String,
    client: Client,
    thread: Arc<Thread>,
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Etcd").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// The thread in the namespace, on which everything happens that opens sockets. Ends when the last clone is dropped.
#[derive(Debug)]
struct Thread {
    runtime: Handle,
    end: Arc<Notify>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.end.notify_one();
    }
}

impl Etcd {
    /// Connects to the etcd of `cluster`. Its certificates are read now.
    ///
    /// # Errors
    ///
    /// When a certificate or the namespace is unusable. That etcd cannot be reached shows with the first request.
    pub async fn connect(cluster: &ClusterState) -> Result<Self, EtcdError> {
        Self::connect_as(cluster, CERTIFICATE).await
    }

    /// Like [`Self::connect`], with another client certificate of the cluster's `pki` folder and the rights that it has.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn connect_as(cluster: &ClusterState, certificate: &str) -> Result<Self, EtcdError> {
        let failed = |kind| EtcdError { cluster: cluster.name.to_string(), act: "connect".to_owned(), kind };
        let options = options(&cluster.pki, certificate).map_err(|error| failed(EtcdErrorKind::System(error)))?;
        let (sender, receiver) = oneshot::channel();
        let (netns, endpoint) = (cluster.netns.clone(), cluster.etcd_endpoint.clone());
        let act = || "start the thread of an etcd connection".to_owned();
        let start = thread::Builder::new().name("etcd".to_owned()).spawn(move || {
            // What goes wrong is told through the channel; after that there is nothing to return.
            let outcome = in_netns(&netns, || serve(&endpoint, options, sender));
            if let Err(error) = outcome {
                tracing::warn!(error = &error as &dyn std::error::Error, "connection to etcd ended");
            }
        });
        start.map_err(|source| failed(EtcdErrorKind::System(SystemError { act: act(), source })))?;
        let (client, thread) =
            receiver.await.map_err(|_| failed(EtcdErrorKind::Closed))?.map_err(|error| failed(error.into()))?;
        Ok(Self { cluster: cluster.name.to_string(), client, thread: Arc::new(thread) })
    }

    /// Everything under `prefix`, in the order of keys.
    pub async fn list(&self, prefix: &str) -> Result<Listing, EtcdError> {
        let (mut client, key) = (self.client.clone(), prefix.to_owned());
        let request = async move {
            let answer = client.get(key, Some(GetOptions::new().with_prefix())).await?;
            let revision = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
            Ok(Listing { revision, entries: answer.kvs().iter().map(Entry::from).collect() })
        };
        self.ask(|| format!("list `{prefix}`"), request).await
    }

    /// One key; `None` if it is not there.
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, EtcdError> {
        let (mut client, wanted) = (self.client.clone(), key.to_owned());
        let request = async move { Ok(client.get(wanted, None).await?.kvs().first().map(Entry::from)) };
        self.ask(|| format!("get `{key}`"), request).await
    }

    /// Writes a key, under `lease` if given. Returns the revision of the write.
    pub async fn put(&self, key: &str, value: &[u8], lease: Option<i64>) -> Result<i64, EtcdError> {
        let (mut client, name, value) = (self.client.clone(), key.to_owned(), value.to_vec());
        let options = lease.map(|lease| PutOptions::new().with_lease(lease));
        let request = async move {
            let answer = client.put(name, value, options).await?;
            Ok(answer.header().map_or(0, etcd_client::ResponseHeader::revision))
        };
        self.ask(|| format!("put `{key}`"), request).await
    }

    /// Deletes a key. Returns what it was; `None` if it was not there.
    pub async fn delete(&self, key: &str) -> Result<Option<Entry>, EtcdError> {
        let (mut client, name) = (self.client.clone(), key.to_owned());
        let request = async move {
            let answer = client.delete(name, Some(DeleteOptions::new().with_prev_key())).await?;
            Ok(answer.prev_kvs().first().map(Entry::from))
        };
        self.ask(|| format!("delete `{key}`"), request).await
    }

    /// Forgets all history: whoever watches from an older revision is refused. Proven by reading one, which is refused too.
    pub async fn compact(&self) -> Result<Compacted, EtcdError> {
        let mut client = self.client.clone();
        let request = async move {
            // The newest revision can still be read afterwards; one more makes sure that there is an older one.
            let answer = client.put(MARKER, "", None).await?;
            let revision = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
            client.delete(MARKER, None).await?;
            client.compact(revision + 1, None).await?;
            match client.get(MARKER, Some(GetOptions::new().with_revision(revision))).await {
                Err(_) => Ok(Compacted { revision: revision + 1 }),
                Ok(_) => Err(EtcdErrorKind::NotSeen(format!("revision {revision} can still be read"))),
            }
        };
        self.ask(|| "compact all history".to_owned(), request).await
    }

    /// Runs a request on the thread of the connection.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        act: impl Fn() -> String,
        request: impl Future<Output = Result<T, EtcdErrorKind>> + Send + 'static,
    ) -> Result<T, EtcdError> {
        let failed = |kind| EtcdError { cluster: self.cluster.clone(), act: act(), kind };
        let limited = async move {
            timeout(REQUEST_TIMEOUT, request).await.unwrap_or(Err(EtcdErrorKind::TimedOut(REQUEST_TIMEOUT)))
        };
        self.thread.runtime.spawn(limited).await.map_err(|_| failed(EtcdErrorKind::Closed))?.map_err(failed)
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.thread.runtime
    }
}

/// Outside of everything that an agent watches.
const MARKER: &str = "meshbed/compaction";

/// Runs in the namespace until the connection is dropped.
fn serve(
    endpoint: &str,
    options: ConnectOptions,
    sender: oneshot::Sender<Result<(Client, Thread), etcd_client::Error>>,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let end = Arc::new(Notify::new());
    let thread = Thread { runtime: runtime.handle().clone(), end: Arc::clone(&end) };
    runtime.block_on(async move {
        let connected = Client::connect([endpoint], Some(options)).await;
        // When nobody waits any more, the thread ends by the drop of what was sent.
        drop(sender.send(connected.map(|client| (client, thread))));
        end.notified().await;
    });
    Ok(())
}

fn options(pki: &Path, certificate: &str) -> Result<ConnectOptions, SystemError> {
    let read = |name: &str| {
        let path = pki.join(name);
        fs::read(&path).map_err(|source| SystemError { act: format!("read `{}`", path.display()), source })
    };
    let identity = Identity::from_pem(read(&format!("{certificate}.crt"))?, read(&format!("{certificate}.key"))?);
    let tls = TlsOptions::new().ca_certificate(Certificate::from_pem(read("ca.crt")?)).identity(identity);
    Ok(ConnectOptions::new().with_tls(tls).with_connect_timeout(CONNECT_TIMEOUT))
}
