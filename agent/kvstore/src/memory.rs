//! A kvstore in memory: revisions, watches, leases and compaction as etcd has them, and the faults of a real one on order.
//!
//! For tests of whoever reads or writes a kvstore: with tokio's paused clock hours pass in no time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::{
    RequestError, SessionError,
    store::{Change, Connect, Entry, KeyRange, Kvstore, Listing, Watch},
};

/// The server. Clones are the same one.
#[derive(Clone, Debug)]
pub struct MemoryServer {
    data: Arc<Mutex<Data>>,
    /// Told whenever anything changed that a request may wait for.
    changed: watch::Sender<u64>,
}

#[derive(Debug)]
struct Data {
    cluster_id: u64,
    revision: i64,
    /// Changes up to this revision are forgotten.
    compacted: i64,
    entries: BTreeMap<String, Entry>,
    history: Vec<Change>,
    leases: BTreeMap<i64, Lease>,
    last_lease: i64,
    /// Connections made before this number are broken.
    epoch: u64,
    running: bool,
    stalled: bool,
    /// What may be read and written: prefixes, then single keys. Everything when there is nothing here.
    allowed: Option<(BTreeSet<String>, BTreeSet<String>)>,
}

#[derive(Debug)]
struct Lease {
    ttl: Duration,
    ends: Instant,
}

impl Default for MemoryServer {
    fn default() -> Self {
        let data = Data {
            cluster_id: 1,
            revision: 1,
            compacted: 0,
            entries: BTreeMap::new(),
            history: Vec::new(),
            leases: BTreeMap::new(),
            last_lease: 0,
            epoch: 0,
            running: true,
            stalled: false,
            allowed: None,
        };
        Self { data: Arc::new(Mutex::new(data)), changed: watch::Sender::new(0) }
    }
}

impl MemoryServer {
    /// One that runs and holds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all changes up to now.
    pub fn compact(&self) {
        self.change(|data| {
            data.compacted = data.revision;
            data.history.clear();
        });
    }

    /// Ends a lease, and all keys that hang on it.
    pub fn revoke(&self, lease: i64) {
        self.change(|data| data.end_lease(lease));
    }

    /// Breaks all connections and takes no new ones. The data stays.
    pub fn stop(&self) {
        self.change(|data| {
            data.running = false;
            data.epoch += 1;
        });
    }

    /// Takes connections again.
    pub fn start(&self) {
        self.change(|data| data.running = true);
    }

    /// Loses all data, leases included, and becomes another etcd cluster, at the same address. Connections stay: whoever goes
    /// on is told by the other cluster ID.
    pub fn reset(&self) {
        self.change(|data| {
            data.cluster_id += 1;
            data.revision = 1;
            data.compacted = 0;
            data.entries.clear();
            data.history.clear();
            data.leases.clear();
        });
    }

    /// Answers nobody any more, or does again: as a process that is stopped by SIGSTOP.
    pub fn stall(&self, stalled: bool) {
        self.change(|data| data.stalled = stalled);
    }

    /// Refuses to read or write anything but these ranges, as a role that has no others.
    pub fn allow_only(&self, ranges: &[KeyRange<'_>]) {
        let mut allowed = (BTreeSet::new(), BTreeSet::new());
        for range in ranges {
            match range {
                KeyRange::Prefix(prefix) => allowed.0.insert((*prefix).to_owned()),
                KeyRange::Key(key) => allowed.1.insert((*key).to_owned()),
            };
        }
        self.change(|data| data.allowed = Some(allowed));
    }

    /// All keys, sorted.
    pub fn keys(&self) -> Vec<Entry> {
        self.lock().entries.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Data> {
        // No panic can come between two changes that belong together.
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<R>(&self, change: impl FnOnce(&mut Data) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.send_modify(|generation| *generation += 1);
        result
    }
}

impl Data {
    fn put(&mut self, key: &str, value: Vec<u8>, lease: i64) -> i64 {
        self.revision += 1;
        let (bytes, revision) = (key.as_bytes().to_vec(), self.revision);
        let entry = Entry { key: bytes.clone(), value: value.clone(), revision, lease };
        self.entries.insert(key.to_owned(), entry);
        self.history.push(Change::Put { key: bytes, value, revision });
        revision
    }

    fn delete(&mut self, keys: &[String]) -> i64 {
        let gone: Vec<&String> = keys.iter().filter(|key| self.entries.remove(*key).is_some()).collect();
        if !gone.is_empty() {
            self.revision += 1;
            let revision = self.revision;
            self.history.extend(gone.into_iter().map(|key| Change::Delete { key: key.clone().into_bytes(), revision }));
        }
        self.revision
    }

    fn end_lease(&mut self, lease: i64) {
        self.leases.remove(&lease);
        let hung: Vec<String> =
            self.entries.iter().filter(|(_, entry)| entry.lease == lease).map(|(key, _)| key.clone()).collect();
        self.delete(&hung);
    }

    fn allows(&self, range: KeyRange<'_>) -> bool {
        let Some((prefixes, keys)) = &self.allowed else { return true };
        let prefixes = prefixes.iter().map(|prefix| KeyRange::Prefix(prefix));
        prefixes.chain(keys.iter().map(|key| KeyRange::Key(key))).any(|allowed| allowed.covers(range))
    }
}

impl Connect for MemoryServer {
    type Store = MemoryStore;

    async fn connect(&mut self) -> Result<MemoryStore, SessionError> {
        let data = self.lock();
        if !data.running {
            return Err(SessionError::Connect {
                endpoint: "memory".to_owned(),
                reason: "connection refused".to_owned(),
            });
        }
        Ok(MemoryStore { server: self.clone(), epoch: data.epoch, cluster_id: data.cluster_id })
    }

    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A connection to a [`MemoryServer`].
#[derive(Clone, Debug)]
pub struct MemoryStore {
    server: MemoryServer,
    epoch: u64,
    cluster_id: u64,
}

impl MemoryStore {
    /// Does something on the server as soon as it answers.
    async fn request<R>(
        &self,
        act: &'static str,
        range: Option<KeyRange<'_>>,
        mut action: impl FnMut(&mut Data) -> R,
    ) -> Result<R, SessionError> {
        let mut changed = self.server.changed.subscribe();
        loop {
            changed.mark_unchanged();
            {
                let mut data = self.server.lock();
                self.check(act, &data)?;
                if !data.stalled {
                    if !range.is_none_or(|range| data.allows(range)) {
                        let error = RequestError::Refused("etcdserver: permission denied".to_owned());
                        return Err(SessionError::Request { act, error });
                    }
                    let before = data.revision;
                    let result = action(&mut data);
                    let moved = data.revision != before;
                    drop(data);
                    if moved {
                        self.server.changed.send_modify(|generation| *generation += 1);
                    }
                    return Ok(result);
                }
            }
            // The sender lives in the server that we hold.
            drop(changed.changed().await);
        }
    }

    fn check(&self, act: &'static str, data: &Data) -> Result<(), SessionError> {
        if data.epoch != self.epoch {
            let error = RequestError::Transport("connection reset".to_owned());
            return Err(SessionError::Request { act, error });
        }
        if data.cluster_id != self.cluster_id {
            return Err(SessionError::OtherEtcd { first: self.cluster_id, now: data.cluster_id });
        }
        Ok(())
    }
}

impl Kvstore for MemoryStore {
    type Watch = MemoryWatch;

    async fn list(&self, act: &'static str, range: KeyRange<'_>) -> Result<Listing, SessionError> {
        self.request(act, Some(range), |data| {
            let entries = data.entries.range(range.start().to_owned()..);
            let entries = entries.take_while(|(key, _)| range.holds(key.as_bytes())).map(|(_, entry)| entry.clone());
            Listing { entries: entries.collect(), revision: data.revision }
        })
        .await
    }

    async fn watch(&self, act: &'static str, range: KeyRange<'_>, after: i64) -> Result<MemoryWatch, SessionError> {
        self.request(act, Some(range), |_| ()).await?;
        let whole_key = matches!(range, KeyRange::Key(_));
        Ok(MemoryWatch { store: self.clone(), act, start: range.start().to_owned(), whole_key, seen: after, told: 0 })
    }

    fn put(
        &self,
        key: &str,
        value: Vec<u8>,
        lease: i64,
    ) -> impl Future<Output = Result<i64, SessionError>> + Send + 'static {
        let (this, key) = (self.clone(), key.to_owned());
        async move {
            let put = |data: &mut Data| {
                let known = lease == 0 || data.leases.contains_key(&lease);
                known.then(|| data.put(&key, value.clone(), lease))
            };
            let revision = this.request("put", Some(KeyRange::Key(&key)), put).await?;
            revision.ok_or_else(|| {
                let error = RequestError::Status {
                    code: "The requested entity was not found".to_owned(),
                    message: "etcdserver: requested lease not found".to_owned(),
                };
                SessionError::Request { act: "put", error }
            })
        }
    }

    fn delete(&self, key: &str) -> impl Future<Output = Result<i64, SessionError>> + Send + 'static {
        let (this, key) = (self.clone(), key.to_owned());
        async move {
            this.request("delete", Some(KeyRange::Key(&key)), |data| data.delete(std::slice::from_ref(&key))).await
        }
    }

    async fn grant(&self, ttl: Duration) -> Result<i64, SessionError> {
        let grant = |data: &mut Data| {
            data.last_lease += 1;
            data.leases.insert(data.last_lease, Lease { ttl, ends: Instant::now() + ttl });
            (data.last_lease, data.cluster_id)
        };
        let (lease, cluster_id) = self.request("lease grant", None, grant).await?;
        tokio::spawn(expire(self.server.clone(), cluster_id, lease));
        Ok(lease)
    }

    fn keep_alive(&self, lease: i64) -> impl Future<Output = Result<(), SessionError>> + Send + 'static {
        let this = self.clone();
        async move {
            let renew = |data: &mut Data| {
                let lease = data.leases.get_mut(&lease)?;
                lease.ends = Instant::now() + lease.ttl;
                Some(())
            };
            this.request("lease keepalive", None, renew).await?.ok_or(SessionError::LeaseLost(lease))
        }
    }

    fn cluster_id(&self) -> Option<u64> {
        Some(self.cluster_id)
    }
}

/// Ends a lease when its time has come.
async fn expire(server: MemoryServer, cluster_id: u64, lease: i64) {
    loop {
        let ends = {
            let data = server.lock();
            match data.leases.get(&lease) {
                Some(found) if data.cluster_id == cluster_id => found.ends,
                _ => return,
            }
        };
        if ends <= Instant::now() {
            return server.revoke(lease);
        }
        tokio::time::sleep_until(ends).await;
    }
}

/// A running watch on a range of a [`MemoryServer`].
#[derive(Debug)]
pub struct MemoryWatch {
    store: MemoryStore,
    act: &'static str,
    /// The range's first key.
    start: String,
    /// Whether that is the only one.
    whole_key: bool,
    /// All changes up to this revision were told.
    seen: i64,
    /// How many of the next revision were told already: a lease that ends deletes many keys in one.
    told: usize,
}

impl MemoryWatch {
    fn range(&self) -> KeyRange<'_> {
        if self.whole_key { KeyRange::Key(&self.start) } else { KeyRange::Prefix(&self.start) }
    }

    /// The next change, if there is one already.
    fn waiting(&mut self, data: &Data) -> Result<Option<Change>, SessionError> {
        if self.seen < data.compacted {
            return Err(SessionError::Compacted { act: self.act });
        }
        let start = data.history.partition_point(|change| change.revision() <= self.seen);
        let mine = |change: &&Change| self.range().holds(change.key());
        let mut rest = data.history[start..].iter().filter(mine);
        let Some(first) = rest.next() else {
            (self.seen, self.told) = (data.revision, 0);
            return Ok(None);
        };
        let revision = first.revision();
        let of_revision = std::iter::once(first).chain(rest).take_while(|change| change.revision() == revision);
        let of_revision: Vec<&Change> = of_revision.collect();
        let change = of_revision[self.told].clone();
        self.told += 1;
        if self.told == of_revision.len() {
            (self.seen, self.told) = (revision, 0);
        }
        Ok(Some(change))
    }
}

impl Watch for MemoryWatch {
    async fn next(&mut self) -> Result<Change, SessionError> {
        let mut changed = self.store.server.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let found = {
                let server = self.store.server.clone();
                let data = server.lock();
                self.store.check(self.act, &data)?;
                if data.stalled { None } else { self.waiting(&data)? }
            };
            if let Some(change) = found {
                return Ok(change);
            }
            // The sender lives in the server that we hold.
            drop(changed.changed().await);
        }
    }
}
