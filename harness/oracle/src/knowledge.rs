//! Who can know what: all cuts of a run, and what follows from them.

use std::{collections::BTreeMap, time::Duration};

use mesh_types::ClusterName;
use meshbed_events::Micros;

use crate::cut::{Cut, CutId, Observers};

/// Somebody who learns of clusters.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Observer<'a> {
    /// The agent of a node.
    Node(&'a ClusterName, &'a str),
    /// The etcd of the cluster in question.
    Kvstore,
}

/// What an observer can know of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Knowledge {
    /// The newest version of everything.
    Newest,
    /// Some version of each object, out of all since a time.
    Since {
        /// The version of this time is the oldest.
        since: Micros,
        /// It may also be gone altogether.
        maybe_gone: bool,
    },
    /// Nothing, for certain.
    Gone,
}

/// What the question is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// What maps should hold: strict as soon as a cut is mended.
    Truth,
    /// What answers may rest on: mended is not yet recovered.
    Judgement,
}

/// All cuts of a run.
#[derive(Debug)]
pub(crate) struct Cuts {
    records: Vec<Record>,
    pub(crate) lag: Duration,
    pub(crate) reconvergence_max: Duration,
}

#[derive(Debug)]
struct Record {
    at: Micros,
    cut: Cut,
    mended: Option<Micros>,
    /// When each node was seen to be right again, by cluster and node.
    right: BTreeMap<(ClusterName, String), Micros>,
}

impl Cuts {
    pub(crate) fn new(lag: Duration, reconvergence_max: Duration) -> Self {
        Self { records: Vec::new(), lag, reconvergence_max }
    }

    pub(crate) fn cut(&mut self, at: Micros, cut: Cut) -> CutId {
        self.records.push(Record { at, cut, mended: None, right: BTreeMap::new() });
        CutId(self.records.len() - 1)
    }

    /// Mending twice changes nothing.
    pub(crate) fn mend(&mut self, at: Micros, id: CutId) {
        if let Some(record) = self.records.get_mut(id.0) {
            record.mended.get_or_insert(at.max(record.at));
        }
    }

    /// The node's maps were seen to agree with the truth. That ends the tolerance for each mended cut whose news
    /// the node must have used for it: not while another cut leaves the truth about the same cluster open.
    pub(crate) fn node_right(&mut self, at: Micros, cluster: &ClusterName, node: &str) {
        if self.maps_are_unknown(at, cluster, node, Reading::Truth) {
            return;
        }
        let observer = Observer::Node(cluster, node);
        let recovered: Vec<usize> = (0..self.records.len())
            .filter(|&index| {
                let record = &self.records[index];
                let waits =
                    record.mended.is_some_and(|mended| mended <= at) && at <= self.forgiven_until(record, observer);
                waits
                    && match &record.cut {
                        Cut::Knowledge { about, .. } => {
                            record.blinds(observer, about)
                                && self.knowledge(observer, about, at, Reading::Truth) == Knowledge::Newest
                        }
                        Cut::NodeMaps { .. } => record.unsettles(cluster, node),
                        Cut::Path { .. } | Cut::Slow { .. } => false,
                    }
            })
            .collect();
        for index in recovered {
            self.records[index].right.entry((cluster.clone(), node.to_owned())).or_insert(at);
        }
    }

    /// What `observer` can know of `about` at `at`.
    pub(crate) fn knowledge(
        &self,
        observer: Observer<'_>,
        about: &ClusterName,
        at: Micros,
        reading: Reading,
    ) -> Knowledge {
        let blinding: Vec<&Record> =
            self.records.iter().filter(|record| record.at <= at && record.blinds(observer, about)).collect();
        let in_force = |record: &&&Record| record.mended.is_none_or(|mended| at < mended);
        if blinding.iter().filter(in_force).any(|record| record.gone_from().is_some_and(|by| by <= at)) {
            return Knowledge::Gone;
        }
        let until = |record: &Record| self.forgiven_until(record, observer);
        let holds = match reading {
            Reading::Truth => blinding.iter().any(|record| in_force(&record)),
            Reading::Judgement => blinding.iter().any(|record| at <= until(record)),
        };
        if !holds {
            return Knowledge::Newest;
        }
        // What was possible when a cut began is still possible under it: cuts that overlap are one.
        let (mut chain, mut others): (Vec<&Record>, Vec<&Record>) =
            blinding.iter().partition(|record| at <= until(record));
        loop {
            let overlaps =
                |record: &&Record| chain.iter().any(|other| record.at <= until(other) && other.at <= until(record));
            let (joined, rest): (Vec<&Record>, Vec<&Record>) = others.into_iter().partition(overlaps);
            others = rest;
            if joined.is_empty() {
                break;
            }
            chain.extend(joined);
        }
        let start = chain.iter().map(|record| record.at).min().unwrap_or(at);
        // Nothing is older than the last moment at which all was gone for certain.
        let erased = chain.iter().filter_map(|record| record.erased_at()).filter(|gone| *gone <= at).max();
        // News of the very moment of the cut may be lost.
        let since = Micros(start.max(erased.unwrap_or_default()).0.saturating_sub(1)).back(self.lag);
        let maybe_gone = chain.iter().any(|record| {
            let vanished = |from: Micros| from <= at && record.mended.is_none_or(|mended| from < mended);
            record.may_be_gone_from().is_some_and(vanished)
        });
        Knowledge::Since { since, maybe_gone }
    }

    /// Whether nothing can be said about the maps of the node.
    pub(crate) fn maps_are_unknown(&self, at: Micros, cluster: &ClusterName, node: &str, reading: Reading) -> bool {
        let observer = Observer::Node(cluster, node);
        self.records.iter().filter(|record| record.at <= at && record.unsettles(cluster, node)).any(|record| {
            match reading {
                Reading::Truth => record.mended.is_none_or(|mended| at < mended),
                Reading::Judgement => at <= self.forgiven_until(record, observer),
            }
        })
    }

    /// The trouble of a packet between a client and a backend at `at`, if a cut makes some.
    pub(crate) fn trouble(
        &self,
        at: Micros,
        client: (&ClusterName, &str),
        backend: (&ClusterName, Option<&str>),
    ) -> Option<Trouble> {
        let joins = |one: &crate::Place, other: &crate::Place| {
            one.covers(client.0, Some(client.1)) && other.covers(backend.0, backend.1)
        };
        let in_force =
            self.records.iter().filter(|record| record.at <= at && record.mended.is_none_or(|mended| at < mended));
        let troubles = in_force.filter_map(|record| match &record.cut {
            Cut::Path { from, to } if joins(from, to) || joins(to, from) => Some(Trouble::Lost),
            Cut::Slow { from, to } if joins(from, to) || joins(to, from) => Some(Trouble::Late),
            _ => None,
        });
        troubles.max()
    }

    /// Every time after `start` and up to `end` at which one of the answers above may change.
    pub(crate) fn times(&self, start: Micros, end: Micros) -> impl Iterator<Item = Micros> + '_ {
        let after = |at: Micros| Micros(at.0.saturating_add(1));
        self.records
            .iter()
            .flat_map(move |record| {
                let mended = record.mended;
                let expiry = mended.map(|mended| after(later(mended, self.reconvergence_max)));
                let recovered = record.right.values().map(move |right| after(later(*right, self.lag)));
                [Some(record.at), mended, expiry, record.may_be_gone_from(), record.gone_from()]
                    .into_iter()
                    .flatten()
                    .chain(recovered)
            })
            .filter(move |at| start < *at && *at <= end)
    }

    /// Times at which cuts that are not mended change what can be known, by themselves.
    pub(crate) fn announced(&self) -> impl Iterator<Item = Micros> + '_ {
        let open = self.records.iter().filter(|record| record.mended.is_none());
        open.flat_map(|record| [record.may_be_gone_from(), record.gone_from()]).flatten()
    }

    /// The last moment at which what was possible under a cut may still show at the observer.
    fn forgiven_until(&self, record: &Record, observer: Observer<'_>) -> Micros {
        let Some(mended) = record.mended else { return Micros(u64::MAX) };
        let at_most = later(mended, self.reconvergence_max);
        let Observer::Node(cluster, node) = observer else { return at_most };
        let right = record.right.get(&(cluster.clone(), node.to_owned()));
        right.map_or(at_most, |right| at_most.min(later(*right, self.lag)))
    }
}

/// What may happen to packets. The worse, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    /// Some are late or lost.
    Late,
    /// None may arrive.
    Lost,
}

impl Record {
    /// Whether it takes away the observer's news of `about`.
    fn blinds(&self, observer: Observer<'_>, about: &ClusterName) -> bool {
        let Cut::Knowledge { observers, about: of, .. } = &self.cut else { return false };
        of == about
            && match (observers, observer) {
                (Observers::All, _) | (Observers::Kvstore, Observer::Kvstore) => true,
                (Observers::Node(cluster, name), Observer::Node(here, node)) => cluster == here && name == node,
                (Observers::ClusterNodes(cluster), Observer::Node(here, _)) => cluster == here,
                (Observers::OtherClusters, Observer::Node(here, _)) => here != about,
                (Observers::Kvstore, Observer::Node(..)) => false,
                (Observers::Node(..) | Observers::ClusterNodes(_) | Observers::OtherClusters, Observer::Kvstore) => {
                    false
                }
            }
    }

    fn unsettles(&self, cluster: &ClusterName, node: &str) -> bool {
        matches!(&self.cut, Cut::NodeMaps { cluster: of, node: name } if of == cluster && name == node)
    }

    fn may_be_gone_from(&self) -> Option<Micros> {
        let Cut::Knowledge { fate, .. } = &self.cut else { return None };
        fate.may_be_gone_from()
    }

    fn gone_from(&self) -> Option<Micros> {
        let Cut::Knowledge { fate, .. } = &self.cut else { return None };
        fate.gone_from()
    }

    /// The moment at which it was mended and all knowledge had gone for certain.
    fn erased_at(&self) -> Option<Micros> {
        let (mended, by) = (self.mended?, self.gone_from()?);
        (by < mended).then_some(mended)
    }
}

/// `at` moved on by `by`.
pub(crate) fn later(at: Micros, by: Duration) -> Micros {
    Micros(at.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
}
