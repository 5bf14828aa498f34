//! A process that cannot be mistaken for another one: its end is seen, and signals reach it or nobody.
#![expect(unsafe_code, reason = "that a descriptor stays open can only be promised to tokio in unsafe code")]

use std::{io, os::fd::OwnedFd};

use nix::sys::signal::Signal;
use rustix::process::{Pid, PidfdFlags, Signal as RawSignal, pidfd_open, pidfd_send_signal};
use tokio::io::{Interest, unix::AsyncFd};

use crate::state::ProcessIdentity;

/// An open pidfd.
#[derive(Debug)]
pub(crate) struct Pidfd(AsyncFd<OwnedFd>);

impl Pidfd {
    /// Opens it; `None` if the process is gone. Needs a runtime.
    pub(crate) fn open(identity: ProcessIdentity) -> io::Result<Option<Self>> {
        let number = i32::try_from(identity.pid).ok().and_then(Pid::from_raw);
        let Some(pid) = number else { return Ok(None) };
        let fd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // The number may have got a new owner before the pidfd was opened. Not afterwards: the pidfd stays with its process.
        if !identity.is_alive() {
            return Ok(None);
        }
        // SAFETY: an `OwnedFd` has the same descriptor, open, as long as it exists, and the `AsyncFd` owns it.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
        Ok(Some(Self(fd?)))
    }

    /// Sends a signal. A process that ended meanwhile gets none, which is no error.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        let raw = RawSignal::from_named_raw(signal as i32).ok_or(io::ErrorKind::InvalidInput)?;
        match pidfd_send_signal(self.0.get_ref(), raw) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until the kernel says that it ended: a pidfd becomes readable then and never before (pidfd_open(2)).
    pub(crate) async fn ended(&self) -> io::Result<()> {
        self.0.readable().await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::sys::signal::Signal;
    use tokio::time::timeout;

    use super::Pidfd;
    use crate::state::ProcessIdentity;

    #[tokio::test]
    async fn an_end_is_seen_once_it_came() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let identity = ProcessIdentity::of(child.id()).unwrap();
        let pidfd = Pidfd::open(identity).unwrap().unwrap();
        assert!(timeout(Duration::from_millis(20), pidfd.ended()).await.is_err(), "it lives");
        pidfd.signal(Signal::SIGKILL).unwrap();
        timeout(Duration::from_secs(5), pidfd.ended()).await.unwrap().unwrap();
        assert!(Pidfd::open(identity).unwrap().is_none(), "a zombie is none");
        child.wait().unwrap();
        pidfd.signal(Signal::SIGKILL).unwrap();
        let other = ProcessIdentity { start_ticks: 1, ..ProcessIdentity::current().unwrap() };
        assert!(Pidfd::open(other).unwrap().is_none(), "the number has another owner");
    }
}
