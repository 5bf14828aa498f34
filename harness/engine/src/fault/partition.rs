//! Partition: no packet passes from one cluster to another. The other direction stays open unless `both` is set.
//!
//! Effect: TCP needs both directions, so nothing works between the two in either. Witness: packets that the fault sends
//! itself, and that the WAN router counts as dropped. Heal: the conditions that the link had before.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use mesh_types::ClusterName;
use meshbed_scenario::{LinkConditions, record};

use super::{Fault, FaultError, Injected, Injection, cuts, wan};
use crate::world::Strike;

record! {
    /// No packet passes from one cluster to another. The other direction stays open unless `both` is set.
    pub struct Partition {
        /// Where packets come from.
        pub from: ClusterName,
        /// Where they no longer arrive.
        pub to: ClusterName,
        /// The other direction is cut, too.
        pub both: Option<bool>,
    }
    check |record, at, context| {
        if record.from == record.to {
            context.report(at, "a partition is between two clusters", None);
        }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrow = if self.both == Some(true) { "<->" } else { "->" };
        write!(f, "partition {} {arrow} {}", self.from, self.to)
    }
}

impl Fault for Partition {
    fn kind(&self) -> &'static str {
        "partition"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        async move {
            let mut directions = vec![(self.from.clone(), self.to.clone())];
            if self.both == Some(true) {
                directions.push((self.to.clone(), self.from.clone()));
            }
            let strike = cuts::apart(Strike::at(self.to_string()), &self.from, &self.to);
            let down = LinkConditions { down: true, ..LinkConditions::default() };
            wan::change(injection, strike, directions, &down).await
        }
        .boxed()
    }
}
