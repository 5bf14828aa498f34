//! One kind of key that is kept complete: everything under a prefix, announced by a canary.

use std::collections::BTreeMap;

use super::keys::Keys;

/// Keys that belong together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    /// What all of them begin with.
    pub prefix: String,
    /// The key that says that all of them are written.
    pub canary: String,
}

/// How far a scope is on the present connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Wishes are still to come; stale keys may be there.
    Filling,
    /// All wishes are known, they are being written and stale keys deleted.
    Pruning,
    /// The canary is being written.
    Announcing,
    /// All is written; only changes from now on.
    Steady,
}

/// All scopes of a writer.
#[derive(Debug, Default)]
pub(super) struct Scopes(BTreeMap<Scope, State>);

#[derive(Debug)]
struct State {
    /// All wishes of the start are known.
    complete: bool,
    stage: Stage,
    /// Keys that the kvstore held when it was looked at on the present connection; `None` before.
    found: Option<Vec<String>>,
}

impl Scopes {
    /// Adds one, if it is not there yet.
    pub(super) fn add(&mut self, scope: Scope) {
        self.0.entry(scope).or_insert(State { complete: false, stage: Stage::Filling, found: None });
    }

    /// All wishes under a prefix are known.
    pub(super) fn complete(&mut self, scope: &Scope) {
        if let Some(state) = self.0.get_mut(scope) {
            state.complete = true;
        }
    }

    /// Gives a scope up.
    pub(super) fn remove(&mut self, scope: &Scope) {
        self.0.remove(scope);
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.keys()
    }

    /// A connection was made: what the kvstore holds is to be looked at again, and nothing is announced before.
    pub(super) fn connected(&mut self) {
        for state in self.0.values_mut() {
            (state.stage, state.found) = (Stage::Filling, None);
        }
    }

    /// The scopes that were not looked at on the present connection.
    pub(super) fn not_looked_at(&self) -> Vec<Scope> {
        self.0.iter().filter(|(_, state)| state.found.is_none()).map(|(scope, _)| scope.clone()).collect()
    }

    /// These keys were found under the scope's prefix.
    pub(super) fn found(&mut self, scope: &Scope, found: Vec<String>) {
        if let Some(state) = self.0.get_mut(scope) {
            state.found = Some(found);
        }
    }

    /// Whether anything was found on the present connection.
    pub(super) fn any_found(&self) -> bool {
        self.0.values().any(|state| state.found.as_ref().is_some_and(|found| !found.is_empty()))
    }

    /// Whether all of them are written and announced.
    pub(super) fn all_steady(&self) -> bool {
        self.0.values().all(|state| state.stage == Stage::Steady)
    }

    /// Lets each scope go as far as it can. Canaries get the value `now`.
    pub(super) fn advance(&mut self, keys: &mut Keys, now: impl Fn() -> Vec<u8>) {
        for (scope, state) in &mut self.0 {
            while let Some(next) = state.next(scope, keys, &now) {
                tracing::debug!(prefix = scope.prefix, stage = ?next, "keys");
                state.stage = next;
            }
        }
    }
}

impl State {
    fn next(&mut self, scope: &Scope, keys: &mut Keys, now: impl Fn() -> Vec<u8>) -> Option<Stage> {
        match self.stage {
            Stage::Filling if self.complete => {
                let stale = keys.prune(self.found.as_ref()?);
                tracing::info!(prefix = scope.prefix, stale, "All keys are known");
                Some(Stage::Pruning)
            }
            Stage::Pruning if keys.is_idle(&scope.prefix) => {
                keys.put(scope.canary.clone(), now());
                Some(Stage::Announcing)
            }
            Stage::Announcing if keys.is_idle(&scope.canary) => Some(Stage::Steady),
            _ => None,
        }
    }
}
