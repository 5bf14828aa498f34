//! The rules in force.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::active::ActiveRule;
use super::caller::Caller;
use super::connection::Connection;
use super::watched::Influence;
use crate::admin::{Effect, InvalidRule, RefusedStatus, Rule, RuleReport};

/// Rules in force at a time; every request and every event looks at all of them.
const RULES_MAX: usize = 64;

/// The rules of one moment, by name.
pub(super) type Rules = Arc<[Arc<ActiveRule>]>;

/// A rule cannot be put into force.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum RuleError {
    /// It makes no sense.
    #[error("rule `{name}`: {problem}")]
    Invalid {
        /// Its name.
        name: String,
        /// What makes no sense.
        problem: InvalidRule,
    },
    /// There are too many.
    #[error("{RULES_MAX} rules are in force already")]
    TooMany,
    /// There is none of that name.
    #[error("no rule `{0}` is in force")]
    Unknown(String),
}

/// What a rule does to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hit {
    /// It gets no answer: its connection is cut.
    Cut,
    /// It is refused.
    Refused {
        /// With this status.
        status: RefusedStatus,
        /// Seconds to wait, if said.
        retry_after_seconds: Option<u32>,
    },
}

/// The rules in force.
#[derive(Debug)]
pub(crate) struct Misbehaviour {
    /// Serialises changes; readers go by the channel.
    change: Mutex<()>,
    rules: watch::Sender<Rules>,
}

impl Misbehaviour {
    /// None.
    pub(crate) fn new() -> Self {
        Self { change: Mutex::new(()), rules: watch::Sender::new(Arc::new([])) }
    }

    /// Puts a rule into force, in place of one of the same name.
    pub(crate) fn add(&self, rule: Rule) -> Result<(), RuleError> {
        rule.validate().map_err(|problem| RuleError::Invalid { name: rule.name.clone(), problem })?;
        tracing::info!(rule = rule.name, effect = ?rule.effect, "misbehaviour ordered");
        self.replace(|rules| {
            let (old, mut kept): (Vec<_>, Vec<_>) = rules.into_iter().partition(|active| active.rule.name == rule.name);
            if kept.len() >= RULES_MAX {
                return Err(RuleError::TooMany);
            }
            old.iter().for_each(|active| active.gone.cancel());
            kept.push(Arc::new(ActiveRule::new(rule)));
            kept.sort_by(|one, other| one.rule.name.cmp(&other.rule.name));
            Ok((kept, ()))
        })
    }

    /// Takes a rule out of force; tells what it has done.
    pub(crate) fn remove(&self, name: &str) -> Result<RuleReport, RuleError> {
        self.replace(|rules| {
            let (gone, kept): (Vec<_>, Vec<_>) = rules.into_iter().partition(|active| active.rule.name == name);
            let gone = gone.first().ok_or_else(|| RuleError::Unknown(name.to_owned()))?;
            gone.gone.cancel();
            Ok((kept, gone.report()))
        })
    }

    /// Takes all rules out of force; tells what they have done.
    pub(crate) fn clear(&self) -> Vec<RuleReport> {
        let cleared = self.replace(|rules| {
            rules.iter().for_each(|active| active.gone.cancel());
            Ok((Vec::new(), rules.iter().map(|active| active.report()).collect()))
        });
        cleared.unwrap_or_default()
    }

    /// What the rules in force have done.
    pub(crate) fn report(&self) -> Vec<RuleReport> {
        self.rules.borrow().iter().map(|active| active.report()).collect()
    }

    fn replace<R>(
        &self,
        change: impl FnOnce(Vec<Arc<ActiveRule>>) -> Result<(Vec<Arc<ActiveRule>>, R), RuleError>,
    ) -> Result<R, RuleError> {
        let _one_at_a_time = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.rules.borrow().to_vec();
        let (after, result) = change(before)?;
        self.rules.send_replace(after.into());
        Ok(result)
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Rules> {
        self.rules.subscribe()
    }

    /// Whether no rule is in force.
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.borrow().is_empty()
    }

    /// What happens to a request before it is carried out; `first` if it is the first of its connection.
    pub(crate) fn before(&self, caller: &Caller, connection: &Connection, first: bool) -> Option<Hit> {
        let rules = Arc::clone(&self.rules.borrow());
        let concerned = rules.iter().filter(|active| caller.is_target(&active.rule.target));
        let mut refused = None;
        for active in concerned {
            // A rule counts an opportunity when it is asked, which is why it is asked last.
            let hits = || active.hits(&caller.user_agent);
            match active.rule.effect {
                Effect::RefuseConnections { .. } if first && connection.since >= active.since && hits() => {
                    connection.cut.cancel();
                    return Some(Hit::Cut);
                }
                // The first that hits decides; those behind it have had no opportunity.
                Effect::Refuse { status, retry_after_seconds } if refused.is_none() && hits() => {
                    refused = Some(Hit::Refused { status, retry_after_seconds });
                }
                _ => {}
            }
        }
        refused
    }

    /// Holds an answer back as long as the rules say, or until they are gone.
    pub(crate) async fn hold_back(&self, caller: &Caller, began: Instant) {
        let rules = Arc::clone(&self.rules.borrow());
        for active in rules.iter().filter(|active| caller.is_target(&active.rule.target)) {
            if let Effect::Delay { by } = active.rule.effect
                && active.hits(&caller.user_agent)
            {
                tokio::select! {
                    () = sleep_until(began + by) => {}
                    () = active.gone.cancelled() => {}
                }
            }
        }
    }

    /// Whether a watch that continues from a revision is answered `410 Expired`.
    pub(crate) fn expires(&self, caller: &Caller) -> bool {
        let rules = Arc::clone(&self.rules.borrow());
        let mut concerned = rules.iter().filter(|active| caller.is_target_as_watch(&active.rule.target));
        concerned.any(|active| active.rule.effect == Effect::ExpireWatches && active.hits(&caller.user_agent))
    }

    /// How the rules bear on a watch that opens.
    pub(crate) fn influence(&self, caller: Caller) -> Influence {
        Influence::new(caller, self.rules.subscribe())
    }
}
