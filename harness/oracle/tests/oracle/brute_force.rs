//! A second reading of the rules, in the dumbest way: every moment, every cluster, every endpoint, every port is
//! looked at, and each rule is a sentence. It shares nothing with the oracle.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

/// Clusters by index, services by index.
pub(crate) const CLUSTERS: usize = 3;
pub(crate) const SERVICES: usize = 2;
pub(crate) const SLICES: usize = 2;
pub(crate) const NODES: usize = 2;

/// Name, number, protocol.
pub(crate) type Port = (String, u16, &'static str);

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Service {
    pub(crate) annotations: BTreeMap<&'static str, &'static str>,
    pub(crate) external_name: bool,
    pub(crate) ip: Option<Ipv4Addr>,
    pub(crate) ports: Vec<Port>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Endpoint {
    pub(crate) ip: Ipv4Addr,
    pub(crate) ready: Option<bool>,
    pub(crate) serving: Option<bool>,
    pub(crate) terminating: Option<bool>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slice {
    pub(crate) ports: Vec<Port>,
    pub(crate) endpoints: Vec<Endpoint>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Who {
    Node(usize, usize),
    Nodes(usize),
    Others,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fate {
    Kept,
    May(i64),
    Must(i64, i64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cut {
    Knowledge(Who, usize, Fate),
    Maps(usize, usize),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Happening {
    /// Cluster, service.
    Service(usize, usize, Option<Service>),
    /// Cluster, service, slice.
    Slice(usize, usize, usize, Option<Slice>),
    Cut(Cut),
    /// Index among the cuts, in the order of their times.
    Mend(usize),
    /// Cluster, node.
    Right(usize, usize),
}

/// Everything that happened, by time; no two things happen at one time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Story {
    pub(crate) happenings: Vec<(i64, Happening)>,
    pub(crate) lag: i64,
    pub(crate) reconvergence: i64,
}

/// One service as one observer may see it.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    services: [Option<Service>; CLUSTERS],
    slices: [[Option<Slice>; SLICES]; CLUSTERS],
}

/// Cluster, address, port, protocol.
pub(crate) type Backend = (usize, Ipv4Addr, u16, &'static str);

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sides {
    pub(crate) active: BTreeSet<Backend>,
    pub(crate) inactive: BTreeSet<Backend>,
    pub(crate) tolerated: BTreeSet<Backend>,
}

/// Address, port, protocol.
pub(crate) type Frontend = (Ipv4Addr, u16, &'static str);

/// The new name wins over the old one, whatever it says.
fn annotation(service: &Service, new: &str, old: &str) -> Option<String> {
    let text = match service.annotations.get(new) {
        Some(text) => Some(text),
        None => service.annotations.get(old),
    };
    text.map(|text| text.to_lowercase())
}

/// "Booleans compare lower-cased to `true`; anything else is false." An external name is no service.
fn is_global(service: &Service) -> bool {
    !service.external_name
        && annotation(service, "service.cilium.io/global", "io.cilium/global-service") == Some("true".to_owned())
}

/// "Default true if global. Ignored if not global."
fn is_exported(service: &Service) -> bool {
    let shared = annotation(service, "service.cilium.io/shared", "io.cilium/shared-service");
    is_global(service) && (shared.is_none() || shared == Some("true".to_owned()))
}

/// "Ignored if not global."
fn affinity(service: &Service) -> String {
    let text = annotation(service, "service.cilium.io/affinity", "io.cilium/service-affinity").unwrap_or_default();
    if is_global(service) { text } else { String::new() }
}

/// What each frontend of the service in cluster `me` must have behind it.
pub(crate) fn frontends(world: &World, me: usize) -> BTreeMap<Frontend, Sides> {
    let mut found = BTreeMap::new();
    // "The consuming cluster needs its own Service object."
    let Some(mine) = &world.services[me] else { return found };
    if mine.external_name {
        return found;
    }
    let Some(ip) = mine.ip else { return found };
    for (name, number, protocol) in &mine.ports {
        found.insert((ip, *number, *protocol), behind(world, me, mine, name, protocol));
    }
    found
}

fn behind(world: &World, me: usize, mine: &Service, port_name: &str, protocol: &str) -> Sides {
    let mut local: Vec<(Backend, &str)> = Vec::new();
    let mut remote: Vec<(Backend, &str)> = Vec::new();
    for cluster in 0..CLUSTERS {
        for slice in world.slices[cluster].iter().flatten() {
            for endpoint in &slice.endpoints {
                for (_, number, found_protocol) in &slice.ports {
                    // "Protocol must match."
                    if *found_protocol != protocol {
                        continue;
                    }
                    // "If the frontend port has a name and the backend has names, the backend must contain that name;
                    // otherwise all backends of the service are used. Numbers are never compared."
                    let names: Vec<&String> = slice
                        .ports
                        .iter()
                        .filter(|(_, other, protocol)| other == number && protocol == found_protocol)
                        .map(|(name, _, _)| name)
                        .filter(|name| !name.is_empty())
                        .collect();
                    if !port_name.is_empty() && !names.is_empty() && !names.iter().any(|name| *name == port_name) {
                        continue;
                    }
                    // Kubernetes: unknown readiness is ready, unknown serving is the same as ready.
                    let ready = endpoint.ready != Some(false);
                    let serving = endpoint.serving.unwrap_or(ready);
                    let terminating = endpoint.terminating == Some(true);
                    let backend = (cluster, endpoint.ip, *number, *found_protocol);
                    if cluster == me {
                        if ready {
                            local.push((backend, "active"));
                        } else if terminating && serving {
                            local.push((backend, "terminating"));
                        } else if terminating {
                            local.push((backend, "terminating-not-serving"));
                        }
                    } else {
                        // "Service not global: only local ones." "Export needs global and shared." "A backend is
                        // included when it is ready or serving", and "remote backends enter as active".
                        let exported = world.services[cluster].as_ref().is_some_and(is_exported);
                        if is_global(mine) && exported && (ready || serving) {
                            remote.push((backend, "active"));
                        }
                    }
                }
            }
        }
    }
    let count =
        |side: &[(Backend, &str)], states: &[&str]| side.iter().filter(|(_, state)| states.contains(state)).count();
    let healthy = ["active", "terminating"];
    let chosen: Vec<(Backend, &str)> = match affinity(mine).as_str() {
        // "All of local always; all of remote if and only if the count of active local backends is 0 and remote has a
        // healthy one."
        "local" if count(&local, &["active"]) == 0 && count(&remote, &healthy) > 0 => [local, remote].concat(),
        "local" => local,
        // "All of remote always; local only if remote has no healthy backend and local has one."
        "remote" if count(&remote, &healthy) == 0 && count(&local, &healthy) > 0 => [remote, local].concat(),
        "remote" => remote,
        _ => [local, remote].concat(),
    };
    // "Terminating: selectable only if no active backend."
    let any_active = chosen.iter().any(|(_, state)| *state == "active");
    let mut sides = Sides::default();
    for (backend, state) in chosen {
        match state {
            "active" => sides.active.insert(backend),
            "terminating" if !any_active => sides.active.insert(backend),
            "terminating" => sides.inactive.insert(backend),
            _ => sides.tolerated.insert(backend),
        };
    }
    sides
}

/// What somebody can know of a cluster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Knows {
    Newest,
    /// Anything since then, and perhaps nothing.
    Since(i64, bool),
    Nothing,
}

impl Story {
    fn cuts(&self) -> Vec<(i64, Cut, i64)> {
        let mut cuts = Vec::new();
        for (at, happening) in &self.happenings {
            match happening {
                Happening::Cut(cut) => cuts.push((*at, *cut, i64::MAX)),
                Happening::Mend(index) => {
                    if let Some((_, _, mended)) = cuts.get_mut(*index) {
                        *mended = (*mended).min(*at);
                    }
                }
                _ => {}
            }
        }
        cuts
    }

    fn blinds(cut: &Cut, (cluster, node): (usize, usize), about: usize) -> bool {
        match cut {
            Cut::Knowledge(who, of, _) if *of == about => match who {
                Who::Node(c, n) => (*c, *n) == (cluster, node),
                Who::Nodes(c) => *c == cluster,
                Who::Others => cluster != about,
                Who::All => true,
            },
            _ => false,
        }
    }

    /// The last moment at which the cut may still show at the node: until the node was right again after it was
    /// mended, or the tolerance is over.
    fn until(&self, index: usize, me: (usize, usize)) -> i64 {
        let cuts = self.cuts();
        let (_, cut, mended) = cuts[index];
        if mended == i64::MAX {
            return i64::MAX;
        }
        let in_force = |(from, _, mended): &&(i64, Cut, i64), at: i64| *from <= at && at < *mended;
        for (at, happening) in &self.happenings {
            let right =
                *happening == Happening::Right(me.0, me.1) && mended <= *at && *at <= mended + self.reconvergence;
            let about_it = |other: &(i64, Cut, i64)| match cut {
                Cut::Knowledge(_, about, _) => Self::blinds(&other.1, me, about),
                Cut::Maps(..) => false,
            };
            let maps = |other: &(i64, Cut, i64)| other.1 == Cut::Maps(me.0, me.1);
            let open = cuts.iter().filter(|other| in_force(other, *at)).any(|other| about_it(other) || maps(other));
            if right && !open {
                return (mended + self.reconvergence).min(*at + self.lag);
            }
        }
        mended + self.reconvergence
    }

    /// Follows what the node can know of `about` from moment to moment.
    pub(crate) fn knows(&self, me: (usize, usize), about: usize, at: i64, strict: bool) -> Knows {
        let cuts: Vec<(i64, Fate, i64, i64)> = self
            .cuts()
            .iter()
            .enumerate()
            .filter(|(_, (_, cut, _))| Self::blinds(cut, me, about))
            .map(|(index, (from, cut, mended))| {
                let Cut::Knowledge(_, _, fate) = cut else { unreachable!("only these blind") };
                (*from, *fate, *mended, self.until(index, me))
            })
            .collect();
        let mut knows = Knows::Newest;
        for now in 0..=at {
            let shows = |from: i64, until: i64, at: i64| from <= at && at <= until;
            let any_shows = cuts.iter().any(|(from, _, _, until)| shows(*from, *until, now));
            let goes_on =
                cuts.iter().any(|(from, _, _, until)| shows(*from, *until, now - 1) && shows(*from, *until, now));
            if !any_shows {
                knows = Knows::Newest;
                continue;
            }
            let (mut since, mut maybe_gone) = match knows {
                Knows::Since(since, gone) if goes_on => (since, gone),
                Knows::Nothing if goes_on => (now - 1 - self.lag, true),
                _ => (now - 1 - self.lag, false),
            };
            let in_force = cuts.iter().filter(|(from, _, mended, _)| *from <= now && now < *mended);
            let mut gone = false;
            for (_, fate, _, _) in in_force {
                match fate {
                    Fate::Kept => {}
                    Fate::May(from) => maybe_gone |= *from <= now,
                    Fate::Must(from, by) => {
                        maybe_gone |= *from <= now;
                        gone |= *by <= now;
                    }
                }
            }
            if gone {
                since = now - self.lag;
            }
            knows = if gone { Knows::Nothing } else { Knows::Since(since, maybe_gone) };
        }
        let in_force = cuts.iter().any(|(from, _, mended, _)| *from <= at && at < *mended);
        if strict && !in_force { Knows::Newest } else { knows }
    }

    /// Whether nothing can be said of the node's maps.
    pub(crate) fn maps_unknown(&self, me: (usize, usize), at: i64, strict: bool) -> bool {
        self.cuts().iter().enumerate().any(|(index, (from, cut, mended))| {
            let until = if strict { mended.saturating_sub(1) } else { self.until(index, me) };
            *cut == Cut::Maps(me.0, me.1) && *from <= at && at <= until
        })
    }

    fn service_at(&self, cluster: usize, service: usize, at: i64) -> Option<Service> {
        let mut found = None;
        for (time, happening) in &self.happenings {
            if let Happening::Service(c, s, new) = happening
                && *time <= at
                && (*c, *s) == (cluster, service)
            {
                found.clone_from(new);
            }
        }
        found
    }

    fn slice_at(&self, cluster: usize, service: usize, slice: usize, at: i64) -> Option<Slice> {
        let mut found = None;
        for (time, happening) in &self.happenings {
            if let Happening::Slice(c, s, i, new) = happening
                && *time <= at
                && (*c, *s, *i) == (cluster, service, slice)
            {
                found.clone_from(new);
            }
        }
        found
    }

    /// Every world that the node may see: each object in any version that it can know.
    pub(crate) fn worlds(&self, me: (usize, usize), service: usize, at: i64, strict: bool) -> Vec<World> {
        let mut worlds = vec![World::default()];
        for cluster in 0..CLUSTERS {
            let knows = self.knows(me, cluster, at, strict);
            let moments: Vec<i64> = match knows {
                Knows::Newest | Knows::Nothing => vec![at],
                Knows::Since(since, _) => (since..=at).collect(),
            };
            let mut services: Vec<Option<Service>> = Vec::new();
            let may_be_unknown = matches!(knows, Knows::Nothing | Knows::Since(_, true));
            let seen = moments.iter().map(|moment| self.service_at(cluster, service, *moment));
            for version in seen.filter(|_| knows != Knows::Nothing).chain(may_be_unknown.then_some(None)) {
                if !services.contains(&version) {
                    services.push(version);
                }
            }
            worlds = each(&worlds, &services, |world, version| world.services[cluster].clone_from(version));
            for slice in 0..SLICES {
                let mut slices: Vec<Option<Slice>> = Vec::new();
                for version in moments.iter().map(|moment| self.slice_at(cluster, service, slice, *moment)) {
                    if !slices.contains(&version) {
                        slices.push(version);
                    }
                }
                worlds = each(&worlds, &slices, |world, version| world.slices[cluster][slice].clone_from(version));
            }
        }
        worlds
    }
}

/// Every world with every version.
fn each<T>(worlds: &[World], versions: &[T], put: impl Fn(&mut World, &T)) -> Vec<World> {
    let mut all = Vec::new();
    for world in worlds {
        for version in versions {
            let mut world = world.clone();
            put(&mut world, version);
            all.push(world);
        }
    }
    all
}
