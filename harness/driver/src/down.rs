//! Taking a run down from outside.

use tokio::task::spawn_blocking;

use crate::{
    RunId,
    error::{DownError, DownErrorKind, SystemError},
    inventory::leftovers,
    teardown,
};

/// Removes everything of `run`, whoever made it and however far it came, and makes sure that nothing is left. A run
/// that does not exist is fine. If its harness is alive, it sees its processes end.
pub async fn down(run: &RunId) -> Result<(), DownError> {
    let run = run.clone();
    match spawn_blocking(move || take_down(&run)).await {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// The same, blocking.
pub(crate) fn take_down(run: &RunId) -> Result<(), DownError> {
    let failed = |kind| DownError { run: run.clone(), kind };
    let system = |error: SystemError| failed(DownErrorKind::System(error));
    let mut left = teardown::remove(run).map_err(system)?;
    left.extend(leftovers(run).map_err(system)?);
    if left.is_empty() { Ok(()) } else { Err(failed(DownErrorKind::Leftovers(left))) }
}
