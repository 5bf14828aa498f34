//! Belief against reality: every reading of a node's maps is compared with what the oracle says.

use meshbed_events::{Event, MapState, Micros};

use super::{Belief, NodeIndex, Reader, ReaderIndex, World};
use crate::maps::HOLE;

impl World {
    /// From now on `wake` is called when maps begin to differ from the truth.
    pub(crate) fn read_by(&mut self, wake: impl Fn() + Send + 'static) -> ReaderIndex {
        self.readers.push(Reader { read_from: Micros(0), wake: Box::new(wake) });
        self.readers.len() - 1
    }

    pub(super) fn wake_readers(&self) {
        self.readers.iter().for_each(|reader| (reader.wake)());
    }

    /// When the last complete reading of all maps began.
    pub(super) fn read_from(&self) -> Micros {
        self.readers.iter().map(|reader| reader.read_from).min().unwrap_or(Micros(0))
    }

    pub(super) fn refresh_truth(&mut self, at: Micros) {
        let were_right = self.all_maps_right();
        for node in 0..self.beliefs.len() {
            self.compare(at, node);
        }
        if were_right && !self.all_maps_right() {
            self.wake_readers();
        }
        self.truth_changes = self.oracle.truth_changes_after(at);
    }

    /// A node's maps were read.
    pub(crate) fn maps(&mut self, at: Micros, node: NodeIndex, state: MapState) {
        let belief = &mut self.beliefs[node];
        if belief.maps.as_ref() == Some(&state) {
            return;
        }
        let (cluster, name) = (belief.cluster.to_string(), belief.node.clone());
        let before = belief.maps.replace(state.clone());
        self.propagation.maps(at, &cluster, &name, before.as_ref(), &state);
        if let Some(running) = &mut self.running {
            running.map_changes.push(at);
        }
        let holes: Vec<String> = state.defects.iter().filter(|defect| defect.ends_with(HOLE)).cloned().collect();
        let place = format!("{cluster}/{name}");
        self.recorder.push(at, Event::MapChanged { cluster, node: name, state });
        // A packet can meet it at once, however short it lasts: the reader made sure that it was no torn reading.
        for hole in holes {
            self.violation(format!("node `{place}`: {hole}"));
        }
        self.compare(at, node);
        self.bump();
    }

    fn compare(&mut self, at: Micros, node: NodeIndex) {
        let belief = &mut self.beliefs[node];
        let truth = self.oracle.truth_at(at, &belief.cluster, &belief.node);
        for event in belief.compare(at, &truth) {
            self.recorder.push(at, event);
        }
        if self.beliefs[node].is_right() {
            let belief = &self.beliefs[node];
            self.oracle.node_right(at, &belief.cluster, &belief.node);
        }
    }

    /// Complains about entries that are wrong for too long. Called whenever the maps were read, changed or not.
    ///
    /// `read_from` is when the reading of all maps of this reader began.
    pub(crate) fn tick(&mut self, reader: ReaderIndex, read_from: Micros) {
        let now = self.clock.now();
        let acted = self.running.as_ref().and_then(|running| running.acted);
        let before = self.read_from();
        self.readers[reader].read_from = read_from;
        if acted.is_some_and(|acted| before < acted && self.read_from() >= acted) {
            self.bump();
        }
        if self.truth_changes.is_some_and(|at| at <= now) {
            self.refresh_truth(now);
        }
        let limits = self.limits;
        let heard = self.heard;
        let complaints: Vec<_> =
            self.beliefs.iter_mut().flat_map(|belief| belief.too_old(now, heard, &limits)).collect();
        for complaint in complaints {
            self.violation(complaint.message);
        }
    }

    /// Every node whose maps are not what they should be; empty when all are right.
    pub(crate) fn wrong_maps(&self) -> Vec<String> {
        self.beliefs.iter().filter(|belief| !belief.is_right()).flat_map(Belief::sentences).collect()
    }

    /// Whether every node's maps were read and are right.
    pub(crate) fn all_maps_right(&self) -> bool {
        self.beliefs.iter().all(Belief::is_right)
    }

    /// What each node's maps hold.
    pub(crate) fn beliefs(&self) -> &[Belief] {
        &self.beliefs
    }
}
