//! Faults that a person injects into a mesh that was kept, one process each: how to undo a fault is a future, and lives
//! in the process that injected it.

mod file;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use mesh_types::ClusterName;
use meshbed_driver::Control;
use meshbed_events::{Event, FaultId, Stamped};
use meshbed_scenario::Topology;

pub use file::{FaultFile, FaultState, faults_dir};

use crate::{
    Recorder, RunClock,
    fault::{AnyFault, FaultError, Injected, Injection},
    observers::{Observers, listed},
    probe::lock,
    stage::chain,
    world::World,
};

/// How long the Kubernetes APIs may take to list what they have.
const LISTS_WAIT_MAX: Duration = Duration::from_secs(10);
/// Nothing is asked while a fault is held, so nobody's answers are judged.
const GRACE: Duration = Duration::ZERO;

/// Why a fault could not be injected or healed by hand.
#[derive(Debug, thiserror::Error)]
pub enum ByHandError {
    /// Nothing showed that it took effect, or there was nothing to hit.
    #[error("{0}")]
    NoWitness(String),
    /// Something that it needs did not work.
    #[error("{0}")]
    Failed(String),
}

impl From<FaultError> for ByHandError {
    fn from(error: FaultError) -> Self {
        let text = chain(&error);
        match error {
            FaultError::NoTarget { .. } | FaultError::NoWitness { .. } => Self::NoWitness(text),
            FaultError::Failed { .. } => Self::Failed(text),
        }
    }
}

/// What is to be injected.
#[derive(Clone, Debug)]
pub struct ByHand {
    /// Its name.
    pub name: String,
    /// The fault.
    pub fault: AnyFault,
    /// Where its random choices come from.
    pub seed: u64,
    /// Clusters whose Kubernetes API says nothing because of other faults: nothing of theirs is waited for.
    pub silent: BTreeSet<ClusterName>,
}

/// What was told of a fault while it was injected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What it hit, in words.
    pub targets: Vec<String>,
    /// What showed that it took effect.
    pub witnesses: Vec<String>,
    /// Clusters whose Kubernetes API says nothing because of it.
    pub silent: BTreeSet<ClusterName>,
}

/// A fault that took effect and was not undone yet. Dropping it undoes nothing.
pub struct HeldFault {
    injected: Vec<Injected>,
    world: Arc<Mutex<World>>,
    /// Faults may ask what the watches saw while they are undone.
    _observers: Observers,
}

impl HeldFault {
    /// Injects the fault into the mesh and waits for its witness.
    pub async fn inject(by_hand: &ByHand, control: Control, topology: Topology) -> Result<(Self, Told), ByHandError> {
        let strikes = Arc::new(Mutex::new(BTreeMap::new()));
        let of_listener = Arc::clone(&strikes);
        let recorder = Recorder::forgetful(Box::new(move |stamped| note(&of_listener, stamped)));
        let world = Arc::new(Mutex::new(World::new(&topology, GRACE, RunClock::start(), recorder)));
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| ByHandError::Failed(chain(error.as_ref()));
        let observers = Observers::of_objects(&control.state(), &world).await.map_err(failed)?;
        // Faults choose their victims by what the watches have seen.
        let missing = listed(&world, &by_hand.silent, LISTS_WAIT_MAX).await;
        if !missing.is_empty() {
            let missing = missing.join("; ");
            let text = format!("the Kubernetes API does not answer after {LISTS_WAIT_MAX:?}: {missing}");
            return Err(ByHandError::Failed(text));
        }
        let injection = Injection {
            control,
            topology,
            clusters: Arc::new(observers.clusters().clone()),
            world: Arc::clone(&world),
            name: by_hand.name.clone(),
            kind: by_hand.fault.kind(),
            seed: by_hand.seed,
            next: Arc::default(),
        };
        let injected = by_hand.fault.0.inject(&injection).await?;
        let held = Self { injected, world: Arc::clone(&world), _observers: observers };
        match told(&strikes, &world) {
            Ok(told) => Ok((held, told)),
            Err(error) => {
                held.heal().await?;
                Err(error)
            }
        }
    }

    /// Undoes it and returns what showed that all is as before. Every part of it is undone, even when another one fails.
    pub async fn heal(self) -> Result<Vec<String>, ByHandError> {
        let (mut witnesses, mut errors) = (Vec::new(), Vec::new());
        for Injected { id, healing } in self.injected {
            lock(&self.world).fault_heals(id);
            match healing.await {
                Ok(witness) => {
                    lock(&self.world).fault_healed(id, witness.clone());
                    witnesses.push(witness);
                }
                Err(error) => errors.push(chain(&error)),
            }
        }
        witnesses.retain(|witness| !witness.is_empty());
        if errors.is_empty() { Ok(witnesses) } else { Err(ByHandError::Failed(errors.join("; "))) }
    }
}

/// What is known of one strike: what it hit, and what showed it.
type Strikes = BTreeMap<FaultId, (String, Option<String>)>;

fn note(strikes: &Mutex<Strikes>, stamped: &Stamped) {
    let mut strikes = strikes.lock().unwrap_or_else(PoisonError::into_inner);
    match &stamped.event {
        Event::FaultInjected { fault, target, .. } => {
            strikes.insert(*fault, (target.clone(), None));
        }
        Event::FaultWitnessed { fault, witness } => {
            if let Some((_, seen)) = strikes.get_mut(fault) {
                *seen = Some(witness.clone());
            }
        }
        _ => {}
    }
}

/// Everything that was told; an error when a strike has no witness, however well it went.
fn told(strikes: &Mutex<Strikes>, world: &Arc<Mutex<World>>) -> Result<Told, ByHandError> {
    let mut told = Told { silent: lock(world).silent().clone(), ..Told::default() };
    for (target, witness) in strikes.lock().unwrap_or_else(PoisonError::into_inner).values() {
        let Some(witness) = witness else {
            return Err(ByHandError::NoWitness(format!("nothing showed that the fault took effect: {target}")));
        };
        told.targets.push(target.clone());
        told.witnesses.push(witness.clone());
    }
    Ok(told)
}
