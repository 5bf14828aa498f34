//! The probe's output: a line of JSON for each finished request, written by a thread of its own, so that a slow reader
//! delays no request.

use std::{
    io::{self, Write},
    net::SocketAddr,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use meshbed_events::ErrorKind;
use serde::Serialize;
use tokio::sync::oneshot;

/// Lines that may wait for a slow reader: two and a half minutes of 400 requests a second. Then requests wait as well.
const LINES_MAX: usize = 65_536;

/// One finished request. Times are `CLOCK_MONOTONIC` in nanoseconds.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Line {
    seq: u64,
    sent_ns: u64,
    done_ns: u64,
    #[serde(flatten)]
    outcome: Outcome,
    #[serde(flatten)]
    seen: Seen,
}

/// What a request saw of its connection. It can be told also when the request fails later.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Seen {
    /// It went on a connection that was there already.
    #[serde(skip_serializing_if = "is_false")]
    reused: bool,
    /// When that connection was opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    opened_ns: Option<u64>,
    /// It was sent once before, on a connection that was just being closed.
    #[serde(skip_serializing_if = "is_false")]
    retried: bool,
    /// The socket's own address.
    #[serde(skip_serializing_if = "Option::is_none")]
    local: Option<SocketAddr>,
    /// What the socket says it is connected to (getpeername(2)): a datapath that translates addresses may show the
    /// service or the backend. Whom it really reached is in the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<SocketAddr>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !*value
}

impl Seen {
    /// The ends of a new socket. What the system does not tell stays unknown.
    pub(crate) fn ends(&mut self, local: io::Result<SocketAddr>, peer: io::Result<SocketAddr>) {
        (self.local, self.peer) = (local.ok(), peer.ok());
    }

    /// Both ends.
    pub(crate) fn both_ends(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        (self.local, self.peer)
    }

    /// The request goes on a connection that was opened before.
    pub(crate) fn reused(&mut self, opened_ns: u64, (local, peer): (Option<SocketAddr>, Option<SocketAddr>)) {
        *self = Self { reused: true, opened_ns: Some(opened_ns), local, peer, ..Self::default() };
    }

    /// That connection was being closed, and the request goes on a new one.
    pub(crate) fn retried(&mut self) {
        *self = Self { retried: true, ..Self::default() };
    }
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum Outcome {
    Answered(Answer),
    Failed { error: ErrorKind },
}

/// A complete answer and who gave it.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) cluster: String,
    pub(crate) pod: String,
    pub(crate) ip: String,
}

impl Line {
    pub(crate) fn answered(seq: u64, sent_ns: u64, done_ns: u64, answer: Answer, seen: Seen) -> Self {
        Self { seq, sent_ns, done_ns, outcome: Outcome::Answered(answer), seen }
    }

    pub(crate) fn failed(seq: u64, sent_ns: u64, done_ns: u64, error: ErrorKind, seen: Seen) -> Self {
        Self { seq, sent_ns, done_ns, outcome: Outcome::Failed { error }, seen }
    }
}

#[cfg(test)]
impl Line {
    /// Whether it was answered, on a connection that was there, after a second try.
    pub(crate) fn how(&self) -> (bool, bool, bool) {
        (matches!(self.outcome, Outcome::Answered(_)), self.seen.reused, self.seen.retried)
    }

    /// Number, error and duration.
    pub(crate) fn waited_ns(&self) -> (u64, Option<ErrorKind>, u64) {
        let error = match &self.outcome {
            Outcome::Answered(_) => None,
            Outcome::Failed { error } => Some(*error),
        };
        (self.seq, error, self.done_ns - self.sent_ns)
    }
}

/// Takes lines to standard output.
pub(crate) struct Reporter {
    lines: SyncSender<Line>,
    thread: thread::JoinHandle<()>,
    closed: oneshot::Receiver<()>,
}

/// A way for one request to give its line.
#[derive(Clone)]
pub(crate) struct Sender(SyncSender<Line>);

impl Sender {
    pub(crate) fn send(&self, line: Line) {
        // Fails only when the reader of our output is gone, and then the program is about to end.
        let _nobody_reads = self.0.send(line);
    }
}

impl Reporter {
    pub(crate) fn start() -> Self {
        let (lines, waiting) = sync_channel(LINES_MAX);
        let (closing, closed) = oneshot::channel();
        let thread = thread::spawn(move || {
            if write_lines(&waiting, &mut io::stdout().lock()).is_err() {
                // The other end is dropped first when the program ends by itself.
                let _already_ending = closing.send(());
            } else {
                // Kept until here: a dropped sender would look like a closed output.
                drop(closing);
            }
        });
        Self { lines, thread, closed }
    }

    /// A reporter whose lines the test reads.
    #[cfg(test)]
    pub(crate) fn to_channel() -> (Self, Receiver<Line>) {
        let (lines, waiting) = sync_channel(LINES_MAX);
        let (_, closed) = oneshot::channel();
        (Self { lines, thread: thread::spawn(|| {}), closed }, waiting)
    }

    pub(crate) fn sender(&self) -> Sender {
        Sender(self.lines.clone())
    }

    /// Ends when standard output is closed at the other end.
    pub(crate) async fn closed(&mut self) {
        // An error means that the thread is gone without a word, which is the same to us.
        let _gone = (&mut self.closed).await;
    }

    /// Waits until every line is written. All senders must be gone.
    pub(crate) fn finish(self) {
        drop(self.lines);
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Writes lines as they come; what has come together is flushed together, and nothing waits for more.
fn write_lines(lines: &Receiver<Line>, to: &mut impl Write) -> io::Result<()> {
    let mut bytes = Vec::new();
    while let Ok(first) = lines.recv() {
        bytes.clear();
        for line in std::iter::once(first).chain(lines.try_iter()) {
            serde_json::to_writer(&mut bytes, &line)?;
            bytes.push(b'\n');
        }
        to.write_all(&bytes)?;
        to.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_the_harness_reads_them() {
        let (sender, lines) = sync_channel(3);
        let answer = Answer { status: 200, cluster: "alpha".into(), pod: "rebel-base-x".into(), ip: "10.1.1.2".into() };
        sender.send(Line::answered(0, 123, 456, answer, Seen::default())).expect("there is room");
        sender.send(Line::failed(1, 5, 6, ErrorKind::NotPermitted, Seen::default())).expect("there is room");
        let ends = ("10.1.1.3:40000".parse().ok(), "10.101.0.10:80".parse().ok());
        let mut seen = Seen::default();
        seen.reused(4, ends);
        sender.send(Line::failed(2, 5, 6, ErrorKind::Reset, seen)).expect("there is room");
        drop(sender);
        let mut written = Vec::new();
        write_lines(&lines, &mut written).expect("a Vec takes every write");
        assert_eq!(
            String::from_utf8(written).expect("JSON is UTF-8"),
            "{\"seq\":0,\"sent_ns\":123,\"done_ns\":456,\"status\":200,\"cluster\":\"alpha\",\
             \"pod\":\"rebel-base-x\",\"ip\":\"10.1.1.2\"}\n\
             {\"seq\":1,\"sent_ns\":5,\"done_ns\":6,\"error\":\"not-permitted\"}\n\
             {\"seq\":2,\"sent_ns\":5,\"done_ns\":6,\"error\":\"reset\",\"reused\":true,\"opened_ns\":4,\
             \"local\":\"10.1.1.3:40000\",\"peer\":\"10.101.0.10:80\"}\n"
        );
    }
}
