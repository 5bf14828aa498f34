//! One suite for every kvstore: what holds on a real etcd holds in memory, faults included.

use std::time::Duration;

use mesh_kvstore::{
    EtcdConnector, MemoryServer, RequestError, SessionError,
    store::{Change, Connect, KeyRange, Kvstore, Watch},
};

use crate::{server::Etcd, soon};

/// A kvstore that faults can be ordered for.
trait Server {
    type Connector: Connect;

    fn connector(&self) -> Self::Connector;
    /// Forgets all changes until now.
    async fn compact(&mut self);
    /// Ends a lease.
    async fn revoke(&mut self, lease: i64);
    /// Loses all data and is another cluster.
    async fn reset(&mut self);
    /// Answers nobody, or does again.
    fn stall(&mut self, stalled: bool);
    /// Lets clients do what they like under `open/` and nothing else.
    async fn restrict(&mut self);
}

impl Server for MemoryServer {
    type Connector = Self;

    fn connector(&self) -> Self {
        self.clone()
    }

    async fn compact(&mut self) {
        Self::compact(self);
    }

    async fn revoke(&mut self, lease: i64) {
        Self::revoke(self, lease);
    }

    async fn reset(&mut self) {
        Self::reset(self);
    }

    fn stall(&mut self, stalled: bool) {
        Self::stall(self, stalled);
    }

    async fn restrict(&mut self) {
        self.allow_only(&[KeyRange::Prefix("open/"), KeyRange::Key("one")]);
    }
}

impl Server for Etcd {
    type Connector = EtcdConnector;

    fn connector(&self) -> EtcdConnector {
        EtcdConnector::new(self.config())
    }

    async fn compact(&mut self) {
        let mut client = self.client().await;
        let revision = client.get("any", None).await.expect("read").header().expect("header").revision();
        client.compact(revision, None).await.expect("compacted");
    }

    async fn revoke(&mut self, lease: i64) {
        self.client().await.lease_revoke(lease).await.expect("revoked");
    }

    async fn reset(&mut self) {
        self.kill();
        self.restart_empty().await;
    }

    fn stall(&mut self, stalled: bool) {
        self.stop(stalled);
    }

    async fn restrict(&mut self) {
        self.restrict_to("open/", "one").await;
    }
}

async fn connect<S: Server>(server: &S) -> <S::Connector as Connect>::Store {
    server.connector().connect().await.expect("connected")
}

async fn next(watch: &mut impl Watch) -> Result<Change, SessionError> {
    soon("a change", watch.next()).await
}

fn put(key: &str, value: &str, revision: i64) -> Change {
    Change::Put { key: key.into(), value: value.into(), revision }
}

fn deletion(key: &str, revision: i64) -> Change {
    Change::Delete { key: key.into(), revision }
}

async fn keys_and_watches<S: Server>(server: S) {
    let store = connect(&server).await;
    let empty = store.list("test", KeyRange::Prefix("a/")).await.expect("listed");
    assert!(empty.entries.is_empty());
    let mut watch = store.watch("test", KeyRange::Prefix("a/"), empty.revision).await.expect("watching");
    let first = store.put("a/1", "one".into(), 0).await.expect("put");
    assert_eq!(first, empty.revision + 1, "each change is a revision");
    store.put("ab", "elsewhere".into(), 0).await.expect("put");
    let second = store.put("a/2", "two".into(), 0).await.expect("put");
    let gone = store.delete("a/1").await.expect("deleted");
    assert_eq!(store.delete("a/1").await.expect("no error"), gone, "nothing to delete, no revision");

    assert_eq!(next(&mut watch).await.expect("a change"), put("a/1", "one", first));
    assert_eq!(next(&mut watch).await.expect("a change"), put("a/2", "two", second));
    assert_eq!(next(&mut watch).await.expect("a change"), deletion("a/1", gone));
    let listing = store.list("test", KeyRange::Prefix("a/")).await.expect("listed");
    assert_eq!(listing.revision, gone);
    let [entry] = listing.entries.as_slice() else { panic!("{listing:?}") };
    assert_eq!((entry.key.as_slice(), entry.value.as_slice()), (&b"a/2"[..], &b"two"[..]));
    assert_eq!((entry.revision, entry.lease), (second, 0));

    // A watch sees what happened before it began, if it asks for it.
    let mut late = store.watch("test", KeyRange::Prefix("a/"), first).await.expect("watching");
    assert_eq!(next(&mut late).await.expect("a change"), put("a/2", "two", second));
    // A wait that is given up loses nothing.
    drop(tokio::time::timeout(Duration::ZERO, watch.next()).await);
    let third = store.put("a/3", "three".into(), 0).await.expect("put");
    assert_eq!(next(&mut watch).await.expect("a change"), put("a/3", "three", third));
}

async fn more_keys_than_a_page<S: Server>(server: S) {
    let store = connect(&server).await;
    for n in 0..600 {
        store.put(&format!("a/{n:03}"), Vec::new(), 0).await.expect("put");
    }
    let listing = store.list("test", KeyRange::Prefix("a/")).await.expect("listed");
    let expected: Vec<Vec<u8>> = (0..600).map(|n| format!("a/{n:03}").into_bytes()).collect();
    assert!(listing.entries.into_iter().map(|entry| entry.key).eq(expected), "all of them, sorted");
}

async fn compaction<S: Server>(mut server: S) {
    let store = connect(&server).await;
    let old = store.put("a/1", "one".into(), 0).await.expect("put");
    store.put("a/1", "two".into(), 0).await.expect("put");
    store.put("a/1", "three".into(), 0).await.expect("put");
    server.compact().await;
    let now = store.list("test", KeyRange::Prefix("a/")).await.expect("listed").revision;
    let mut watch = store.watch("test", KeyRange::Prefix("a/"), old).await.expect("asked for");
    assert!(matches!(next(&mut watch).await, Err(SessionError::Compacted { .. })), "from a revision that is forgotten");
    let mut watch = store.watch("test", KeyRange::Prefix("a/"), now).await.expect("asked for");
    let four = store.put("a/1", "four".into(), 0).await.expect("put");
    assert_eq!(next(&mut watch).await.expect("a change"), put("a/1", "four", four));
}

async fn leases<S: Server>(mut server: S) {
    let store = connect(&server).await;
    let lease = store.grant(Duration::from_secs(60)).await.expect("granted");
    store.put("a/1", "one".into(), lease).await.expect("put");
    store.put("a/2", "two".into(), lease).await.expect("put");
    let last = store.put("a/3", "three".into(), 0).await.expect("put");
    store.keep_alive(lease).await.expect("alive");
    assert_eq!(store.list("test", KeyRange::Prefix("a/1")).await.expect("listed").entries[0].lease, lease);
    let mut watch = store.watch("test", KeyRange::Prefix("a/"), last).await.expect("watching");
    server.revoke(lease).await;
    let mut gone = [next(&mut watch).await.expect("a change"), next(&mut watch).await.expect("a change")];
    gone.sort_by_key(|change| change.key().to_vec());
    assert_eq!(gone.map(|change| change.key().to_vec()), [b"a/1".to_vec(), b"a/2".to_vec()]);
    assert_eq!(
        store.list("test", KeyRange::Prefix("a/")).await.expect("listed").entries.len(),
        1,
        "what hangs on no lease stays"
    );
    assert!(matches!(store.keep_alive(lease).await, Err(SessionError::LeaseLost(lost)) if lost == lease));
    let refused = store.put("a/4", "four".into(), lease).await;
    assert!(matches!(refused, Err(SessionError::Request { .. })), "{refused:?}");
}

async fn a_lease_that_nobody_keeps<S: Server>(server: S) {
    let store = connect(&server).await;
    let lease = store.grant(Duration::from_secs(1)).await.expect("granted");
    let revision = store.put("a/1", "one".into(), lease).await.expect("put");
    let mut watch = store.watch("test", KeyRange::Prefix("a/"), revision).await.expect("watching");
    assert!(matches!(next(&mut watch).await, Ok(Change::Delete { .. })));
    assert!(matches!(store.keep_alive(lease).await, Err(SessionError::LeaseLost(_))));
}

async fn another_cluster_behind_the_same_address<S: Server>(mut server: S) {
    let store = connect(&server).await;
    store.put("a/1", "one".into(), 0).await.expect("put");
    let before = store.cluster_id().expect("answered");
    server.reset().await;
    let error = soon("an answer", async {
        loop {
            match store.list("test", KeyRange::Prefix("a/")).await {
                // A connection that broke is made anew beneath us.
                Err(SessionError::Request { .. }) => {}
                Err(error) => return error,
                Ok(listing) => panic!("taken for the same: {listing:?}"),
            }
        }
    })
    .await;
    assert!(matches!(error, SessionError::OtherEtcd { first, now } if first == before && now != before), "{error}");
    let anew = connect(&server).await;
    assert!(anew.list("test", KeyRange::Prefix("a/")).await.expect("listed").entries.is_empty());
    assert_ne!(anew.cluster_id(), Some(before));
}

async fn what_is_not_allowed<S: Server>(mut server: S) {
    let store = connect(&server).await;
    store.put("open/1", "one".into(), 0).await.expect("put");
    store.put("secret/1", "one".into(), 0).await.expect("put");
    store.put("one", "one".into(), 0).await.expect("put");
    store.put("one-more", "two".into(), 0).await.expect("put");
    server.restrict().await;
    assert_eq!(store.list("test", KeyRange::Prefix("open/")).await.expect("allowed").entries.len(), 1);
    store.put("open/2", "two".into(), 0).await.expect("allowed");
    let one = store.list("test", KeyRange::Key("one")).await.expect("allowed");
    assert_eq!(one.entries.iter().map(|entry| entry.key.as_slice()).collect::<Vec<_>>(), [b"one"]);
    let mut watch = store.watch("test", KeyRange::Key("one"), one.revision).await.expect("allowed");
    let revision = store.put("one", "1".into(), 0).await.expect("allowed");
    assert_eq!(next(&mut watch).await.expect("a change"), put("one", "1", revision));
    let refused = |result: Result<(), SessionError>| {
        let Err(SessionError::Request { error: RequestError::Refused(words), .. }) = result else {
            panic!("{result:?}");
        };
        assert_eq!(words, "etcdserver: permission denied");
    };
    refused(store.list("test", KeyRange::Prefix("secret/")).await.map(drop));
    // A right to one key is none to what begins with it.
    refused(store.list("test", KeyRange::Prefix("one")).await.map(drop));
    refused(store.put("secret/2", "two".into(), 0).await.map(drop));
    refused(store.delete("secret/1").await.map(drop));
}

async fn a_server_that_hangs<S: Server>(mut server: S) {
    const LONG: Duration = Duration::from_millis(300);
    let store = connect(&server).await;
    let revision = store.put("a/1", "one".into(), 0).await.expect("put");
    let mut watch = store.watch("test", KeyRange::Prefix("a/"), revision).await.expect("watching");
    server.stall(true);
    assert!(tokio::time::timeout(LONG, store.list("test", KeyRange::Prefix("a/"))).await.is_err(), "no answer");
    assert!(tokio::time::timeout(LONG, watch.next()).await.is_err(), "no news");
    server.stall(false);
    let listing = soon("an answer", store.list("test", KeyRange::Prefix("a/"))).await.expect("listed");
    assert_eq!(listing.entries.len(), 1);
    let two = store.put("a/2", "two".into(), 0).await.expect("put");
    assert_eq!(next(&mut watch).await.expect("a change"), put("a/2", "two", two), "the same watch goes on");
}

/// Runs each test on both.
macro_rules! suite {
    ($($test:ident),* $(,)?) => {
        mod in_memory {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::MemoryServer::new()).await;
            })*
        }

        mod on_etcd {
            $(#[tokio::test]
            async fn $test() {
                let Some(etcd) = super::Etcd::start().await else { return };
                super::$test(etcd).await;
            })*
        }
    };
}

suite!(
    keys_and_watches,
    more_keys_than_a_page,
    compaction,
    leases,
    a_lease_that_nobody_keeps,
    another_cluster_behind_the_same_address,
    what_is_not_allowed,
    a_server_that_hangs,
);
