//! Guests that run one command together: one leads, and the others serve it until it has ended.

use std::{pin::pin, time::Duration};

use meshbed_vm::{Accelerator, End, Said, protocol::Hello};
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    exit::{exit, exit_early},
    prepared::{Listener, Prepared, keep},
    spread::Share,
};
use crate::{exit::Exit, printer};

/// How long a guest may take to end after it was told to, until QEMU is killed: a mesh in an emulated guest that computes twenty times
/// slower is down in a tenth of it.
const END_MAX: Duration = Duration::from_secs(180);

/// A guest and the clusters that are in it.
pub(super) struct Guest {
    pub(super) prepared: Prepared,
    pub(super) share: Share,
}

/// How a guest that serves ended.
type Served = (Guest, anyhow::Result<End>);

/// Runs them to their end. What is shown, and the exit code, are the leader's, unless another one ends before it.
pub(super) async fn run(leader: Guest, others: Vec<Guest>, interrupted: &CancellationToken) -> anyhow::Result<Exit> {
    let is_alone = others.is_empty();
    let (lead, serve) = (interrupted.child_token(), CancellationToken::new());
    // Each on its own: they have to be listened to whatever is waited for.
    let mut serving: JoinSet<Served> = others.into_iter().map(|guest| guest.serve(serve.clone())).collect();
    let mut leading = pin!(leader.lead(lead.clone(), is_alone));
    let ended = tokio::select! {
        biased;
        end = &mut leading => leader.led(end, is_alone),
        Some(early) = serving.join_next() => {
            let ended = ended_early(early);
            lead.cancel();
            if timeout(END_MAX, &mut leading).await.is_err() {
                printer::talk(&format!("{}did not end when it was told to, and is killed", leader.which()));
            }
            ended
        }
    };
    serve.cancel();
    let mut badly = None;
    let all_ended = async {
        while let Some(served) = serving.join_next().await {
            badly = tell_of_end(served).or(badly);
        }
    };
    if timeout(END_MAX, all_ended).await.is_err() {
        printer::talk("a guest did not end when it was told to, and is killed");
    }
    // A kernel that breaks while its part of the mesh goes is no success.
    let ended = match (ended, badly) {
        (Ok(Exit::Other(0) | Exit::Success), Some(badly)) => Ok(badly),
        (ended, _) => ended,
    };
    // Who wanted to leave is not told that something broke on the way out.
    if interrupted.is_cancelled() && !is_alone { Ok(Exit::Interrupted) } else { ended }
}

/// What it means that a guest ended while the mesh was still there.
fn ended_early(served: Result<Served, tokio::task::JoinError>) -> anyhow::Result<Exit> {
    let (guest, end) = served?;
    let which = guest.which();
    match end {
        Ok(end) => Ok(exit_early(end, guest.prepared.folder(), &which)),
        Err(error) => Err(error.context(which.trim_end_matches(": ").to_owned())),
    }
}

/// Tells how a guest ended that was told to, unless it did as it was told, and what that means for the command.
fn tell_of_end(served: Result<Served, tokio::task::JoinError>) -> Option<Exit> {
    match served {
        Ok((_, Ok(End::Exited(0) | End::Interrupted))) => None,
        Ok((guest, Ok(End::Exited(code)))) => {
            printer::talk(&format!("{}its command ended with {code}", guest.which()));
            Some(Exit::Environment)
        }
        Ok((guest, Ok(end))) => Some(exit(end, guest.prepared.folder(), &guest.which())),
        Ok((guest, Err(error))) => {
            printer::error(&error.context(guest.which().trim_end_matches(": ").to_owned()));
            Some(Exit::Environment)
        }
        Err(error) => {
            printer::error(&error.into());
            Some(Exit::Environment)
        }
    }
}

impl Guest {
    /// How messages begin that are about it.
    fn which(&self) -> String {
        format!("{}: ", self.share.name())
    }

    /// Runs the command that the person asked for.
    async fn lead(&self, interrupted: CancellationToken, is_alone: bool) -> anyhow::Result<End> {
        let mut failed = None;
        let hear = |said| match said {
            Said::Hello(hello, accelerator, took) => self.greet(&hello, accelerator, took, is_alone),
            Said::Stdout(bytes) => printer::data(&String::from_utf8_lossy(&bytes)),
            Said::Stderr(bytes) => printer::talk_bytes(&bytes),
            Said::Trouble(text) => printer::talk(&format!("guest: {text}")),
            Said::File(path, bytes) => {
                if let Err(error) = keep(&path, &bytes) {
                    failed.get_or_insert(error);
                }
            }
        };
        let end = self.prepared.run(interrupted, hear).await?;
        failed.map_or(Ok(end), Err)
    }

    /// What the leader's end means.
    fn led(&self, end: anyhow::Result<End>, is_alone: bool) -> anyhow::Result<Exit> {
        let which = if is_alone { String::new() } else { self.which() };
        match end {
            Ok(end) => Ok(exit(end, self.prepared.folder(), &which)),
            Err(error) if is_alone => Err(error),
            Err(error) => Err(error.context(which.trim_end_matches(": ").to_owned())),
        }
    }

    /// Runs what serves the leader, until `told` is cancelled.
    async fn serve(self, told: CancellationToken) -> Served {
        let prefix = format!("{:>8} | ", self.share.kernel);
        let say = |line: &str| printer::talk(&format!("{prefix}{line}"));
        let mut listener = Listener::default();
        let hear = |said| match said {
            Said::Hello(hello, accelerator, took) => self.greet(&hello, accelerator, took, false),
            other => listener.hear(other, say),
        };
        let end = self.prepared.run(told, hear).await;
        let heard = listener.finish(say);
        (self, end.and_then(|end| heard.map(|()| end)))
    }

    /// Tells that it is ready.
    fn greet(&self, hello: &Hello, accelerator: Accelerator, took: Duration, is_alone: bool) {
        let clusters = if is_alone { String::new() } else { format!(" ({})", self.share.clusters()) };
        printer::talk(&format!(
            "guest with kernel {} in {}: ready after {:.1} s, computes {:.1} times slower than this machine{clusters}",
            hello.release,
            accelerator.name(),
            took.as_secs_f64(),
            meshbed_vm::slowness(hello)
        ));
    }
}
