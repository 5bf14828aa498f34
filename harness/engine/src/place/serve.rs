//! The engine's part of an outpost: answers [`Question`]s.

use std::{
    io,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::FutureExt;
use meshbed_driver::{Answer, Answerer, Reader, Writer, receive, send};
use meshbed_events::MapState;
use meshbed_node::PodState;
use nix::{sys::signal::Signal, unistd::Pid};
use serde::Serialize;
use serde_json::Value;
use tokio::{io::AsyncReadExt, process::Command, sync::mpsc};

use super::{Errand, MapsSaid, Question, errand::Came};
use crate::{
    fault::FaultError,
    logs::Logs,
    maps::{self, Pace},
    stage::chain,
};

/// Things said that may wait for a connection; when there are more, whoever says them waits.
const WAITING_MAX: usize = 1024;

/// For `meshbed_driver::serve_outpost`.
pub fn answerer() -> Answerer {
    Box::new(|question, reader, writer| answer(question, reader, writer).boxed())
}

async fn answer(question: Value, reader: Reader, mut writer: Writer) -> io::Result<()> {
    match serde_json::from_value(question)? {
        Question::Errand(errand) => send(&mut writer, &done(errand).await).await,
        Question::Program { pod, program, arguments } => run_program(&pod, program, arguments, reader, writer).await,
        Question::Maps(roots, pace, slowness) => say_maps(roots, pace, slowness, reader, writer).await,
        Question::Logs(folder, from) => {
            let (said, to_say) = mpsc::channel(WAITING_MAX);
            // Nobody listens any more: the follower ends with the connection.
            let logs = Logs::follow(&folder, from, move |line| drop(said.blocking_send(line)));
            let logs = begun(logs, &mut writer).await?;
            say(to_say, reader, writer).await;
            stop(logs).await
        }
    }
}

async fn done(errand: Errand) -> Answer<Came> {
    match errand.perform().await {
        Ok(value) => Answer::Done(Came::Value(value)),
        Err(FaultError::NoTarget { what }) => Answer::Done(Came::NoTarget(what)),
        Err(FaultError::NoWitness { what }) => Answer::Done(Came::NoWitness(what)),
        Err(error) => Answer::Failed(chain(&error)),
    }
}

/// Tells whether what takes longer could begin.
async fn begun<T>(begun: io::Result<T>, writer: &mut Writer) -> io::Result<T> {
    let answer = match &begun {
        Ok(_) => Answer::Done(()),
        Err(error) => Answer::Failed(error.to_string()),
    };
    send(writer, &answer).await?;
    begun
}

/// Says what comes until there is nothing more, or the other side has ended its half.
async fn say<T: Serialize>(mut what: mpsc::Receiver<T>, mut reader: Reader, mut writer: Writer) {
    loop {
        tokio::select! {
            next = what.recv() => match next {
                Some(next) if send(&mut writer, &next).await.is_ok() => {}
                _ => return,
            },
            over = reader.read_u8() => if over.is_err() { return },
        }
    }
}

/// Drops what joins a thread when it is dropped.
async fn stop<T: Send + 'static>(running: T) -> io::Result<()> {
    tokio::task::spawn_blocking(move || drop(running)).await.map_err(io::Error::other)
}

async fn run_program(
    pod: &PodState,
    program: PathBuf,
    arguments: Vec<String>,
    mut reader: Reader,
    mut writer: Writer,
) -> io::Result<()> {
    let mut command = meshbed_node::exec::command_in_pod(pod, &program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = begun(Command::from(command).kill_on_drop(true).spawn(), &mut writer).await?;
    let mut stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    let mut printed = std::pin::pin!(tokio::io::copy(&mut stdout, &mut writer));
    tokio::select! {
        printed = &mut printed => drop(printed?),
        // Our half is read to its end, which is when it should stop; then what it still prints is passed on.
        _ = reader.read_u8() => {
            // It may have ended by itself: then there is nothing to signal.
            let _gone = id.is_some_and(|id| nix::sys::signal::kill(Pid::from_raw(id), Signal::SIGTERM).is_err());
            printed.await?;
        }
    }
    child.wait().await.map(drop)
}

/// A connection as an audience.
struct Told {
    said: mpsc::Sender<MapsSaid>,
    hot: Arc<AtomicBool>,
}

impl maps::Audience for Told {
    fn changed(&mut self, node: usize, state: MapState) {
        // Nobody listens any more: the reader ends with the connection.
        drop(self.said.blocking_send(MapsSaid::Changed(node, Box::new(state))));
    }

    fn read_all(&mut self, from: u64) -> bool {
        drop(self.said.blocking_send(MapsSaid::Round(from)));
        self.hot.load(Ordering::Relaxed)
    }
}

async fn say_maps(
    roots: Vec<PathBuf>,
    pace: Pace,
    slowness: f64,
    mut reader: Reader,
    mut writer: Writer,
) -> io::Result<()> {
    let (said, mut to_say) = mpsc::channel(WAITING_MAX);
    let hot = Arc::new(AtomicBool::new(true));
    let maps = maps::Reader::start(roots, pace, slowness, Told { said, hot: Arc::clone(&hot) });
    let maps = begun(maps, &mut writer).await?;
    let speak = async {
        while let Some(next) = to_say.recv().await {
            if send(&mut writer, &next).await.is_err() {
                break;
            }
        }
        to_say.close();
    };
    let listen = async {
        while let Ok(Some(now)) = receive(&mut reader).await {
            hot.store(now, Ordering::Relaxed);
            maps.wake();
        }
    };
    tokio::select! { () = speak => {}, () = listen => {} }
    drop(to_say);
    stop(maps).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::Since;

    #[tokio::test]
    async fn an_errand_that_fails_says_why() {
        let none = PodState::read(std::path::Path::new("/nonexistent")).expect_err("no such file");
        assert!(none.to_string().contains("/nonexistent"));
        let answer = done(Errand::Reach("/nonexistent".into(), std::net::Ipv4Addr::LOCALHOST)).await;
        assert!(matches!(answer, Answer::Failed(why) if why.contains("`/nonexistent`")));
    }

    #[test]
    fn questions_are_read_as_they_are_written() {
        let question = Question::Logs("/run/x/logs".into(), Since::Now);
        let value = serde_json::to_value(&question).expect("plain data");
        assert!(matches!(serde_json::from_value(value), Ok(Question::Logs(_, Since::Now))));
    }
}
