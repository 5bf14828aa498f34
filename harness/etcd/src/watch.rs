//! Changes as etcd tells them, for the stopwatch.

use std::time::Instant;

use etcd_client::{EventType, WatchOptions, WatchStream};
use tokio::sync::mpsc;

use crate::{Entry, Etcd, EtcdError};

/// Changes that may wait for the receiver; when there are more, etcd keeps the rest.
pub const CHANGES_WAITING_MAX: usize = 4096;

/// One change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: String,
    /// What it has now; `None` if it was deleted.
    pub entry: Option<Entry>,
    /// Revision of the change.
    pub revision: i64,
    /// When it was heard of here.
    pub at: Instant,
}

/// Changes under a prefix. Ends when etcd or the connection ends, or when etcd has forgotten the history that was asked for:
/// list and watch again then.
#[derive(Debug)]
pub struct Changes(mpsc::Receiver<Change>);

impl Changes {
    /// The next change; `None` at the end. Cancel-safe.
    pub async fn next(&mut self) -> Option<Change> {
        self.0.recv().await
    }
}

impl Etcd {
    /// Watches everything under `prefix` from the revision after `since` on, such as that of a listing; without it, from now.
    pub async fn watch(&self, prefix: &str, since: Option<i64>) -> Result<Changes, EtcdError> {
        let (mut client, wanted) = (self.client(), prefix.to_owned());
        let mut options = WatchOptions::new().with_prefix();
        if let Some(since) = since {
            options = options.with_start_revision(since + 1);
        }
        let request = async move {
            let mut stream = client.watch(wanted, Some(options)).await?;
            // The first message says that the watch exists, so nothing is missed from here on.
            stream.message().await?;
            Ok(stream)
        };
        let stream = self.ask(|| format!("watch `{prefix}`"), request).await?;
        let (sender, receiver) = mpsc::channel(CHANGES_WAITING_MAX);
        self.runtime().spawn(forward(stream, sender));
        Ok(Changes(receiver))
    }
}

/// Ends with the watch, or when nobody listens any more.
async fn forward(mut stream: WatchStream, sender: mpsc::Sender<Change>) {
    loop {
        let response = tokio::select! {
            response = stream.message() => response,
            () = sender.closed() => return,
        };
        let Ok(Some(response)) = response else { return };
        let at = Instant::now();
        for event in response.events() {
            let Some(entry) = event.kv().map(Entry::from) else { continue };
            let (key, revision) = (entry.key.clone(), entry.mod_revision);
            let entry = (event.event_type() == EventType::Put).then_some(entry);
            if sender.send(Change { key, entry, revision, at }).await.is_err() {
                return;
            }
        }
        if response.canceled() {
            return;
        }
    }
}
