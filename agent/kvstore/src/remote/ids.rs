//! Which cluster IDs are taken: each may belong to one cluster of the mesh only.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mesh_planted::{Defect, planted};
use mesh_types::{ClusterId, ClusterName};

/// The IDs that remote clusters have. Clones share the set.
#[derive(Clone, Debug, Default)]
pub struct ClusterIds {
    holders: Arc<Mutex<BTreeMap<ClusterId, ClusterName>>>,
}

impl ClusterIds {
    /// None is taken.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes `id` for `cluster` until the reservation is dropped. The first to ask wins; whoever asks later is told who has it.
    pub(crate) fn reserve(&self, id: ClusterId, cluster: &ClusterName) -> Result<Reservation, ClusterName> {
        let mut holders = self.holders();
        if let Some(holder) = holders.get(&id).filter(|_| !planted(Defect::DuplicateClusterIdAccepted)) {
            return Err(holder.clone());
        }
        holders.insert(id, cluster.clone());
        Ok(Reservation { id, ids: self.clone() })
    }

    fn holders(&self) -> MutexGuard<'_, BTreeMap<ClusterId, ClusterName>> {
        // A panic between two map operations cannot leave the map half changed.
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A taken cluster ID; dropping it gives the ID back.
#[derive(Debug)]
pub(crate) struct Reservation {
    id: ClusterId,
    ids: ClusterIds,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.ids.holders().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use mesh_types::MaxConnectedClusters;

    use super::*;

    fn id(raw: u16) -> ClusterId {
        ClusterId::new(raw, MaxConnectedClusters::N255).expect("valid")
    }

    fn name(name: &str) -> ClusterName {
        ClusterName::new(name).expect("valid")
    }

    #[cfg(feature = "planted-defects")]
    #[test]
    fn duplicates_are_accepted_by_a_defect() {
        let _planting = mesh_planted::plant_here(Defect::DuplicateClusterIdAccepted);
        let ids = ClusterIds::new();
        let _beta = ids.reserve(id(2), &name("beta")).expect("free");
        assert!(ids.reserve(id(2), &name("gamma")).is_ok());
    }

    #[test]
    fn first_to_ask_wins_until_it_lets_go() {
        let ids = ClusterIds::new();
        let beta = ids.reserve(id(2), &name("beta")).expect("free");
        assert_eq!(ids.reserve(id(2), &name("gamma")).expect_err("taken"), name("beta"));
        drop(beta);
        assert!(ids.reserve(id(2), &name("gamma")).is_ok(), "given back");
    }
}
