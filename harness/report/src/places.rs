//! Which cluster an address belongs to, and what a map means, as far as a record tells.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use meshbed_events::{Event, MapState, Outcome, RunRecord};

/// Bits that an address must share with a known backend of a cluster to be counted as that cluster's.
const SHARED_BITS_MIN: u32 = 8;

/// What the record tells about addresses.
pub(crate) struct Places {
    /// Addresses that answered, and of which cluster they said to be.
    backends: BTreeMap<IpAddr, String>,
    /// Addresses named in the changes of Services, by cluster.
    services: BTreeMap<(String, IpAddr), String>,
}

/// What a node's maps mean: by service and port, how many selectable backends each cluster has. Addresses, which differ
/// between runs, do not appear.
pub(crate) type Meaning = BTreeMap<String, BTreeMap<String, usize>>;

/// What counts as the home of a backend of no known cluster, and of one that is not selectable.
const ELSEWHERE: &str = "elsewhere";
const INACTIVE: &str = "inactive";

impl Places {
    /// Reads them from the requests' answers and the changes of Services.
    pub(crate) fn of(record: &RunRecord) -> Self {
        let mut backends = BTreeMap::new();
        let mut services = BTreeMap::new();
        for stamped in &record.events {
            match &stamped.event {
                Event::Request(request) => {
                    let Outcome::Answered(answer) = &request.outcome else { continue };
                    if let Ok(ip) = answer.ip.parse::<IpAddr>() {
                        backends.entry(ip).or_insert_with(|| answer.cluster.clone());
                    }
                }
                Event::ObjectChanged { cluster, kind, name, change } if kind == "Service" => {
                    let words: BTreeSet<_> = change.split(|c: char| !c.is_ascii_digit() && c != '.').collect();
                    for ip in words.into_iter().filter_map(|word| word.trim_matches('.').parse::<IpAddr>().ok()) {
                        services.insert((cluster.clone(), ip), name.clone());
                    }
                }
                _ => {}
            }
        }
        Self { backends, services }
    }

    /// The cluster of a backend such as `10.1.1.2:80/TCP`.
    ///
    /// An address that never answered belongs to the cluster whose backends are nearest: pod CIDRs do not overlap, so
    /// the longest common prefix decides.
    pub(crate) fn cluster_of(&self, backend: &str) -> Option<&str> {
        let (ip, _) = address(backend)?;
        let shared = |known: &IpAddr| match (ip, *known) {
            (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
            (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
            _ => 0,
        };
        let nearest = self.backends.iter().max_by_key(|(known, _)| shared(known))?;
        (shared(nearest.0) >= SHARED_BITS_MIN).then_some(nearest.1.as_str())
    }

    /// What `state` of a node of `cluster` means.
    pub(crate) fn meaning(&self, cluster: &str, state: &MapState) -> Meaning {
        let mut meaning = Meaning::new();
        for (frontend, content) in &state.frontends {
            let homes = meaning.entry(self.service_name(cluster, frontend)).or_default();
            for address in &content.active {
                *homes.entry(self.cluster_of(address).unwrap_or(ELSEWHERE).to_owned()).or_default() += 1;
            }
            if !content.inactive.is_empty() {
                *homes.entry(INACTIVE.to_owned()).or_default() += content.inactive.len();
            }
        }
        meaning
    }

    /// `namespace/name port/protocol`, or only the latter when the record does not name the service.
    pub(crate) fn service_name(&self, cluster: &str, frontend: &str) -> String {
        let Some((ip, port)) = address(frontend) else { return "unreadable".to_owned() };
        match self.services.get(&(cluster.to_owned(), ip)) {
            Some(name) => format!("{name} {port}"),
            None => port.to_owned(),
        }
    }
}

/// The parts of `10.1.1.2:80/TCP` or `[fd00::1]:80/TCP`.
fn address(text: &str) -> Option<(IpAddr, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    Some((host.trim_start_matches('[').trim_end_matches(']').parse().ok()?, port))
}

/// The backends of one service in a few words.
pub(crate) fn meaning_text(homes: Option<&BTreeMap<String, usize>>) -> String {
    let Some(homes) = homes else { return "no frontend".to_owned() };
    if homes.is_empty() {
        return "no backend".to_owned();
    }
    homes.iter().map(|(home, count)| format!("{count} {home}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_belongs_to_the_nearest_cluster() {
        let known = [("10.1.1.2", "alpha"), ("10.2.1.2", "beta")];
        let backends = known.map(|(ip, cluster)| (ip.parse().expect("an address"), cluster.to_owned()));
        let places = Places { backends: BTreeMap::from(backends), services: BTreeMap::new() };
        assert_eq!(places.cluster_of("10.2.2.9:80/TCP"), Some("beta"));
        assert_eq!(places.cluster_of("10.1.2.9:80/TCP"), Some("alpha"));
        assert_eq!(places.cluster_of("172.18.1.2:6443/TCP"), None);
    }
}
