//! One change of one object, as watchers see it.

use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};

use super::{Actor, Object};
use crate::kinds::Kind;

/// What a watch event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventType {
    /// The object came into the watcher's sight.
    Added,
    /// It changed in sight.
    Modified,
    /// It went out of sight.
    Deleted,
}

impl EventType {
    /// The word on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// One committed change.
#[derive(Debug)]
pub(crate) struct Change {
    /// The revision it made.
    pub(crate) revision: u64,
    /// Kind of the object.
    pub(crate) kind: Kind,
    /// Who made it.
    pub(crate) actor: Actor,
    /// The object before, none when it was created.
    pub(crate) previous: Option<Arc<Object>>,
    /// The object after; when it was deleted, its last state under the revision of the deletion.
    pub(crate) object: Arc<Object>,
    /// Whether the object is gone.
    pub(crate) deleted: bool,
    frames: [OnceLock<Bytes>; 3],
}

impl Change {
    /// Records a change.
    pub(crate) fn new(
        (revision, kind, actor): (u64, Kind, Actor),
        previous: Option<Arc<Object>>,
        object: Arc<Object>,
        deleted: bool,
    ) -> Self {
        Self { revision, kind, actor, previous, object, deleted, frames: Default::default() }
    }

    /// What a watcher sees whose selectors `sees` stands for; none when the object is out of its sight throughout.
    pub(crate) fn event_type(&self, sees: impl Fn(&Object) -> bool) -> Option<EventType> {
        let before = self.previous.as_deref().is_some_and(&sees);
        let after = !self.deleted && sees(&self.object);
        match (before, after) {
            (false, true) => Some(EventType::Added),
            (true, true) => Some(EventType::Modified),
            (true, false) => Some(EventType::Deleted),
            (false, false) => None,
        }
    }

    /// The line of a watch stream that says so. Made once for all watchers.
    pub(crate) fn frame(&self, event_type: EventType) -> Bytes {
        self.frames[event_type as usize].get_or_init(|| frame(event_type.as_str(), &self.object.json())).clone()
    }
}

/// Makes one line of a watch stream out of an object's JSON text.
pub(crate) fn frame(event_type: &str, object: &[u8]) -> Bytes {
    let mut line = BytesMut::with_capacity(object.len() + 40);
    line.extend_from_slice(br#"{"type":""#);
    line.extend_from_slice(event_type.as_bytes());
    line.extend_from_slice(br#"","object":"#);
    line.extend_from_slice(object);
    line.extend_from_slice(b"}\n");
    line.freeze()
}
