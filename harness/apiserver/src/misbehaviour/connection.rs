//! One connection, as far as rules look at it: when it came to be and who speaks on it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::active::ActiveRule;
use super::caller::concerns_agent;
use super::rules::{Misbehaviour, Rules};
use crate::admin::{Connections, Effect};

/// One connection of a client.
#[derive(Debug)]
pub(crate) struct Connection {
    /// When it was accepted.
    pub(super) since: Instant,
    /// The user agent of its first request; none before that.
    speaker: Mutex<Option<String>>,
    /// Ends it without an answer.
    pub(super) cut: CancellationToken,
}

impl Connection {
    /// A connection that was just accepted.
    pub(crate) fn new() -> Self {
        Self { since: Instant::now(), speaker: Mutex::new(None), cut: CancellationToken::new() }
    }

    /// Notes who speaks; says whether this is the first request.
    pub(crate) fn spoken_by(&self, user_agent: &str) -> bool {
        let mut speaker = self.speaker.lock().unwrap_or_else(PoisonError::into_inner);
        let first = speaker.is_none();
        speaker.get_or_insert_with(|| user_agent.to_owned());
        first
    }

    /// Who speaks, once somebody has spoken.
    fn speaker(&self) -> Option<String> {
        self.speaker.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Cuts the connection when it is older than a rule that wants that; each rule judges it once.
    fn judge(&self, rules: &Rules, judged: &mut Vec<Arc<ActiveRule>>) {
        let Some(speaker) = self.speaker() else { return };
        judged.retain(|known| rules.iter().any(|active| Arc::ptr_eq(known, active)));
        for active in rules.iter() {
            let cuts = active.rule.effect == (Effect::RefuseConnections { existing: Connections::Cut });
            let known = judged.iter().any(|known| Arc::ptr_eq(known, active));
            if !cuts || known || self.since >= active.since || !concerns_agent(&active.rule.target, &speaker) {
                continue;
            }
            judged.push(Arc::clone(active));
            if active.hits(&speaker) {
                return self.cut.cancel();
            }
        }
    }

    /// Resolves when the connection shall be cut.
    pub(crate) async fn cut(&self, misbehaviour: &Misbehaviour) {
        let mut rules = misbehaviour.subscribe();
        let mut judged = Vec::new();
        loop {
            let now = Arc::clone(&rules.borrow_and_update());
            self.judge(&now, &mut judged);
            tokio::select! {
                () = self.cut.cancelled() => return,
                // The rules live as long as the server, which outlives its connections.
                changed = rules.changed() => if changed.is_err() { std::future::pending().await },
            }
        }
    }
}
