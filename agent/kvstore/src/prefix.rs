//! List, then watch, the keys under a prefix: the one way in which a mesh reader reads anything
//! (as Cilium's agents do).

use std::collections::VecDeque;

use etcd_client::{EventType, GetOptions, KeyValue, SortOrder, SortTarget, WatchOptions, WatchResponse, WatchStream};

use crate::{
    SessionError,
    connection::{Connection, request},
};

/// Keys a page of a listing.
const PAGE: i64 = 256;

/// One change under a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The key has this value now.
    Put {
        /// The whole key.
        key: Vec<u8>,
        /// The value.
        value: Vec<u8>,
        /// The revision that made it so.
        revision: i64,
    },
    /// The key is gone.
    Delete {
        /// The whole key.
        key: Vec<u8>,
        /// The revision that made it so.
        revision: i64,
    },
}

impl Change {
    /// The revision of the change.
    pub(crate) fn revision(&self) -> i64 {
        match self {
            Self::Put { revision, .. } | Self::Delete { revision, .. } => *revision,
        }
    }
}

/// All keys under a prefix at one revision.
#[derive(Debug)]
pub(crate) struct Listing {
    /// Sorted by key.
    pub(crate) keys: Vec<KeyValue>,
    /// The revision that the keys are of.
    pub(crate) revision: i64,
}

/// Lists the keys under `prefix`, page by page, all pages at the revision of the first.
pub(crate) async fn list(
    connection: &mut Connection,
    act: &'static str,
    prefix: &str,
) -> Result<Listing, SessionError> {
    let end = range_end(prefix.as_bytes());
    let mut keys: Vec<KeyValue> = Vec::new();
    let mut start = prefix.as_bytes().to_vec();
    let mut revision = 0;
    loop {
        let mut options =
            GetOptions::new().with_range(end.clone()).with_sort(SortTarget::Key, SortOrder::Ascend).with_limit(PAGE);
        if revision != 0 {
            options = options.with_revision(revision);
        }
        let mut page = request(act, connection.kv.get(start, Some(options))).await.map_err(|e| compacted(act, e))?;
        let page_revision = connection.etcd.check(act, page.header())?;
        if revision == 0 {
            revision = page_revision;
        }
        keys.append(&mut page.take_kvs());
        match keys.last() {
            Some(last) if page.more() => {
                start = last.key().to_vec();
                start.push(0);
            }
            _ => return Ok(Listing { keys, revision }),
        }
    }
}

/// Pages after the first ask for an old revision, which may be compacted by then: start the listing again.
fn compacted(act: &'static str, error: SessionError) -> SessionError {
    match error {
        SessionError::Request { error: etcd_client::Error::GRpcStatus(status), .. }
            if status.code() == tonic::Code::OutOfRange =>
        {
            SessionError::Compacted { act }
        }
        other => other,
    }
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

/// A running watch on a prefix.
#[derive(Debug)]
pub(crate) struct PrefixWatch {
    act: &'static str,
    stream: WatchStream,
    waiting: VecDeque<Change>,
}

impl PrefixWatch {
    /// Starts a watch on `prefix` that sees every change after `revision`.
    pub(crate) async fn start(
        connection: &mut Connection,
        act: &'static str,
        prefix: &str,
        revision: i64,
    ) -> Result<Self, SessionError> {
        let options = WatchOptions::new().with_prefix().with_start_revision(revision + 1);
        let stream = request(act, connection.watch.watch(prefix, Some(options))).await?;
        Ok(Self { act, stream, waiting: VecDeque::new() })
    }

    /// The next change. Dropping the future before it ends loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Change, SessionError> {
        loop {
            if let Some(change) = self.waiting.pop_front() {
                return Ok(change);
            }
            let act = self.act;
            let response = self
                .stream
                .message()
                .await
                .map_err(SessionError::request(act))?
                .ok_or_else(|| SessionError::WatchEnded { act, reason: "stream closed".to_owned() })?;
            self.take(&response)?;
        }
    }

    fn take(&mut self, response: &WatchResponse) -> Result<(), SessionError> {
        if response.compact_revision() > 0 {
            return Err(SessionError::Compacted { act: self.act });
        }
        if response.canceled() {
            return Err(SessionError::WatchEnded { act: self.act, reason: response.cancel_reason().to_owned() });
        }
        for event in response.events() {
            let Some(entry) = event.kv() else { continue };
            let (key, revision) = (entry.key().to_vec(), entry.mod_revision());
            self.waiting.push_back(match event.event_type() {
                EventType::Put => Change::Put { key, value: entry.value().to_vec(), revision },
                EventType::Delete => Change::Delete { key, revision },
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use test_case::test_case;

    use super::*;
    use crate::{EtcdConfig, connection::connect, etcd_server::Etcd};

    /// Far above anything that happens here.
    const DEADLINE: Duration = Duration::from_secs(30);

    #[test_case(b"cilium/.heartbeat" => b"cilium/.heartbeau".to_vec() ; "last byte plus one")]
    #[test_case(b"a\xff" => b"b".to_vec() ; "a byte that cannot grow is dropped")]
    #[test_case(b"\xff" => vec![0] ; "no end")]
    fn range_ends(prefix: &[u8]) -> Vec<u8> {
        range_end(prefix)
    }

    /// Between a listing and its watch, or between two pages, an etcd may forget the revision of the listing.
    #[tokio::test]
    async fn etcd_a_compacted_revision_asks_for_a_new_listing() {
        let Some(etcd) = Etcd::start().await else { return };
        let config = EtcdConfig::read(&etcd.config()).expect("valid");
        let mut connection = connect(&config).await.expect("connected");
        connection.kv.put("test/a", "1", None).await.expect("put");
        let first = list(&mut connection, "test", "test/").await.expect("listed");
        assert_eq!(first.keys.len(), 1);
        for value in ["2", "3"] {
            connection.kv.put("test/a", value, None).await.expect("put");
        }
        let now = list(&mut connection, "test", "test/").await.expect("listed");
        assert_eq!(now.revision, first.revision + 2);
        connection.kv.compact(now.revision, None).await.expect("compacted");

        let mut watch = PrefixWatch::start(&mut connection, "test", "test/", first.revision).await.expect("started");
        let change = tokio::time::timeout(DEADLINE, watch.next()).await.expect("deadline: the end of the watch");
        assert!(matches!(change, Err(SessionError::Compacted { .. })), "{change:?}");
        let old = GetOptions::new().with_revision(first.revision);
        let page = request("test", connection.kv.get("test/a", Some(old))).await.map_err(|e| compacted("test", e));
        assert!(matches!(page, Err(SessionError::Compacted { .. })), "{page:?}");

        let mut watch = PrefixWatch::start(&mut connection, "test", "test/", now.revision).await.expect("started");
        connection.kv.put("test/a", "4", None).await.expect("put");
        let change = tokio::time::timeout(DEADLINE, watch.next()).await.expect("deadline: a change").expect("no error");
        assert_eq!(change, Change::Put { key: "test/a".into(), value: "4".into(), revision: now.revision + 1 });
    }
}
