//! Faults in force: what they make of the truth, and what cannot be expected meanwhile.

use meshbed_events::{Event, FaultId, Micros};

use super::{InForce, Missing, Strike, World};

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
