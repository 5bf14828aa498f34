//! What can be ordered, and what is reported of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::milliseconds;

/// Start of the user agent of the harness's own clients, which rules spare by default.
pub const EXEMPT: &str = "meshbed-harness";

/// Longest delay of an answer or an event: beyond it every client has given up, which freezing shows better.
const DELAY_MAX: Duration = Duration::from_secs(600);
/// Shortest period of closing watches: below it the server would do nothing else.
const PERIOD_MIN: Duration = Duration::from_millis(10);
/// Longest name of a rule in bytes.
const NAME_MAX: usize = 128;

/// One order: whom to hit, how often, with what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Its name; adding a rule of the same name replaces it and starts its counters anew.
    pub name: String,
    /// Whom it concerns.
    #[serde(default)]
    pub target: Target,
    /// How often it hits those whom it concerns.
    #[serde(default)]
    pub chance: Chance,
    /// Seed of [`Chance::Probability`]: the same seed gives the same sequence of hits and misses.
    #[serde(default)]
    pub seed: u64,
    /// What happens to those hit.
    pub effect: Effect,
}

/// Whom a rule concerns. An empty list means all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Target {
    /// Verbs, as authorisation names them. Effects on watches concern watches whatever is said here.
    pub verbs: Vec<Verb>,
    /// Resources by plural name, such as `services`. A rule that names some leaves discovery and health alone.
    pub resources: Vec<String>,
    /// Starts of user agents that are concerned.
    pub user_agents: Vec<String>,
    /// Starts of user agents that are spared even so; [`EXEMPT`] by default.
    pub except_user_agents: Vec<String>,
}

impl Default for Target {
    fn default() -> Self {
        Self {
            verbs: Vec::new(),
            resources: Vec::new(),
            user_agents: Vec::new(),
            except_user_agents: vec![EXEMPT.to_owned()],
        }
    }
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Reads one object, or a path that is no resource (discovery, health).
    Get,
    /// Reads a list.
    List,
    /// Follows changes.
    Watch,
    /// Makes an object, a binding or an eviction.
    Create,
    /// Replaces an object.
    Update,
    /// Changes an object.
    Patch,
    /// Deletes an object.
    Delete,
    /// Deletes a list.
    DeleteCollection,
}

/// How often a rule hits. What is counted depends on the effect: requests, connections, watches or events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields, tag = "type")]
pub enum Chance {
    /// Every time.
    #[default]
    Always,
    /// Every `n`-th time: the `n`-th, the `2n`-th and so on.
    EveryNth {
        /// At least 1.
        n: u64,
    },
    /// Each time by lot.
    Probability {
        /// From 0 to 1.
        of: f64,
    },
}

/// What happens to those that a rule hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields, tag = "type")]
pub enum Effect {
    /// Open watches end at once, and again after every period: without an error, as when their time is up.
    CloseWatches {
        /// The period; only once when absent.
        #[serde(default, rename = "everyMs", with = "milliseconds::optional", skip_serializing_if = "Option::is_none")]
        every: Option<Duration>,
    },
    /// Open watches end with `410 Expired`, and watches that would continue from a revision are answered so: the client
    /// must list again.
    ExpireWatches,
    /// Requests are refused before anything is done.
    Refuse {
        /// With which HTTP status.
        status: RefusedStatus,
        /// Seconds for the header `Retry-After`; without it there is no such header.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_seconds: Option<u32>,
    },
    /// Requests are carried out, and the answer is held back.
    Delay {
        /// For how long.
        #[serde(rename = "byMs", with = "milliseconds")]
        by: Duration,
    },
    /// New connections are cut at their first request, before it is carried out. (Who is there is not known earlier: TCP
    /// and TLS succeed.)
    RefuseConnections {
        /// What happens to connections that exist already.
        #[serde(default)]
        existing: Connections,
    },
    /// Watches stay open and say nothing. What they missed they get when the rule is gone.
    FreezeWatches,
    /// Watches are not told how far they are; the bookmark that ends a streaming list still comes.
    DropBookmarks,
    /// Watches get events twice.
    DuplicateEvents,
    /// Watches get events late, in their order.
    DelayEvents {
        /// For how long.
        #[serde(rename = "byMs", with = "milliseconds")]
        by: Duration,
    },
}

impl Effect {
    /// Whether it is about watches, and not about requests of all sorts.
    pub fn is_about_watches(self) -> bool {
        match self {
            Self::CloseWatches { .. }
            | Self::ExpireWatches
            | Self::FreezeWatches
            | Self::DropBookmarks
            | Self::DuplicateEvents
            | Self::DelayEvents { .. } => true,
            Self::Refuse { .. } | Self::Delay { .. } | Self::RefuseConnections { .. } => false,
        }
    }
}

/// What becomes of connections that exist when new ones begin to be refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Connections {
    /// They are served as before.
    #[default]
    Keep,
    /// They are cut at once; a connection that is in use by a spared client is kept.
    Cut,
}

/// A status with which requests can be refused: 429, 500 or 503.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u16", try_from = "u16")]
pub enum RefusedStatus {
    /// 429.
    TooManyRequests,
    /// 500.
    InternalError,
    /// 503.
    ServiceUnavailable,
}

impl From<RefusedStatus> for u16 {
    fn from(status: RefusedStatus) -> Self {
        match status {
            RefusedStatus::TooManyRequests => 429,
            RefusedStatus::InternalError => 500,
            RefusedStatus::ServiceUnavailable => 503,
        }
    }
}

impl TryFrom<u16> for RefusedStatus {
    type Error = InvalidRule;

    fn try_from(code: u16) -> Result<Self, InvalidRule> {
        match code {
            429 => Ok(Self::TooManyRequests),
            500 => Ok(Self::InternalError),
            503 => Ok(Self::ServiceUnavailable),
            other => Err(InvalidRule::Status(other)),
        }
    }
}

/// A rule makes no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidRule {
    /// It has no name, or too long a one.
    #[error("the name of a rule has 1 to {NAME_MAX} bytes, not {0}")]
    Name(usize),
    /// Requests cannot be refused with this status.
    #[error("requests are refused with 429, 500 or 503, not with {0}")]
    Status(u16),
    /// Every zeroth time.
    #[error("every 0th time is never: `n` is at least 1")]
    EveryZeroth,
    /// Not a probability.
    #[error("a probability is between 0 and 1, not {0}")]
    Probability(f64),
    /// A delay beyond all patience.
    #[error("a delay is {DELAY_MAX:?} at most, not {0:?}")]
    Delay(Duration),
    /// A period that leaves time for nothing else.
    #[error("watches are closed every {PERIOD_MIN:?} at most, not every {0:?}")]
    Period(Duration),
}

impl Rule {
    /// A rule that hits everybody but the harness, every time.
    pub fn new(name: impl Into<String>, effect: Effect) -> Self {
        Self { name: name.into(), target: Target::default(), chance: Chance::default(), seed: 0, effect }
    }

    /// Says what makes no sense about it.
    pub fn validate(&self) -> Result<(), InvalidRule> {
        if self.name.is_empty() || self.name.len() > NAME_MAX {
            return Err(InvalidRule::Name(self.name.len()));
        }
        match self.chance {
            Chance::EveryNth { n: 0 } => return Err(InvalidRule::EveryZeroth),
            Chance::Probability { of } if !(0.0..=1.0).contains(&of) => return Err(InvalidRule::Probability(of)),
            _ => {}
        }
        match self.effect {
            Effect::Delay { by } | Effect::DelayEvents { by } if by > DELAY_MAX => Err(InvalidRule::Delay(by)),
            Effect::CloseWatches { every: Some(every) } if every < PERIOD_MIN => Err(InvalidRule::Period(every)),
            _ => Ok(()),
        }
    }
}

/// What a rule has done: the witness of a fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleReport {
    /// The rule.
    pub rule: Rule,
    /// How often it could have hit: requests, connections, watches or events of those whom it concerns.
    pub seen: u64,
    /// How often it did.
    pub hits: u64,
    /// The hits by user agent. Beyond 64 different ones the rest is counted under `…`.
    pub hits_by_user_agent: BTreeMap<String, u64>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use test_case::test_case;

    use super::*;

    #[test_case(Effect::CloseWatches { every: Some(Duration::from_secs(2)) } => json!({"type": "closeWatches", "everyMs": 2000}))]
    #[test_case(Effect::CloseWatches { every: None } => json!({"type": "closeWatches"}); "once")]
    #[test_case(Effect::Refuse { status: RefusedStatus::TooManyRequests, retry_after_seconds: Some(1) } => json!({"type": "refuse", "status": 429, "retryAfterSeconds": 1}))]
    #[test_case(Effect::DelayEvents { by: Duration::from_millis(5) } => json!({"type": "delayEvents", "byMs": 5}))]
    #[test_case(Effect::RefuseConnections { existing: Connections::Cut } => json!({"type": "refuseConnections", "existing": "cut"}))]
    fn effects_on_the_wire(effect: Effect) -> serde_json::Value {
        let value = serde_json::to_value(effect).unwrap();
        assert_eq!(serde_json::from_value::<Effect>(value.clone()).unwrap(), effect);
        value
    }

    #[test]
    fn the_harness_is_spared_unless_said_otherwise() {
        let rule: Rule = serde_json::from_value(json!({"name": "a", "effect": {"type": "freezeWatches"}})).unwrap();
        assert_eq!(rule, Rule::new("a", Effect::FreezeWatches));
        assert_eq!(rule.target.except_user_agents, [EXEMPT]);
        let rule: Rule = serde_json::from_value(
            json!({"name": "a", "target": {"exceptUserAgents": []}, "effect": {"type": "freezeWatches"}}),
        )
        .unwrap();
        assert!(rule.target.except_user_agents.is_empty());
    }

    #[test_case(json!({"name": "a", "effect": {"type": "refuse", "status": 404}}), "not with 404")]
    #[test_case(json!({"name": "a", "effect": {"type": "melt"}}), "unknown variant `melt`")]
    #[test_case(json!({"name": "a", "verbs": [], "effect": {"type": "freezeWatches"}}), "unknown field `verbs`")]
    fn mistakes_are_named(rule: serde_json::Value, words: &str) {
        let error = serde_json::from_value::<Rule>(rule).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }

    #[test]
    fn nonsense_is_refused() {
        let with = |chance| Rule { chance, ..Rule::new("a", Effect::FreezeWatches) }.validate();
        assert_eq!(with(Chance::EveryNth { n: 0 }), Err(InvalidRule::EveryZeroth));
        assert_eq!(with(Chance::Probability { of: 1.5 }), Err(InvalidRule::Probability(1.5)));
        assert_eq!(with(Chance::Probability { of: 0.5 }), Ok(()));
        assert_eq!(Rule::new("", Effect::FreezeWatches).validate(), Err(InvalidRule::Name(0)));
        let slow = Duration::from_secs(601);
        assert_eq!(Rule::new("a", Effect::Delay { by: slow }).validate(), Err(InvalidRule::Delay(slow)));
        let every = Duration::from_millis(1);
        let hasty = Effect::CloseWatches { every: Some(every) };
        assert_eq!(Rule::new("a", hasty).validate(), Err(InvalidRule::Period(every)));
    }
}
