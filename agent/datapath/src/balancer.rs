//! Runs plans against a set of maps.

use std::collections::BTreeSet;

use mesh_abi::ServiceKey;
use mesh_planted::{Defect, pause, planted};
use mesh_types::{Frontend, FrontendAddress};

use crate::{
    Changed, Contents, Datapath, DatapathError, MapStore, Write,
    plan::{self, Allocator},
};

/// A load balancer whose state is its maps.
#[derive(Debug)]
pub struct Balancer<S> {
    store: S,
    contents: Contents,
    allocator: Allocator,
    restored: bool,
}

impl<S: MapStore> Balancer<S> {
    /// Takes over what is in the maps.
    ///
    /// # Errors
    ///
    /// When a map cannot be read.
    pub fn open(store: S) -> Result<Self, DatapathError> {
        let contents = Contents::read(&store)?;
        let allocator = Allocator::restore(&contents);
        let restored = !contents.services().is_empty();
        Ok(Self { store, contents, allocator, restored })
    }

    /// What is in the maps.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The maps.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The maps.
    pub fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// Gives the maps back.
    pub fn into_store(self) -> S {
        self.store
    }

    /// [`Defect::BackendsFlapping`]: whether there is such a frontend and it needs writes.
    fn serves_otherwise(&self, frontend: &Frontend) -> Result<bool, DatapathError> {
        let known = self.contents.services().contains_key(&ServiceKey::from(frontend.address));
        Ok(known && !plan::upsert(&self.contents, &mut self.allocator.clone(), frontend)?.is_empty())
    }

    fn apply(&mut self, writes: &[Write]) -> Result<Changed, DatapathError> {
        if writes.is_empty() {
            return Ok(Changed::default());
        }
        if planted(Defect::MasterWrittenFirst)
            && let [master @ Write::PutService(key, _), rest @ ..] = writes
            && key.slot == 0
            && !rest.is_empty()
        {
            let mut changed = self.apply(std::slice::from_ref(master))?;
            pause();
            changed += self.apply(rest)?;
            return Ok(changed);
        }
        let result = self.store.apply(writes);
        let done = match &result {
            Ok(()) => writes,
            Err(interrupted) => &writes[..interrupted.done],
        };
        for write in done {
            self.contents.apply(write);
        }
        result.map_err(|interrupted| interrupted.source)?;
        let removed = writes.iter().filter(|write| write.value().is_none()).count();
        Ok(Changed { written: writes.len() - removed, removed })
    }
}

impl<S: MapStore> Datapath for Balancer<S> {
    fn upsert(&mut self, frontend: &Frontend) -> Result<Changed, DatapathError> {
        if planted(Defect::BackendsFlapping) && !frontend.backends.is_empty() && self.serves_otherwise(frontend)? {
            self.upsert(&Frontend { backends: Vec::new(), ..frontend.clone() })?;
            pause();
        }
        let writes = plan::upsert(&self.contents, &mut self.allocator, frontend)?;
        self.apply(&writes)
    }

    fn delete(&mut self, address: &FrontendAddress) -> Result<Changed, DatapathError> {
        let writes = plan::delete(&self.contents, ServiceKey::from(*address));
        self.apply(&writes)
    }

    fn prune(&mut self, keep: &BTreeSet<FrontendAddress>) -> Result<Changed, DatapathError> {
        let stale: BTreeSet<ServiceKey> = self
            .contents
            .services()
            .keys()
            .filter(|key| !key.is_wildcard() && !key.frontend().is_some_and(|frontend| keep.contains(&frontend)))
            .map(|key| key.with_slot(0))
            .collect();
        let mut changed = Changed::default();
        for master in stale {
            // One after the other: which backends are orphans depends on the deletions before.
            let writes = plan::delete(&self.contents, master);
            changed += self.apply(&writes)?;
        }
        let writes = plan::sweep(&self.contents);
        changed += self.apply(&writes)?;
        Ok(changed)
    }

    fn restored(&self) -> bool {
        self.restored
    }
}
