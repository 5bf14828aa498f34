//! Keeps a thread from making something after the run that it belongs to has been removed.

use std::{
    io,
    sync::{
        PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::error::{Act, SystemError};

/// Open while a run is being made. When bringing up is cancelled, threads that make namespaces or write files may still
/// be at work: closing waits for those that have a pass, and nobody gets one afterwards.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    closed: RwLock<bool>,
    /// The run directory is ours, so there is something to remove.
    claimed: AtomicBool,
}

/// While it exists, the gate cannot be closed.
#[derive(Debug)]
pub(crate) struct Pass<'gate> {
    _open: RwLockReadGuard<'gate, bool>,
}

impl Gate {
    /// Allows to make something now.
    pub(crate) fn pass(&self) -> Result<Pass<'_>, SystemError> {
        // A panic of another thread does not change whether the gate is closed.
        let closed = self.closed.read().unwrap_or_else(PoisonError::into_inner);
        if *closed {
            return Err(io::Error::from(io::ErrorKind::Interrupted))
                .act(|| "go on: the run is being removed".to_owned());
        }
        Ok(Pass { _open: closed })
    }

    /// The run ID was free and is taken now.
    pub(crate) fn claim(&self, _pass: &Pass<'_>) {
        self.claimed.store(true, Ordering::SeqCst);
    }

    /// Whether the run ID was taken. Settled once the gate is closed.
    pub(crate) fn is_claimed(&self) -> bool {
        self.claimed.load(Ordering::SeqCst)
    }

    /// Waits for those with a pass and lets nobody through from now on.
    pub(crate) fn close(&self) {
        *self.closed.write().unwrap_or_else(PoisonError::into_inner) = true;
    }
}

#[cfg(test)]
mod tests {
    use super::Gate;

    #[test]
    fn closes_for_good() {
        let gate = Gate::default();
        drop(gate.pass().unwrap());
        gate.close();
        assert!(gate.pass().is_err());
        assert!(!gate.is_claimed());
    }
}
