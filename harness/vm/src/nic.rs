//! Network interfaces of guests: each is an end of a cable between two of them, and nothing else is on it.
//!
//! A cable is a pair of connected datagram sockets, a datagram being an Ethernet frame. QEMU can as well bind sockets with names, but
//! then takes what the other guest has not read yet (some ten frames) for room to send, and spends a whole processor on finding out
//! again and again that there is none. A pair without names tells it to wait, holds more, and leaves no file behind.

use std::{
    os::{
        fd::{AsFd, AsRawFd, OwnedFd, RawFd},
        unix::net::UnixDatagram,
    },
    sync::Arc,
};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use crate::VmError;

/// Interfaces that a guest can have: as many as its PCI bus has slots beside those of the other devices, and some to spare.
pub const NICS_MAX: usize = 24;
/// The module that a kernel drives them with.
pub(crate) const NIC_MODULE: &str = "virtio_net";

/// An end of a cable. It may be plugged in again, as for another try to boot; frames that nobody has read stay in it.
#[derive(Clone, Debug)]
pub struct Plug(Arc<UnixDatagram>);

/// A network interface of a guest.
#[derive(Clone, Debug)]
pub struct Nic {
    /// Its hardware address, such as `02:00:00:00:00:01`.
    pub mac: String,
    /// What it is connected to.
    pub plug: Plug,
}

/// The two ends of a new cable.
///
/// # Errors
///
/// When there are no descriptors left.
pub fn cable() -> Result<(Plug, Plug), VmError> {
    let (one, other) = UnixDatagram::pair().map_err(VmError::io("make a cable between two guests"))?;
    Ok((Plug(Arc::new(one)), Plug(Arc::new(other))))
}

/// An end of a cable as a program has it that is started while this lives. Another program that is started at the same time has it,
/// too, which does no harm: nobody waits for the last one to let go of it.
pub(crate) struct Inherited(OwnedFd);

impl Inherited {
    pub(crate) fn of(nic: &Nic) -> Result<Self, VmError> {
        let failed = "hand a cable to QEMU";
        let copy = OwnedFd::from(nic.plug.0.try_clone().map_err(VmError::io(failed))?);
        let keep_open = FcntlArg::F_SETFD(FdFlag::empty());
        fcntl(copy.as_fd(), keep_open).map_err(|error| VmError::io(failed)(error.into()))?;
        Ok(Self(copy))
    }

    /// Its number, which is the same in the program.
    pub(crate) fn number(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_goes_in_at_one_end_comes_out_at_the_other() {
        let (one, other) = cable().expect("descriptors are left");
        one.0.send(b"frame").expect("room");
        let again = other.clone();
        let mut read = [0; 16];
        assert_eq!(again.0.recv(&mut read).expect("there"), 5);
    }

    #[test]
    fn a_program_has_it_by_its_number() {
        let (plug, other) = cable().expect("descriptors are left");
        let nic = Nic { mac: String::new(), plug };
        let inherited = Inherited::of(&nic).expect("open");
        let script = format!("printf frame >&{}", inherited.number());
        assert!(Command::new("bash").args(["-c", &script]).status().expect("bash is there").success());
        let mut read = [0; 16];
        assert_eq!(other.0.recv(&mut read).expect("there"), 5);
    }
}
