//! The whole program.

use std::{env, future::Future, io, os::unix::net::UnixDatagram, path::PathBuf};

use tokio::net::UnixListener;

use crate::{Config, SetError, controller::Controller, error::Act, serve::serve};

/// Names the socket of whoever waits for readiness (sd_notify(3)).
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// How the router is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its configuration file (see [`Config`]).
    pub config: PathBuf,
    /// The control socket to make; one that is there already is replaced.
    pub socket: PathBuf,
    /// Where all random decisions come from.
    pub seed: u64,
}

/// Runs the router in the calling thread's network namespace until `shutdown` ends. The runtime must not have threads
/// that were started in another namespace: a current-thread runtime is what it needs.
///
/// Says that it is ready when the conditions of the configuration are in force and the control socket listens.
pub async fn run(options: Options, shutdown: impl Future<Output = ()>) -> Result<(), SetError> {
    let config = Config::load(&options.config)?;
    let controller = Controller::start(config, options.seed).await?;
    let act = || format!("listen on `{}`", options.socket.display());
    let removed = match std::fs::remove_file(&options.socket) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    removed.act(act)?;
    let listener = UnixListener::bind(&options.socket).act(act)?;
    notify_ready().act(|| "say that the router is ready".to_owned())?;
    serve(listener, controller, shutdown).await;
    Ok(())
}

/// Does nothing when nobody waits.
fn notify_ready() -> io::Result<()> {
    let Some(path) = env::var_os(NOTIFY_SOCKET) else { return Ok(()) };
    UnixDatagram::unbound()?.send_to(b"READY=1", path).map(drop)
}
