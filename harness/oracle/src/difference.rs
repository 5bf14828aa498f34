//! What a node's maps hold against what they must hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mesh_types::{BackendAddress, ClusterName, FrontendAddress, ServiceKey};
use meshbed_events::{DifferenceKind, MapDifference, MapFrontend, MapState};

use crate::{
    past::Past,
    truth::{Acceptable, FrontendBounds, FrontendChoice, FrontendTruth},
};

/// All differences between what is right and what was found.
pub(crate) fn differences(
    right: &BTreeMap<FrontendAddress, Arc<FrontendChoice>>,
    past: &Past,
    found: &MapState,
) -> Vec<MapDifference> {
    let mut differences = Vec::new();
    let mut known = BTreeSet::new();
    for (address, choice) in right {
        let text = address.to_string();
        match found.frontends.get(&text) {
            None if choice.may_be_absent => {}
            None => differences.push(missing(&Place { service: choice.acceptable.service(), frontend: &text })),
            Some(found) => differences.extend(compare(choice, (address, &text), past, &Slots::read(found))),
        }
        known.insert(text);
    }
    differences
        .extend(found.frontends.keys().filter(|address| !known.contains(*address)).map(|address| stray(address)));
    differences.extend(found.defects.iter().map(|defect| structure(defect)));
    differences
}

impl Acceptable {
    /// The service that has the frontend now.
    fn service(&self) -> Option<&ServiceKey> {
        match self {
            Self::OneOf(truths) => truths.first().map(|truth| &truth.service),
            Self::Within(bounds) => Some(&bounds.widest.service),
        }
    }
}

/// Where a difference is.
struct Place<'a> {
    service: Option<&'a ServiceKey>,
    frontend: &'a str,
}

impl Place<'_> {
    fn difference(
        &self,
        kind: DifferenceKind,
        backend: Option<(&str, Option<&ClusterName>)>,
        what: &str,
    ) -> MapDifference {
        let service = self.service.map(ToString::to_string);
        let place =
            service.as_ref().map_or_else(String::new, |service| format!("service {service} ({}): ", self.frontend));
        MapDifference {
            kind,
            frontend: self.frontend.to_owned(),
            backend: backend.map(|(address, _)| address.to_owned()),
            cluster: backend.and_then(|(_, cluster)| cluster).map(ToString::to_string),
            message: format!("{place}{what}"),
            service,
        }
    }
}

fn missing(place: &Place<'_>) -> MapDifference {
    place.difference(DifferenceKind::MissingFrontend, None, "frontend is missing")
}

fn stray(frontend: &str) -> MapDifference {
    let what = format!("frontend {frontend} belongs to no service");
    Place { service: None, frontend }.difference(DifferenceKind::StrayFrontend, None, &what)
}

fn structure(defect: &str) -> MapDifference {
    Place { service: None, frontend: "" }.difference(DifferenceKind::Structure, None, defect)
}

/// The slots of a frontend as found.
#[derive(Default)]
struct Slots {
    active: BTreeSet<BackendAddress>,
    inactive: BTreeSet<BackendAddress>,
    /// In more than one slot.
    repeated: BTreeSet<BackendAddress>,
    /// Texts that are no address of a backend.
    unreadable: BTreeSet<String>,
    /// Time-out of session affinity, seconds.
    affinity_s: Option<u32>,
}

impl Slots {
    fn read(found: &MapFrontend) -> Self {
        let mut slots = Self { affinity_s: found.affinity_s, ..Self::default() };
        for text in &found.active {
            slots.put(text, |slots| &mut slots.active);
        }
        for text in &found.inactive {
            slots.put(text, |slots| &mut slots.inactive);
        }
        slots
    }

    fn put(&mut self, text: &str, side: fn(&mut Self) -> &mut BTreeSet<BackendAddress>) {
        match parse(text) {
            None => {
                self.unreadable.insert(text.to_owned());
            }
            Some(address) => {
                if self.active.contains(&address) || self.inactive.contains(&address) {
                    self.repeated.insert(address);
                }
                side(self).insert(address);
            }
        }
    }
}

/// `10.1.1.2:80/TCP`.
fn parse(text: &str) -> Option<BackendAddress> {
    let (socket, protocol) = text.split_once('/')?;
    let (ip, port) = socket.split_once(':')?;
    Some(BackendAddress { ip: ip.parse().ok()?, port: port.parse().ok()?, protocol: protocol.parse().ok()? })
}

fn compare(
    choice: &FrontendChoice,
    (address, frontend): (&FrontendAddress, &str),
    past: &Past,
    found: &Slots,
) -> Vec<MapDifference> {
    let against = |truth: &FrontendTruth, wrong: Vec<Wrong>| -> Vec<MapDifference> {
        let place = Place { service: Some(&truth.service), frontend };
        wrong.into_iter().map(|wrong| wrong.difference(&place, address, past)).collect()
    };
    match &choice.acceptable {
        Acceptable::OneOf(truths) => {
            let nearest =
                truths.iter().map(|truth| (truth, against_one(truth, found))).min_by_key(|(_, wrong)| wrong.len());
            nearest.map(|(truth, wrong)| against(truth, wrong)).unwrap_or_default()
        }
        Acceptable::Within(bounds) => against(&bounds.widest, against_bounds(bounds, found)),
    }
}

/// One thing that is wrong behind a frontend.
enum Wrong {
    Missing(BackendAddress, Side),
    NotThere(BackendAddress, Side),
    OtherSide(BackendAddress, Side),
    Repeated(BackendAddress),
    Unreadable(String),
    /// What is there, and what should be.
    Affinity(Option<u32>, Option<u32>),
}

#[derive(Clone, Copy)]
enum Side {
    Active,
    Inactive,
    Either,
}

fn against_one(truth: &FrontendTruth, found: &Slots) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    for &backend in &truth.active {
        match (found.active.contains(&backend), found.inactive.contains(&backend)) {
            (true, _) => {}
            (false, true) => wrong.push(Wrong::OtherSide(backend, Side::Inactive)),
            (false, false) => wrong.push(Wrong::Missing(backend, Side::Active)),
        }
    }
    for &backend in &truth.inactive {
        match (found.inactive.contains(&backend), found.active.contains(&backend)) {
            (true, _) => {}
            (false, true) => wrong.push(Wrong::OtherSide(backend, Side::Active)),
            (false, false) => wrong.push(Wrong::Missing(backend, Side::Inactive)),
        }
    }
    wrong.extend(not_there(truth, found));
    if found.affinity_s != truth.affinity_s {
        wrong.push(Wrong::Affinity(found.affinity_s, truth.affinity_s));
    }
    wrong
}

fn against_bounds(bounds: &FrontendBounds, found: &Slots) -> Vec<Wrong> {
    let is_there = |backend: &&BackendAddress| found.active.contains(*backend) || found.inactive.contains(*backend);
    let missing = bounds.required.iter().filter(|backend| !is_there(backend));
    let mut wrong: Vec<Wrong> = missing.map(|backend| Wrong::Missing(*backend, Side::Either)).collect();
    wrong.extend(not_there(&bounds.widest, found));
    let widest = &bounds.widest;
    let only_inactive =
        |backend: &&BackendAddress| !widest.active.contains(*backend) && widest.inactive.contains(*backend);
    let only_active = |backend: &&BackendAddress| {
        widest.active.contains(*backend) && !widest.inactive.contains(*backend) && !widest.tolerated.contains(*backend)
    };
    wrong.extend(found.active.iter().filter(only_inactive).map(|backend| Wrong::OtherSide(*backend, Side::Active)));
    wrong.extend(found.inactive.iter().filter(only_active).map(|backend| Wrong::OtherSide(*backend, Side::Inactive)));
    wrong
}

/// What is there and should not be, on either side.
fn not_there<'a>(truth: &'a FrontendTruth, found: &'a Slots) -> impl Iterator<Item = Wrong> + 'a {
    let listed = |backend: &BackendAddress| truth.active.contains(backend) || truth.inactive.contains(backend);
    let active = found.active.iter().filter(move |backend| !listed(backend));
    let active = active.map(|&backend| match truth.tolerated.contains(&backend) {
        true => Wrong::OtherSide(backend, Side::Active),
        false => Wrong::NotThere(backend, Side::Active),
    });
    let inactive = found.inactive.iter().filter(move |backend| !listed(backend) && !truth.tolerated.contains(backend));
    let inactive = inactive.map(|&backend| Wrong::NotThere(backend, Side::Inactive));
    let repeated = found.repeated.iter().map(|&backend| Wrong::Repeated(backend));
    active.chain(inactive).chain(repeated).chain(found.unreadable.iter().map(|text| Wrong::Unreadable(text.clone())))
}

impl Wrong {
    fn difference(self, place: &Place<'_>, frontend: &FrontendAddress, past: &Past) -> MapDifference {
        let cluster_of = |backend: BackendAddress| past.home(backend.ip);
        let named = |backend: BackendAddress| match cluster_of(backend) {
            Some(cluster) => format!("{backend} of {cluster}"),
            None => backend.to_string(),
        };
        let (kind, backend, what) = match self {
            Self::Missing(backend, side) => {
                let what = format!("{}backend {} is missing", side.word(), named(backend));
                (DifferenceKind::MissingBackend, backend, what)
            }
            Self::NotThere(backend, side) => {
                let was_right = past.was_right(frontend, &backend);
                let kind = if was_right { DifferenceKind::StaleBackend } else { DifferenceKind::ForeignBackend };
                (kind, backend, format!("{}backend {} should not be there", side.word(), named(backend)))
            }
            Self::OtherSide(backend, found) => {
                let should = match found {
                    Side::Active => "active and should not be selectable",
                    Side::Inactive | Side::Either => "inactive and should be selectable",
                };
                (DifferenceKind::WrongSide, backend, format!("backend {} is {should}", named(backend)))
            }
            Self::Repeated(backend) => {
                (DifferenceKind::Duplicate, backend, format!("backend {} is there more than once", named(backend)))
            }
            Self::Affinity(found, right) => {
                let words = |seconds: Option<u32>| seconds.map_or("off".to_owned(), |seconds| format!("{seconds} s"));
                let what = format!("session affinity is {} and should be {}", words(found), words(right));
                return place.difference(DifferenceKind::Affinity, None, &what);
            }
            Self::Unreadable(text) => {
                let what = format!("`{text}` is no address of a backend");
                return place.difference(DifferenceKind::ForeignBackend, Some((&text, None)), &what);
            }
        };
        place.difference(kind, Some((&backend.to_string(), cluster_of(backend))), &what)
    }
}

impl Side {
    fn word(self) -> &'static str {
        match self {
            Self::Active => "active ",
            Self::Inactive => "inactive ",
            Self::Either => "",
        }
    }
}
