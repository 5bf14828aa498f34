//! The kvstore that a mesh really has: etcd.

mod config;
mod connection;
mod host_aliases;
mod watch;

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use etcd_client::{
    Client, GetOptions, KeyValue, KvClient, LeaseClient, PutOptions, ResponseHeader, SortOrder, SortTarget, WatchClient,
};

pub use config::{EtcdConfig, EtcdConfigError, EtcdConfigErrorKind};
pub use host_aliases::HostAliases;
pub use watch::EtcdWatch;

use crate::{
    RequestError, SessionError,
    error::chain,
    store::{Connect, Entry, KeyRange, Kvstore, Listing},
};
use config::ConfigFile;

/// Keys a page of a listing, Cilium's value.
const PAGE: i64 = 256;
/// Limit for a single request. Watches are not bound by it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest answer that is taken, in bytes: a page of 256 values of etcd's largest size, 1.5 MiB.
const ANSWER_SIZE_MAX: usize = 256 * 3 / 2 * 1024 * 1024;

/// Connects to the etcd that a client configuration file names. The file and the certificates that it names are read
/// anew each time, so that renewed ones need no restart.
#[derive(Debug)]
pub struct EtcdConnector {
    path: PathBuf,
    file: ConfigFile,
}

impl EtcdConnector {
    /// For the client configuration file at `path`.
    pub fn new(path: PathBuf) -> Self {
        Self { file: ConfigFile::new(path.clone()), path }
    }
}

impl Connect for EtcdConnector {
    type Store = EtcdStore;

    async fn connect(&mut self) -> Result<EtcdStore, SessionError> {
        let config = self.file.read().map_err(SessionError::Config)?;
        connection::dial(&config).await
    }

    fn check(&self) -> Result<(), String> {
        EtcdConfig::read(&self.path).map(drop).map_err(|error| chain(&error))
    }
}

/// The services of one etcd server that we use. Clones share the connection.
#[derive(Clone)]
pub struct EtcdStore {
    kv: KvClient,
    watch: WatchClient,
    lease: LeaseClient,
    cluster_id: Arc<OnceLock<u64>>,
}

impl EtcdStore {
    fn new(client: &Client) -> Self {
        Self {
            kv: client.kv_client().max_decoding_message_size(ANSWER_SIZE_MAX),
            watch: client.watch_client().max_decoding_message_size(ANSWER_SIZE_MAX),
            lease: client.lease_client(),
            cluster_id: Arc::default(),
        }
    }

    /// Checks an answer's header and returns the revision in it.
    fn revision(&self, act: &'static str, header: Option<&ResponseHeader>) -> Result<i64, SessionError> {
        let header = header.ok_or(SessionError::NoHeader { act })?;
        let now = header.cluster_id();
        let first = *self.cluster_id.get_or_init(|| now);
        if first == now { Ok(header.revision()) } else { Err(SessionError::OtherEtcd { first, now }) }
    }
}

impl Kvstore for EtcdStore {
    type Watch = EtcdWatch;

    async fn list(&self, act: &'static str, range: KeyRange<'_>) -> Result<Listing, SessionError> {
        let end = match range {
            // No end: etcd's way to say "this key".
            KeyRange::Key(_) => Vec::new(),
            KeyRange::Prefix(prefix) => range_end(prefix.as_bytes()),
        };
        let mut entries: Vec<Entry> = Vec::new();
        let mut start = range.start().as_bytes().to_vec();
        let mut revision = 0;
        let mut kv = self.kv.clone();
        loop {
            let mut options = GetOptions::new()
                .with_range(end.clone())
                .with_sort(SortTarget::Key, SortOrder::Ascend)
                .with_limit(PAGE);
            if revision != 0 {
                // Later pages are of the first one's revision.
                options = options.with_revision(revision);
            }
            let mut page = request(act, kv.get(start, Some(options))).await?;
            let page_revision = self.revision(act, page.header())?;
            if revision == 0 {
                revision = page_revision;
            }
            entries.extend(page.take_kvs().into_iter().map(entry));
            match entries.last() {
                Some(last) if page.more() => {
                    start = last.key.clone();
                    start.push(0);
                }
                _ => return Ok(Listing { entries, revision }),
            }
        }
    }

    async fn watch(&self, act: &'static str, range: KeyRange<'_>, after: i64) -> Result<EtcdWatch, SessionError> {
        let mut client = self.watch.clone();
        EtcdWatch::start(self.clone(), &mut client, act, range, after).await
    }

    fn put(
        &self,
        key: &str,
        value: Vec<u8>,
        lease: i64,
    ) -> impl Future<Output = Result<i64, SessionError>> + Send + 'static {
        let (this, mut kv, key) = (self.clone(), self.kv.clone(), key.to_owned());
        async move {
            let answer = request("put", kv.put(key, value, Some(PutOptions::new().with_lease(lease)))).await?;
            this.revision("put", answer.header())
        }
    }

    fn delete(&self, key: &str) -> impl Future<Output = Result<i64, SessionError>> + Send + 'static {
        let (this, mut kv, key) = (self.clone(), self.kv.clone(), key.to_owned());
        async move {
            let answer = request("delete", kv.delete(key, None)).await?;
            this.revision("delete", answer.header())
        }
    }

    async fn grant(&self, ttl: Duration) -> Result<i64, SessionError> {
        let mut lease = self.lease.clone();
        let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        Ok(request("lease grant", lease.grant(seconds, None)).await?.id())
    }

    fn keep_alive(&self, id: i64) -> impl Future<Output = Result<(), SessionError>> + Send + 'static {
        let mut lease = self.lease.clone();
        async move {
            let answer = tokio::time::timeout(REQUEST_TIMEOUT, lease.keep_alive(id)).await;
            match answer.map_err(|_| SessionError::TimedOut { act: "lease keepalive", after: REQUEST_TIMEOUT })? {
                Ok(_) => Ok(()),
                Err(etcd_client::Error::LeaseKeepAliveError(_)) => Err(SessionError::LeaseLost(id)),
                Err(error) => Err(failure("lease keepalive", error)),
            }
        }
    }

    fn cluster_id(&self) -> Option<u64> {
        self.cluster_id.get().copied()
    }
}

fn entry(found: KeyValue) -> Entry {
    let (revision, lease) = (found.mod_revision(), found.lease());
    let (key, value) = found.into_key_value();
    Entry { key, value, revision, lease }
}

/// Runs a request with the limit [`REQUEST_TIMEOUT`].
async fn request<T>(
    act: &'static str,
    future: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, SessionError> {
    tokio::time::timeout(REQUEST_TIMEOUT, future)
        .await
        .map_err(|_| SessionError::TimedOut { act, after: REQUEST_TIMEOUT })?
        .map_err(|error| failure(act, error))
}

/// What an error of the client means to us.
fn failure(act: &'static str, error: etcd_client::Error) -> SessionError {
    let error = match error {
        etcd_client::Error::GRpcStatus(status) => match status.code() {
            // Pages after the first ask for an old revision, which may be compacted by then.
            tonic::Code::OutOfRange => return SessionError::Compacted { act },
            tonic::Code::PermissionDenied => RequestError::Refused(status.message().to_owned()),
            _ => RequestError::Status { code: status.code().to_string(), message: status.message().to_owned() },
        },
        other => RequestError::Transport(chain(&other)),
    };
    SessionError::Request { act, error }
}

/// The first key after all keys that start with `prefix`.
fn range_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // Every key: etcd's way to say "no end".
    vec![0]
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case(b"cilium/.heartbeat" => b"cilium/.heartbeau".to_vec() ; "last byte plus one")]
    #[test_case(b"a\xff" => b"b".to_vec() ; "a byte that cannot grow is dropped")]
    #[test_case(b"\xff" => vec![0] ; "no end")]
    fn range_ends(prefix: &[u8]) -> Vec<u8> {
        range_end(prefix)
    }
}
