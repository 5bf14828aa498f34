//! Faults of single processes of the mesh: SIGKILL, SIGTERM, SIGSTOP, each with the kernel's word for it.

use futures::FutureExt;

use meshbed_driver::END_DEADLINE;

use super::{FaultError, Injected, Injection, words::Words};
use crate::world::Strike;

/// What is done to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// SIGKILL, and it stays away until it is healed.
    Kill,
    /// SIGTERM, and it stays away until it is healed.
    Stop,
    /// SIGSTOP until it is healed.
    Hang,
}

/// Does it to each of the processes, with the strike that goes with it. A process that does not run is no target.
pub(super) async fn on_processes(
    injection: &Injection,
    act: Act,
    targets: Vec<(String, Strike)>,
) -> Result<Vec<Injected>, FaultError> {
    for (process, _) in &targets {
        must_run(injection, process).await?;
    }
    let mut injected = Vec::new();
    for (process, strike) in targets {
        injected.push(on_process(injection, act, process, strike).await?);
    }
    Ok(injected)
}

/// A process that does not run is no target.
pub(super) async fn must_run(injection: &Injection, process: &str) -> Result<(), FaultError> {
    match injection.control.is_running(process).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(FaultError::NoTarget { what: format!("process `{process}` does not run") }),
        Err(error) => Err(FaultError::NoTarget { what: error.to_string() }),
    }
}

async fn on_process(injection: &Injection, act: Act, process: String, strike: Strike) -> Result<Injected, FaultError> {
    let control = injection.control.clone();
    let id = injection.strike(strike);
    let witness = match act {
        Act::Kill => control.kill(&process).await.map(|ended| ended.words()),
        Act::Stop => control.stop(&process, END_DEADLINE).await.map(|ended| ended.words()),
        Act::Hang => control.suspend(&process).await.map(|suspended| suspended.words()),
    };
    let word = match act {
        Act::Kill => "kill",
        Act::Stop => "stop",
        Act::Hang => "suspend",
    };
    let witness = witness.map_err(FaultError::failed(format!("{word} process `{process}`")))?;
    injection.witnessed(id, witness);
    let healing = async move {
        let failed = FaultError::failed(format!("bring process `{process}` back"));
        match act {
            Act::Kill | Act::Stop => control.start(&process).await.map(|started| started.words()),
            Act::Hang => control.resume(&process).await.map(|resumed| resumed.words()),
        }
        .map_err(failed)
    };
    Ok(Injected { id, healing: healing.boxed() })
}
