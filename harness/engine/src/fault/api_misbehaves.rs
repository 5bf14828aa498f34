//! API misbehaviour: the Kubernetes API of clusters does what real ones do on bad days.
//!
//! Effect: watches are closed, expired, frozen or late; requests are refused or held back. Who asks in the name of the
//! harness is spared. Witness: the API server's own count of what it did to whom. Heal: the rule is removed.

use std::{fmt, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use mesh_types::ClusterName;
use meshbed_apiserver::admin::{Chance, Client, Connections, Effect, RefusedStatus, Rule};
use meshbed_scenario::{Clusters, Ratio, Strings, record, words};

use super::{Fault, FaultError, Injected, Injection, cuts};
use crate::world::Strike;

/// How long a witness may take: clients of an API that is closed to them come back within seconds.
const WITNESS_MAX: Duration = Duration::from_secs(30);
/// Time between two looks at the API server's counts, which have no notification.
const LOOK_EVERY: Duration = Duration::from_millis(20);

words! {
    /// What the API does.
    pub enum Misbehaviour {
        /// It ends watches without an error, and again every `period`.
        CloseWatches = "closeWatches",
        /// It answers watches with `410 Expired`: clients must list again.
        ExpireWatches = "expireWatches",
        /// It keeps watches open and says nothing.
        FreezeWatches = "freezeWatches",
        /// It tells watches everything late by `delay`.
        DelayEvents = "delayEvents",
        /// It tells watches everything twice.
        DuplicateEvents = "duplicateEvents",
        /// It answers requests with 429.
        TooManyRequests = "tooManyRequests",
        /// It answers requests with 500.
        InternalError = "internalError",
        /// It answers requests with 503.
        Unavailable = "unavailable",
        /// It holds every answer back by `delay`.
        Slow = "slow",
        /// It cuts connections.
        RefuseConnections = "refuseConnections",
    }
}

record! {
    /// The Kubernetes API of clusters does what real ones do on bad days. The harness itself is spared.
    pub struct ApiMisbehaves {
        /// Whose API.
        pub clusters: Clusters,
        /// What it does.
        pub how: Misbehaviour,
        /// How often watches are closed; once when it is not given.
        pub period: Option<Duration>,
        /// How late it is, for `slow` and `delayEvents`.
        pub delay: Option<Duration>,
        /// Share of the requests that it does it to, drawn by lot; all when it is not given.
        pub share: Option<Ratio>,
        /// Only these resources, such as `endpointslices`.
        pub resources: Option<Strings>,
        /// Only clients whose user agent starts with one of these.
        pub clients: Option<Strings>,
    }
    check |record, at, context| {
        if matches!(record.how, Misbehaviour::Slow | Misbehaviour::DelayEvents) && record.delay.is_none() {
            context.report(at, format!("`{}` needs `delay`", record.how), None);
        }
    }
}

impl fmt::Display for ApiMisbehaves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kubernetes API of {}: {}", self.clusters, self.how)
    }
}

impl Fault for ApiMisbehaves {
    fn kind(&self) -> &'static str {
        "api-misbehaves"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        async move {
            let mut injected = Vec::new();
            for cluster in &self.clusters {
                injected.push(self.on(injection, cluster).await?);
            }
            Ok(injected)
        }
        .boxed()
    }
}

impl ApiMisbehaves {
    async fn on(&self, injection: &Injection, cluster: &ClusterName) -> Result<Injected, FaultError> {
        let mut client = injection.api_admin(cluster).await?;
        let id = injection.strike(self.strike(cluster));
        let giving = FaultError::failed(format!("give a rule to the API server of {cluster}"));
        client.add(self.rule(injection)).await.map_err(giving)?;
        injection.witnessed(id, self.hits(&mut client, &injection.name).await?);
        let (name, cluster) = (injection.name.clone(), cluster.clone());
        let healing = async move {
            let failed = FaultError::failed(format!("take a rule from the API server of {cluster}"));
            let report = client.remove(&name).await.map_err(failed)?;
            Ok(report
                .map(|report| format!("the rule hit {} of {} times", report.hits, report.seen))
                .unwrap_or_default())
        };
        Ok(Injected { id, healing: healing.boxed() })
    }

    /// Whoever needs the API may learn late, or nothing. Watches that are only closed or doubled lose no news.
    fn strike(&self, cluster: &ClusterName) -> Strike {
        let strike = Strike::at(self.to_string()).hits(cluster);
        match self.how {
            Misbehaviour::CloseWatches | Misbehaviour::DuplicateEvents | Misbehaviour::ExpireWatches => strike,
            _ => cuts::all_blind(strike, cluster),
        }
    }

    fn rule(&self, injection: &Injection) -> Rule {
        let refuse = |status| Effect::Refuse { status, retry_after_seconds: None };
        let delay = self.delay.unwrap_or_default();
        let effect = match self.how {
            Misbehaviour::CloseWatches => Effect::CloseWatches { every: self.period },
            Misbehaviour::ExpireWatches => Effect::ExpireWatches,
            Misbehaviour::FreezeWatches => Effect::FreezeWatches,
            Misbehaviour::DelayEvents => Effect::DelayEvents { by: delay },
            Misbehaviour::DuplicateEvents => Effect::DuplicateEvents,
            Misbehaviour::TooManyRequests => refuse(RefusedStatus::TooManyRequests),
            Misbehaviour::InternalError => refuse(RefusedStatus::InternalError),
            Misbehaviour::Unavailable => refuse(RefusedStatus::ServiceUnavailable),
            Misbehaviour::Slow => Effect::Delay { by: delay },
            Misbehaviour::RefuseConnections => Effect::RefuseConnections { existing: Connections::Cut },
        };
        let mut rule = Rule::new(injection.name.clone(), effect);
        rule.seed = injection.seed;
        if let Some(share) = self.share {
            rule.chance = Chance::Probability { of: share.get() };
        }
        rule.target.resources = self.resources.iter().flatten().cloned().collect();
        rule.target.user_agents = self.clients.iter().flatten().cloned().collect();
        rule
    }

    /// Waits until the rule has hit somebody. An effect on watches that nothing happens on hits when something does: a
    /// watch that is frozen is witness enough when there is one.
    async fn hits(&self, client: &mut Client, name: &str) -> Result<String, FaultError> {
        let deadline = tokio::time::Instant::now() + WITNESS_MAX;
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            let reports = client.report().await.map_err(FaultError::failed("read the counts of the API server"))?;
            let mine = reports.into_iter().find(|report| report.rule.name == name);
            if let Some(report) = mine.filter(|report| report.hits > 0) {
                let by: Vec<String> =
                    report.hits_by_user_agent.iter().map(|(agent, hits)| format!("{agent} {hits} times")).collect();
                return Ok(format!("the API server did it to {}", by.join(", ")));
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(FaultError::NoWitness { what: format!("nobody was hit within {WITNESS_MAX:?}") });
            }
            ticks.tick().await;
        }
    }
}
