//! The whole cluster at its newest revision.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::journal::{Journal, JournalError, Position, Restored};
use super::{Change, Collection, Entropy, Key, Name, Object};
use crate::json;
use crate::kinds::{CustomKind, Kind};
use crate::network::Network;
use crate::options::Limits;

/// Revisions that are left out at a restart. Watchers may have seen changes of a batch that was never committed; their
/// revisions must not be given out again, and one batch has fewer changes than this.
const RESTART_GAP: u64 = 1_000_000;

/// Who makes a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    /// A client of the API.
    Client,
    /// One of the controllers of this process.
    Controller,
}

/// The whole cluster.
#[derive(Debug)]
pub(crate) struct State {
    revision: u64,
    limits: Limits,
    collections: BTreeMap<Kind, Collection>,
    /// What stands for the collections of kinds that nobody ever defined.
    nothing: Collection,
    /// Kinds that clients defined.
    custom: BTreeSet<Kind>,
    /// Objects by the UID of an owner.
    dependents: BTreeMap<String, BTreeSet<Key>>,
    /// Changes that the controllers have not seen.
    unseen: VecDeque<Arc<Change>>,
    /// Events in the order of their creation.
    events: VecDeque<Key>,
    /// Where changes are kept, if they are.
    journal: Option<Journal>,
    /// Who makes the changes at the moment.
    pub(crate) actor: Actor,
    /// Names and UIDs.
    pub(crate) entropy: Entropy,
    /// Addresses and ports to hand out.
    pub(crate) network: Network,
}

impl State {
    /// An empty cluster.
    pub(crate) fn new(limits: Limits, entropy: Entropy, network: Network) -> Self {
        let collection = || Collection::new(limits.watch_history, limits.watch_backlog);
        Self {
            revision: 1,
            limits,
            collections: Kind::ALL.into_iter().map(|kind| (kind, collection())).collect(),
            nothing: collection(),
            custom: BTreeSet::new(),
            dependents: BTreeMap::new(),
            unseen: VecDeque::new(),
            events: VecDeque::new(),
            journal: None,
            actor: Actor::Client,
            entropy,
            network,
        }
    }

    /// Takes over what another server left, and keeps changes in its journal from now on.
    pub(crate) fn restore(&mut self, journal: Journal, restored: Option<Restored>) {
        self.journal = Some(journal);
        let Some(Restored { position, objects }) = restored else { return };
        self.revision = position.revision + RESTART_GAP;
        self.entropy = Entropy::new(Some(position.entropy));
        self.network.resume(position.cursor);
        let definitions = objects.iter().filter(|value| json::text(value, "/kind") == "CustomResourceDefinition");
        let custom: Vec<Kind> = definitions.filter_map(CustomKind::of).map(Kind::Custom).collect();
        custom.into_iter().for_each(|kind| self.install(kind));
        for value in objects {
            let (api_version, word) = (json::text(&value, "/apiVersion"), json::text(&value, "/kind"));
            let Some(kind) = self.kinds().find(|kind| kind.is_of(api_version, word)) else {
                tracing::warn!(api_version, kind = word, "an object of an unknown kind is left out");
                continue;
            };
            let object = Arc::new(Object::new(value));
            let name = Name::new(object.namespace(), object.name());
            self.index(kind, &name, None, Some(&object));
            self.collection_mut(kind).restore(name, object);
        }
        self.compact();
        let revision =
            |object: &Object| json::text(object.value(), "/metadata/resourceVersion").parse().unwrap_or(0_u64);
        let mut events: Vec<(u64, Key)> = self
            .list(Kind::Event, None)
            .map(|event| (revision(event), Key::new(Kind::Event, event.namespace(), event.name())))
            .collect();
        events.sort();
        self.events = events.into_iter().map(|(_, key)| key).collect();
    }

    /// Forgets the changes that led here, of every kind; tells the newest revision, which watches can continue from.
    pub(crate) fn compact(&mut self) -> u64 {
        self.collections.values_mut().for_each(|collection| collection.forget(self.revision));
        self.revision
    }

    /// Hands all changes since the last time to the journal: from here on they outlive the process.
    pub(crate) fn keep(&mut self) -> Result<(), JournalError> {
        let position =
            Position { revision: self.revision, entropy: self.entropy.position(), cursor: self.network.cursor() };
        let Some(journal) = self.journal.as_mut().filter(|journal| journal.is_dirty()) else { return Ok(()) };
        journal.commit(position)?;
        if journal.is_long() {
            let objects = self.collections.values().flat_map(|collection| collection.iter(None, None));
            journal.rewrite(objects.map(|(_, object)| object), position)?;
        }
        Ok(())
    }

    /// The newest revision.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// All objects of a kind.
    pub(crate) fn collection(&self, kind: Kind) -> &Collection {
        self.collections.get(&kind).unwrap_or(&self.nothing)
    }

    fn collection_mut(&mut self, kind: Kind) -> &mut Collection {
        let Limits { watch_history, watch_backlog, .. } = self.limits;
        self.collections.entry(kind).or_insert_with(|| Collection::new(watch_history, watch_backlog))
    }

    /// Every kind that is served.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().chain(self.custom.iter().copied())
    }

    /// Serves a kind that a client defined.
    pub(crate) fn install(&mut self, kind: Kind) {
        let revision = self.revision;
        if self.custom.insert(kind) && !self.collections.contains_key(&kind) {
            // Nothing is known of the time before.
            self.collection_mut(kind).forget(revision);
        }
    }

    /// Serves it no more. Its collection stays, for requests and watches that are under way.
    pub(crate) fn uninstall(&mut self, kind: Kind) {
        self.custom.remove(&kind);
    }

    /// One object.
    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<Object>> {
        self.collection(key.kind).get(&key.name)
    }

    /// All objects of a kind, of one namespace if one is named.
    pub(crate) fn list<'s>(
        &'s self,
        kind: Kind,
        namespace: Option<&'s str>,
    ) -> impl Iterator<Item = &'s Arc<Object>> + use<'s> {
        self.collection(kind).iter(namespace, None).map(|(_, object)| object)
    }

    /// The objects of a kind that name `uid` as an owner.
    pub(crate) fn owned(&self, kind: Kind, uid: &str) -> Vec<Arc<Object>> {
        let keys = self.dependents.get(uid).into_iter().flatten().filter(|key| key.kind == kind);
        keys.filter_map(|key| self.get(key)).cloned().collect()
    }

    /// Every object that names `uid` as an owner.
    pub(crate) fn dependents(&self, uid: &str) -> Vec<Key> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    /// Stores an object as it is, but for its new `metadata.resourceVersion`.
    pub(crate) fn put(&mut self, kind: Kind, mut value: Value) -> Arc<Object> {
        self.revision += 1;
        json::child(&mut value, "metadata")["resourceVersion"] = Value::String(self.revision.to_string());
        let object = Arc::new(Object::new(value));
        let name = Name::new(object.namespace(), object.name());
        let previous = self.collection(kind).get(&name).cloned();
        self.index(kind, &name, previous.as_deref(), Some(&object));
        self.commit(kind, name, previous, Arc::clone(&object), false);
        object
    }

    /// Removes an object; returns its last state, under the revision of the removal.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<Arc<Object>> {
        let previous = Arc::clone(self.get(key)?);
        self.revision += 1;
        let mut value = previous.value().clone();
        json::child(&mut value, "metadata")["resourceVersion"] = Value::String(self.revision.to_string());
        let object = Arc::new(Object::new(value));
        self.index(key.kind, &key.name, Some(&previous), None);
        self.commit(key.kind, key.name.clone(), Some(previous), Arc::clone(&object), true);
        Some(object)
    }

    /// Counts an event that was created, and removes the oldest one when there are more than `limit`.
    pub(crate) fn remember_event(&mut self, key: Key, limit: usize) {
        self.events.push_back(key);
        if self.events.len() > limit
            && let Some(oldest) = self.events.pop_front()
        {
            self.remove(&oldest);
        }
    }

    /// The oldest change that the controllers have not seen.
    pub(crate) fn next_unseen(&mut self) -> Option<Arc<Change>> {
        self.unseen.pop_front()
    }

    /// Whether there are changes that the controllers have not seen.
    pub(crate) fn has_unseen(&self) -> bool {
        !self.unseen.is_empty()
    }

    /// Completes the metadata of a new object: UID, creation time, first generation.
    pub(crate) fn stamp(&mut self, value: &mut Value) {
        let uid = self.entropy.uid();
        let metadata = json::child(value, "metadata");
        metadata["uid"] = Value::String(uid);
        metadata["creationTimestamp"] = json!(timestamp(Timestamp::now()));
    }

    fn commit(&mut self, kind: Kind, name: Name, previous: Option<Arc<Object>>, object: Arc<Object>, deleted: bool) {
        let change = Arc::new(Change::new((self.revision, kind, self.actor), previous, object, deleted));
        if let Some(journal) = &mut self.journal {
            journal.add(&change);
        }
        self.collection_mut(kind).commit(name, Arc::clone(&change));
        self.unseen.push_back(change);
    }

    fn index(&mut self, kind: Kind, name: &Name, previous: Option<&Object>, next: Option<&Object>) {
        let owners = |object: &Object| -> BTreeSet<String> {
            let owners = json::list(object.value(), "/metadata/ownerReferences");
            owners.iter().map(|owner| json::text(owner, "/uid").to_owned()).collect()
        };
        let before = previous.map(owners).unwrap_or_default();
        let after = next.map(owners).unwrap_or_default();
        if before == after {
            return;
        }
        let key = Key { kind, name: name.clone() };
        for uid in &before {
            if let Some(keys) = self.dependents.get_mut(uid) {
                keys.remove(&key);
                if keys.is_empty() {
                    self.dependents.remove(uid);
                }
            }
        }
        for uid in after {
            self.dependents.entry(uid).or_default().insert(key.clone());
        }
    }
}

/// A time as the API writes it: RFC 3339, UTC, whole seconds.
pub(crate) fn timestamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
