//! What came of a cell: its slots in the maps, and who answered.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    path::PathBuf,
    time::{Duration, Instant},
};

use meshbed_events::{ErrorKind, MapState};
use meshbed_oracle::{Cell, Expected, Slots, Who};

use super::{Tried, ask::Asked};

/// Time between two looks at the maps while they are waited for; pins have no notification.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A cell and where it is on the mesh.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) cell: Cell,
    /// Its service in the asking cluster.
    pub(super) service: Ipv4Addr,
    pub(super) port: u16,
    /// The backend of the asking cluster.
    pub(super) local: Ipv4Addr,
    /// The backend of the other one.
    pub(super) remote: Ipv4Addr,
}

/// Waits until the maps of all nodes hold what the places want, or the time is over.
pub(super) fn wait_for_maps(bpf_roots: &[PathBuf], places: &[Place], wait_max: Duration) {
    let deadline = Instant::now() + wait_max;
    let right = |root: &PathBuf| {
        crate::read_maps(root).is_ok_and(|maps| places.iter().all(|place| place.slots(&maps) == Ok(place.wanted())))
    };
    while !bpf_roots.iter().all(right) && Instant::now() < deadline {
        std::thread::park_timeout(LOOK_EVERY);
    }
}

impl Place {
    fn wanted(&self) -> Slots {
        self.cell.expected.slots
    }

    /// Whose addresses are in the slots of a node's maps; somebody else's as an error.
    fn slots(&self, maps: &MapState) -> Result<Slots, String> {
        let frontend = format!("{}:{}/TCP", self.service, self.port);
        let frontend = maps.frontends.get(&frontend).ok_or_else(|| format!("there is no frontend {frontend}"))?;
        Ok(Slots { active: self.owners(&frontend.active)?, inactive: self.owners(&frontend.inactive)? })
    }

    /// Whose addresses (`10.1.1.2:80/TCP`) these are.
    fn owners(&self, addresses: &[String]) -> Result<Who, String> {
        let ip = |address: &String| address.split(':').next().and_then(|ip| ip.parse().ok());
        let ips = addresses.iter().map(|address| ip(address).ok_or_else(|| format!("`{address}` is no backend")));
        self.who(&ips.collect::<Result<_, _>>()?)
    }

    fn who(&self, ips: &BTreeSet<Ipv4Addr>) -> Result<Who, String> {
        if let Some(other) = ips.iter().find(|ip| **ip != self.local && **ip != self.remote) {
            return Err(format!("{other} is nobody's backend"));
        }
        Ok(match (ips.contains(&self.local), ips.contains(&self.remote)) {
            (false, false) => Who::Nobody,
            (true, false) => Who::Local,
            (false, true) => Who::Remote,
            (true, true) => Who::Both,
        })
    }

    /// Compares what was found on all nodes and by all clients with what the cell wants.
    pub(super) fn judge(&self, maps: &[MapState], asked: &[Asked]) -> Tried {
        let wanted = self.cell.expected;
        let mut findings = Vec::new();
        let mut found = Expected { answers: Who::Nobody, lost: false, slots: wanted.slots };
        for maps in maps {
            match self.slots(maps) {
                Ok(slots) if slots == wanted.slots => {}
                Ok(slots) => {
                    found.slots = slots;
                    findings.push(format!("slots {} instead of {}", words(slots), words(wanted.slots)));
                }
                Err(finding) => findings.push(finding),
            }
        }
        let answered: BTreeSet<Ipv4Addr> = asked.iter().flat_map(|asked| asked.answers.keys().copied()).collect();
        let mut failed: BTreeMap<ErrorKind, usize> = BTreeMap::new();
        for (kind, count) in asked.iter().flat_map(|asked| &asked.failures) {
            *failed.entry(*kind).or_default() += count;
        }
        match self.who(&answered) {
            Ok(who) => found.answers = who,
            Err(finding) => findings.push(finding),
        }
        // A request that fails because there is nobody is not lost.
        found.lost = !failed.is_empty() && found.slots.active != Who::Nobody;
        if found.answers != wanted.answers {
            findings.push(format!("answers of {} instead of {}", found.answers, wanted.answers));
        }
        if found.lost && !wanted.lost {
            let kinds: Vec<String> = failed.iter().map(|(kind, count)| format!("{count} {}", kind.as_str())).collect();
            findings.push(format!("requests were lost: {}", kinds.join(", ")));
        }
        findings.dedup();
        Tried { cell: self.cell.clone(), found, findings }
    }
}

fn words(slots: Slots) -> String {
    format!("[{} | {}]", slots.active, slots.inactive)
}

#[cfg(test)]
mod tests {
    use meshbed_events::MapFrontend;
    use meshbed_oracle::truth_table;

    use super::*;

    const LOCAL: Ipv4Addr = Ipv4Addr::new(10, 1, 1, 2);
    const REMOTE: Ipv4Addr = Ipv4Addr::new(10, 2, 1, 2);

    /// The first cell that both answer.
    fn place() -> Place {
        let cell = truth_table().into_iter().find(|cell| cell.expected.answers == Who::Both).expect("there is one");
        Place { cell, service: Ipv4Addr::new(10, 101, 2, 0), port: 80, local: LOCAL, remote: REMOTE }
    }

    fn maps(active: &[Ipv4Addr]) -> MapState {
        let active = active.iter().map(|ip| format!("{ip}:80/TCP")).collect();
        let frontend = MapFrontend { active, ..MapFrontend::default() };
        MapState { frontends: [("10.101.2.0:80/TCP".to_owned(), frontend)].into(), ..MapState::default() }
    }

    fn asked(answers: &[Ipv4Addr], failures: usize) -> Asked {
        let mut asked = Asked { answers: answers.iter().map(|ip| (*ip, 1)).collect(), ..Asked::default() };
        if failures > 0 {
            asked.failures.insert(ErrorKind::Refused, failures);
        }
        asked
    }

    #[test]
    fn a_cell_that_is_as_it_should_has_no_findings() {
        let tried = place().judge(&[maps(&[LOCAL, REMOTE])], &[asked(&[LOCAL], 0), asked(&[REMOTE], 0)]);
        assert_eq!((tried.findings, tried.found), (Vec::new(), tried.cell.expected));
    }

    #[test]
    fn everything_that_does_not_match_is_told() {
        let tried = place().judge(&[maps(&[LOCAL]), maps(&[Ipv4Addr::LOCALHOST])], &[asked(&[LOCAL], 2)]);
        assert_eq!(
            tried.findings,
            [
                "slots [local | nobody] instead of [both | nobody]",
                "127.0.0.1 is nobody's backend",
                "answers of local instead of both",
                "requests were lost: 2 refused",
            ]
        );
    }
}
