//! Faults in force: what they make of the truth, and what cannot be expected meanwhile.

use mesh_types::ClusterName;
use meshbed_events::{Event, FaultId, Micros};
use serde_json::Value;

use super::{InForce, Missing, Strike, World};
use crate::{settle::is_ready, watch::Kind};

/// Version of an object as the API has it.
fn version(object: &Value) -> String {
    object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned()
}

impl World {
    /// Something is about to be broken. What the oracle makes of it counts from now.
    pub(crate) fn strike(&mut self, id: FaultId, name: &str, kind: &str, strike: Strike) -> Micros {
        let at = self.clock.now();
        for (cluster, ip) in &strike.dead {
            self.oracle.pod_dead(at, cluster, *ip);
        }
        for (cluster, ip) in &strike.hung {
            self.oracle.pod_hung(at, cluster, *ip);
        }
        let cuts = strike.cuts.iter().map(|cut| self.oracle.cut(at, cut.clone())).collect();
        let pods = strike.pods.iter().map(|(cluster, pod)| format!("{cluster}/{pod}")).collect();
        let (name, kind) = (name.to_owned(), kind.to_owned());
        self.recorder.push(at, Event::FaultInjected { fault: id, name, kind, target: strike.target.clone(), pods });
        let step = self.step().unwrap_or_default();
        let fault = InForce { id, step, injected: at, strike, cuts };
        if let Some(running) = &mut self.running {
            running.faults.push(fault.clone());
        }
        self.in_force.insert(id, fault);
        self.missing = Missing::of(self.in_force.values());
        self.refresh_truth(at);
        self.bump();
        at
    }

    /// The fault is about to be undone: its pods may come back, at the same addresses.
    pub(crate) fn fault_heals(&mut self, id: FaultId) {
        let now = self.clock.now();
        let Some(fault) = self.in_force.get(&id) else { return };
        for (cluster, ip) in &fault.strike.dead {
            self.oracle.pod_alive(now, cluster, *ip);
        }
        let last_seen = self.ready_on_lost_nodes(&fault.strike);
        self.booting.extend(last_seen);
    }

    /// Pods that died with their node and are still called ready, with the versions of which that is said.
    fn ready_on_lost_nodes(&self, strike: &Strike) -> Vec<((ClusterName, String), String)> {
        let mut found = Vec::new();
        for (cluster, objects) in &self.objects {
            for (name, pod) in objects.of(Kind::Pod) {
                let node = pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
                let ip = pod["status"]["podIP"].as_str().and_then(|ip| ip.parse().ok());
                let died = ip.is_some_and(|ip| strike.dead.contains(&(cluster.clone(), ip)));
                if died && strike.lost_nodes.contains(&(cluster.clone(), node)) && is_ready(pod) {
                    found.push(((cluster.clone(), name.clone()), version(pod)));
                }
            }
        }
        found
    }

    /// Pods of nodes that boot, of which the API still says what it said before: nobody has looked at them yet.
    pub(crate) fn not_looked_at(&self) -> Vec<String> {
        let same = |((cluster, name), before): (&(ClusterName, String), &String)| {
            let pod = self.objects.get(cluster)?.of(Kind::Pod).get(name)?;
            let is_silent = self.missing.silent.contains(cluster);
            (!is_silent && version(pod) == *before).then(|| {
                format!("{cluster}: pod `{name}` is called ready, and its node has not looked at it since it boots")
            })
        };
        self.booting.iter().filter_map(same).collect()
    }

    /// The fault is undone; what it cut is whole again.
    pub(crate) fn fault_healed(&mut self, id: FaultId, witness: String) {
        let now = self.clock.now();
        if let Some(fault) = self.in_force.remove(&id) {
            for (cluster, ip) in &fault.strike.hung {
                self.oracle.pod_woken(now, cluster, *ip);
            }
            for cut in fault.cuts {
                self.oracle.mend(now, cut);
            }
        }
        self.missing = Missing::of(self.in_force.values());
        self.recorder.push(now, Event::FaultHealed { fault: id, witness });
        self.refresh_truth(now);
        self.bump();
    }
}
