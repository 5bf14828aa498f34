//! Link: one direction of the link between two clusters gets other conditions, or both do.
//!
//! Effect: packets are delayed, lost, shaped, refused or translated by the WAN router. Witness: packets that this fault sends
//! itself, and the router's counters: one that did not arrive, came late, or was refused. Heal: the conditions that
//! the link had before.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use mesh_types::ClusterName;
use meshbed_scenario::{LinkChange, record};

use super::{Fault, FaultError, Injected, Injection, cuts, wan};
use crate::world::Strike;

record! {
    /// One direction of the link between two clusters gets other conditions, or both do. Conditions that are not given
    /// are clear.
    pub struct Link {
        /// Where packets come from.
        pub from: ClusterName,
        /// Where they go to.
        pub to: ClusterName,
        /// The other direction gets them, too.
        pub both: Option<bool>,
        /// What happens to them.
        pub conditions: LinkChange,
    }
    check |record, at, context| {
        if record.from == record.to {
            context.report(at, "a link is between two clusters", None);
        }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrow = if self.both == Some(true) { "<->" } else { "->" };
        write!(f, "link {} {arrow} {}: {}", self.from, self.to, *self.conditions)
    }
}

impl Fault for Link {
    fn kind(&self) -> &'static str {
        "link"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        async move {
            let mut directions = vec![(self.from.clone(), self.to.clone())];
            if self.both == Some(true) {
                directions.push((self.to.clone(), self.from.clone()));
            }
            let strike = Strike::at(self.to_string());
            let strike = if self.conditions.down {
                cuts::apart(strike, &self.from, &self.to)
            } else {
                cuts::slow(strike, &self.from, &self.to)
            };
            wan::change(injection, strike, directions, &self.conditions).await
        }
        .boxed()
    }
}
