//! What the rules in force mean for one watch.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::active::ActiveRule;
use super::caller::Caller;
use super::rules::Rules;
use crate::admin::Effect;

/// What a watch has to do because of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The rules have changed: whether it is frozen and how late it is are to be looked at again.
    Reconsider,
    /// It ends, without an error.
    Close,
    /// It ends with `410 Expired`.
    Expire,
}

/// How the rules bear on one watch.
#[derive(Debug)]
pub(crate) struct Influence {
    caller: Caller,
    opened: Instant,
    rules: watch::Receiver<Rules>,
    /// Those that concern this watch.
    concerned: Vec<Arc<ActiveRule>>,
    /// Rules whose opportunity at this watch is past: those that hit or spare a watch once for all.
    judged: Vec<(Arc<ActiveRule>, bool)>,
    /// When it is to be looked at for closing next, by which rule.
    closing: Vec<(Instant, Arc<ActiveRule>)>,
}

impl Influence {
    /// On a watch that opens now.
    pub(super) fn new(caller: Caller, rules: watch::Receiver<Rules>) -> Self {
        let mut influence = Self {
            caller,
            opened: Instant::now(),
            rules,
            concerned: Vec::new(),
            judged: Vec::new(),
            closing: Vec::new(),
        };
        influence.reconsider();
        influence
    }

    /// Takes in rules that have changed.
    fn reconsider(&mut self) {
        let rules = Arc::clone(&self.rules.borrow_and_update());
        let in_force = |active: &Arc<ActiveRule>| rules.iter().any(|other| Arc::ptr_eq(active, other));
        self.judged.retain(|(active, _)| in_force(active));
        self.closing.retain(|(_, active)| in_force(active));
        let known: Vec<Arc<ActiveRule>> = std::mem::take(&mut self.concerned);
        for active in rules.iter().filter(|active| self.caller.is_target_as_watch(&active.rule.target)) {
            if !active.rule.effect.is_about_watches() {
                continue;
            }
            self.concerned.push(Arc::clone(active));
            if known.iter().any(|other| Arc::ptr_eq(active, other)) {
                continue;
            }
            let older = self.opened <= active.since;
            match active.rule.effect {
                Effect::FreezeWatches => {
                    let hit = active.hits(&self.caller.user_agent);
                    self.judged.push((Arc::clone(active), hit));
                }
                Effect::CloseWatches { every } => {
                    let next = if older { Some(active.since) } else { every.map(|every| next_tick(active, every)) };
                    self.closing.extend(next.map(|next| (next, Arc::clone(active))));
                }
                // Watches that open later are judged at their request.
                Effect::ExpireWatches if older => {
                    let hit = active.hits(&self.caller.user_agent);
                    self.judged.push((Arc::clone(active), hit));
                }
                _ => {}
            }
        }
    }

    /// Whether the watch shall say nothing.
    pub(crate) fn is_frozen(&self) -> bool {
        self.was_hit(Effect::FreezeWatches)
    }

    fn was_hit(&self, effect: Effect) -> bool {
        self.judged.iter().any(|(active, hit)| *hit && active.rule.effect == effect)
    }

    /// Whether this bookmark is to be kept from the watch.
    pub(crate) fn drops_bookmark(&self) -> bool {
        self.any_hit(|effect| effect == Effect::DropBookmarks)
    }

    /// Whether this event is to be told twice.
    pub(crate) fn duplicates(&self) -> bool {
        self.any_hit(|effect| effect == Effect::DuplicateEvents)
    }

    /// How late this event is to be told; none for no delay.
    pub(crate) fn delay(&self) -> Option<Duration> {
        let delays = self.concerned.iter().filter_map(|active| match active.rule.effect {
            Effect::DelayEvents { by } => active.hits(&self.caller.user_agent).then_some(by),
            _ => None,
        });
        delays.max()
    }

    /// Whether events that are late still have to be: not when the rule that made them late is gone.
    pub(crate) fn delays_events(&self) -> bool {
        self.concerned.iter().any(|active| matches!(active.rule.effect, Effect::DelayEvents { .. }))
    }

    fn any_hit(&self, wanted: impl Fn(Effect) -> bool) -> bool {
        let mut concerned = self.concerned.iter().filter(|active| wanted(active.rule.effect));
        concerned.any(|active| active.hits(&self.caller.user_agent))
    }

    /// Waits until the rules give the watch something to do. Nothing is lost when the wait is given up.
    pub(crate) async fn turn(&mut self) -> Turn {
        loop {
            if self.was_hit(Effect::ExpireWatches) {
                return Turn::Expire;
            }
            let next = self.closing.iter().map(|(at, _)| *at).min();
            tokio::select! {
                biased;
                changed = self.rules.changed() => {
                    if changed.is_err() {
                        // The rules live as long as the server, which ends its watches itself.
                        std::future::pending::<()>().await;
                    }
                    self.reconsider();
                    return if self.was_hit(Effect::ExpireWatches) { Turn::Expire } else { Turn::Reconsider };
                }
                () = until(next) => if self.closes(Instant::now()) { return Turn::Close },
            }
        }
    }

    /// Whether a rule whose time has come closes the watch.
    fn closes(&mut self, now: Instant) -> bool {
        let due: Vec<_> = self.closing.extract_if(.., |(at, _)| *at <= now).collect();
        let mut closes = false;
        for (_, active) in due {
            closes |= active.hits(&self.caller.user_agent);
            if let Effect::CloseWatches { every: Some(every) } = active.rule.effect {
                self.closing.push((next_tick(&active, every), active));
            }
        }
        closes
    }
}

/// The next time at which a rule closes watches: all of them at the same times, counted from its coming into force.
fn next_tick(active: &ActiveRule, every: Duration) -> Instant {
    let passed = active.since.elapsed().as_nanos();
    let period = every.as_nanos().max(1);
    let ahead = period - passed % period;
    Instant::now() + Duration::from_nanos(u64::try_from(ahead).unwrap_or(u64::MAX))
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
