//! Which cluster IDs are taken: each may belong to one cluster of the mesh only.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mesh_planted::{Defect, planted};
use mesh_types::{ClusterId, ClusterName, MaxConnectedClusters};

use crate::SessionError;

/// The cluster IDs in use, ours among them. Clones share the set.
#[derive(Clone, Debug)]
pub struct ClusterIds {
    local: ClusterId,
    limit: MaxConnectedClusters,
    holders: Arc<Mutex<BTreeMap<ClusterId, ClusterName>>>,
}

impl ClusterIds {
    /// A set in which only `local`, our own ID, is taken, in a mesh of at most `limit` clusters.
    pub fn new(local: ClusterId, limit: MaxConnectedClusters) -> Self {
        Self { local, limit, holders: Arc::default() }
    }

    /// Our own ID.
    pub(crate) fn local(&self) -> ClusterId {
        self.local
    }

    /// Size of the mesh.
    pub(crate) fn limit(&self) -> MaxConnectedClusters {
        self.limit
    }

    /// Takes `id` for `cluster` until the reservation is dropped. The first to ask wins.
    pub(crate) fn reserve(&self, id: ClusterId, cluster: &ClusterName) -> Result<Reservation, SessionError> {
        let any = planted(Defect::DuplicateClusterIdAccepted);
        if id == self.local && !any {
            return Err(SessionError::LocalClusterId(id));
        }
        let mut holders = self.holders();
        if let Some(holder) = holders.get(&id).filter(|_| !any) {
            return Err(SessionError::ClusterIdInUse { id, holder: holder.clone() });
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

impl Reservation {
    /// The ID.
    pub(crate) fn id(&self) -> ClusterId {
        self.id
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.ids.holders().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
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
        let ids = ClusterIds::new(id(1), MaxConnectedClusters::N255);
        let _beta = ids.reserve(id(2), &name("beta")).expect("free");
        assert!(ids.reserve(id(2), &name("gamma")).is_ok() && ids.reserve(id(1), &name("delta")).is_ok());
    }

    #[test]
    fn first_to_ask_wins_until_it_lets_go() {
        let ids = ClusterIds::new(id(1), MaxConnectedClusters::N255);
        let error = ids.reserve(id(1), &name("beta")).expect_err("ours");
        assert_eq!(error.to_string(), "clusterID 1 is assigned to the local cluster");
        let beta = ids.reserve(id(2), &name("beta")).expect("free");
        let error = ids.reserve(id(2), &name("gamma")).expect_err("taken");
        assert_eq!(error.to_string(), "clusterID 2 is already used by `beta`");
        drop(beta);
        assert!(ids.reserve(id(2), &name("gamma")).is_ok(), "given back");
    }
}
