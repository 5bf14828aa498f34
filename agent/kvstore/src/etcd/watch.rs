//! A watch on a range of an etcd.

use std::{collections::VecDeque, fmt};

use etcd_client::{EventType, WatchClient, WatchOptions, WatchResponse, WatchStream};

use super::{EtcdStore, failure, request};
use crate::{
    SessionError,
    store::{Change, KeyRange, Watch},
};

/// A running watch on a range.
pub struct EtcdWatch {
    store: EtcdStore,
    act: &'static str,
    stream: WatchStream,
    waiting: VecDeque<Change>,
}

impl fmt::Debug for EtcdWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdWatch").field("act", &self.act).finish_non_exhaustive()
    }
}

impl EtcdWatch {
    pub(super) async fn start(
        store: EtcdStore,
        client: &mut WatchClient,
        act: &'static str,
        range: KeyRange<'_>,
        after: i64,
    ) -> Result<Self, SessionError> {
        let options = WatchOptions::new().with_start_revision(after + 1);
        let options = match range {
            KeyRange::Key(_) => options,
            KeyRange::Prefix(_) => options.with_prefix(),
        };
        let stream = request(act, client.watch(range.start(), Some(options))).await?;
        Ok(Self { store, act, stream, waiting: VecDeque::new() })
    }

    fn take(&mut self, response: &WatchResponse) -> Result<(), SessionError> {
        self.store.revision(self.act, response.header())?;
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

impl Watch for EtcdWatch {
    async fn next(&mut self) -> Result<Change, SessionError> {
        loop {
            if let Some(change) = self.waiting.pop_front() {
                return Ok(change);
            }
            let act = self.act;
            let response = self.stream.message().await.map_err(|error| failure(act, error))?;
            let response =
                response.ok_or_else(|| SessionError::WatchEnded { act, reason: "stream closed".to_owned() })?;
            self.take(&response)?;
        }
    }
}
