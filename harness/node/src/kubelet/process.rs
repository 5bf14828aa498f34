//! A container's first process: a child of this kubelet, or one that an earlier kubelet started.
#![expect(unsafe_code, reason = "that a descriptor stays open can only be promised to tokio in unsafe code")]

use std::{io, os::fd::OwnedFd};

use nix::{
    sys::signal::{Signal, kill},
    unistd,
};
use rustix::process::{Pid, PidfdFlags, Signal as RawSignal, pidfd_open, pidfd_send_signal};
use tokio::{
    io::{Interest, unix::AsyncFd},
    process::Child,
};

use super::status::Exit;
use crate::start_ticks;

/// A process whose end is seen.
#[derive(Debug)]
pub(crate) struct Process {
    /// Its number.
    pub(crate) pid: i32,
    /// When it started, in clock ticks since boot; 0 for one that had ended before this could be read.
    pub(crate) start_ticks: u64,
    handle: Handle,
}

#[derive(Debug)]
enum Handle {
    Child(Child),
    /// A pidfd: readable once the process has ended, and never before (pidfd_open(2)).
    Adopted(AsyncFd<OwnedFd>),
}

impl Process {
    /// A child that was not waited for yet.
    pub(crate) fn of_child(child: Child) -> Self {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.expect("a child has its ID until it is waited for");
        Self { pid, start_ticks: start_ticks(pid).unwrap_or_default(), handle: Handle::Child(child) }
    }

    /// The process with this number and start time; none when it is gone. Needs a runtime.
    pub(crate) fn adopt(pid: i32, start_ticks: u64) -> io::Result<Option<Self>> {
        let Some(number) = Pid::from_raw(pid) else { return Ok(None) };
        let fd = match pidfd_open(number, PidfdFlags::empty()) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // The number may have got a new owner before the pidfd was opened, but not afterwards.
        if crate::start_ticks(pid) != Some(start_ticks) {
            return Ok(None);
        }
        // SAFETY: an `OwnedFd` has the same descriptor, open, as long as it exists, and the `AsyncFd` owns it.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
        Ok(Some(Self { pid, start_ticks, handle: Handle::Adopted(fd?) }))
    }

    /// Waits until it has ended. Cancel-safe.
    pub(crate) async fn wait(&mut self) -> Exit {
        match &mut self.handle {
            // Waiting only fails for a process that is not ours any more; it has certainly ended then.
            Handle::Child(child) => child.wait().await.map_or(Exit::Unknown, Exit::from),
            Handle::Adopted(pidfd) => match pidfd.readable().await {
                Ok(_) => Exit::Unknown,
                // Fails only when the runtime ends; whoever waits must not take that for the end of the process.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// Sends a signal. A process that has ended gets none, which is no error.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        match &self.handle {
            // A child keeps its number until it is waited for, and afterwards tokio knows none any more.
            Handle::Child(child) if child.id().is_none() => Ok(()),
            Handle::Child(_) => Ok(kill(unistd::Pid::from_raw(self.pid), signal)?),
            Handle::Adopted(pidfd) => {
                let raw = RawSignal::from_named_raw(signal as i32).ok_or(io::ErrorKind::InvalidInput)?;
                match pidfd_send_signal(pidfd.get_ref(), raw) {
                    Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
                    Err(error) => Err(error.into()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{process::Command, time::timeout};

    use super::*;

    #[tokio::test]
    async fn a_child_tells_how_it_ended_and_an_adopted_process_does_not() {
        let mut child = Process::of_child(Command::new("sleep").arg("100").spawn().expect("it starts"));
        let mut adopted = Process::adopt(child.pid, child.start_ticks).expect("a pidfd").expect("it lives");
        assert!(timeout(Duration::from_millis(20), adopted.wait()).await.is_err(), "it lives");
        adopted.signal(Signal::SIGTERM).expect("it is there");
        assert_eq!(adopted.wait().await, Exit::Unknown);
        assert_eq!(child.wait().await, Exit::Signal(Signal::SIGTERM as i32));
        adopted.signal(Signal::SIGKILL).expect("nobody gets it");
        child.signal(Signal::SIGKILL).expect("nobody gets it");
        assert!(Process::adopt(child.pid, child.start_ticks).expect("no error").is_none(), "it is gone");
    }

    #[tokio::test]
    async fn another_process_with_the_same_number_is_not_adopted() {
        let own = i32::try_from(std::process::id()).expect("PIDs are below 2^22");
        let ticks = start_ticks(own).expect("we run");
        assert!(Process::adopt(own, ticks + 1).expect("no error").is_none());
    }
}
