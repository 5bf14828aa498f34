//! Ctrl-C and SIGTERM.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{exit::Exit, printer};

/// A token that the first Ctrl-C or SIGTERM cancels; the second one ends the program at once and says how to clean up.
pub(crate) fn token(run: String) -> std::io::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let token = CancellationToken::new();
    let cancel = token.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
            }
            if cancel.is_cancelled() {
                printer::talk(&format!("left in a hurry: `meshbed down {run}` removes what is left"));
                std::process::exit(i32::from(Exit::Interrupted.code()));
            }
            printer::talk("interrupted: taking the mesh down (once more to leave it as it is)");
            cancel.cancel();
        }
    });
    Ok(token)
}
