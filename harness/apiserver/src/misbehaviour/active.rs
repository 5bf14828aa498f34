//! One rule in force: its lot, and whom it has hit.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admin::{Chance, Rule, RuleReport};
use crate::store::Entropy;

/// Different user agents that are counted apart; those beyond are counted together.
const USER_AGENTS_MAX: usize = 64;
/// What those beyond are counted under.
const OTHERS: &str = "…";

/// One rule in force.
#[derive(Debug)]
pub(super) struct ActiveRule {
    /// The rule.
    pub(super) rule: Rule,
    /// When it came into force.
    pub(super) since: Instant,
    /// Cancelled when it is out of force.
    pub(super) gone: CancellationToken,
    counters: Mutex<Counters>,
}

#[derive(Debug)]
struct Counters {
    seen: u64,
    hits: u64,
    by_user_agent: BTreeMap<String, u64>,
    lot: Entropy,
}

impl ActiveRule {
    /// Puts a rule into force.
    pub(super) fn new(rule: Rule) -> Self {
        let lot = Entropy::new(Some(rule.seed));
        let counters = Counters { seen: 0, hits: 0, by_user_agent: BTreeMap::new(), lot };
        Self { rule, since: Instant::now(), gone: CancellationToken::new(), counters: Mutex::new(counters) }
    }

    /// Counts an opportunity; says whether it is taken.
    pub(super) fn hits(&self, user_agent: &str) -> bool {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        counters.seen += 1;
        let hit = match self.rule.chance {
            Chance::Always => true,
            Chance::EveryNth { n } => counters.seen.is_multiple_of(n),
            Chance::Probability { of } => counters.lot.fraction() < of,
        };
        if hit {
            counters.hits += 1;
            let known =
                counters.by_user_agent.len() < USER_AGENTS_MAX || counters.by_user_agent.contains_key(user_agent);
            *counters.by_user_agent.entry(if known { user_agent } else { OTHERS }.to_owned()).or_default() += 1;
        }
        hit
    }

    /// What it has done.
    pub(super) fn report(&self) -> RuleReport {
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        RuleReport {
            rule: self.rule.clone(),
            seen: counters.seen,
            hits: counters.hits,
            hits_by_user_agent: counters.by_user_agent.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::Effect;

    fn rule(chance: Chance, seed: u64) -> ActiveRule {
        ActiveRule::new(Rule { chance, seed, ..Rule::new("a", Effect::FreezeWatches) })
    }

    fn hits(rule: &ActiveRule, times: usize) -> Vec<bool> {
        (0..times).map(|_| rule.hits("agent")).collect()
    }

    #[test]
    fn every_nth_is_the_nth() {
        assert_eq!(hits(&rule(Chance::EveryNth { n: 3 }, 0), 6), [false, false, true, false, false, true]);
    }

    #[test]
    fn lots_follow_the_seed_and_the_probability() {
        let half = Chance::Probability { of: 0.5 };
        let drawn = hits(&rule(half, 7), 1000);
        assert_eq!(drawn, hits(&rule(half, 7), 1000));
        assert_ne!(drawn, hits(&rule(half, 8), 1000));
        let count = drawn.iter().filter(|hit| **hit).count();
        assert!((400..600).contains(&count), "{count} of 1000 hits by half");
        assert!(!hits(&rule(Chance::Probability { of: 0.0 }, 7), 100).contains(&true));
        assert!(!hits(&rule(Chance::Probability { of: 1.0 }, 7), 100).contains(&false));
    }

    #[test]
    fn user_agents_are_counted_apart_up_to_a_limit() {
        let rule = rule(Chance::Always, 0);
        for number in 0..100 {
            rule.hits(&format!("agent-{number}"));
        }
        rule.hits("agent-0");
        let report = rule.report();
        assert_eq!((report.seen, report.hits), (101, 101));
        assert_eq!(report.hits_by_user_agent.len(), USER_AGENTS_MAX + 1);
        assert_eq!(report.hits_by_user_agent["agent-0"], 2);
        assert_eq!(report.hits_by_user_agent[OTHERS], 36);
    }
}
