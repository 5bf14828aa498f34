//! TUN devices: how diverted packets get here and back.
//!
//! The device offers no offloads (no `IFF_VNET_HDR`, no `TUNSETOFFLOAD`), so the kernel completes checksums and splits
//! segments that a sender left to the hardware before it hands packets over: what is read here is what a wire
//! would carry, and loss, rate and MTU mean what they mean on a wire.
#![expect(unsafe_code, reason = "TUN devices are made by an ioctl")]

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::fs::OpenOptionsExt,
    },
};

/// Where TUN devices come from.
pub(crate) const CLONE_DEVICE: &str = "/dev/net/tun";

/// How many packets wait for us in the kernel: as many as come while the machine does something else for 10 ms, and more
/// than a TCP connection has under way at once.
pub(crate) const DEVICE_QUEUE: u32 = 10_000;

/// A TUN device; it ends with this value.
#[derive(Debug)]
pub(crate) struct Tun {
    file: File,
}

impl Tun {
    /// Makes the device `name` in the calling thread's network namespace.
    pub(crate) fn open(name: &str) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(CLONE_DEVICE)?;
        // SAFETY: all zeroes are a valid `ifreq`.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        if name.len() >= request.ifr_name.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "name of an interface is too long"));
        }
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = libc::c_char::from_ne_bytes([from]);
        }
        let flags = libc::IFF_TUN | libc::IFF_NO_PI;
        request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags).expect("the flags fit");
        // SAFETY: the request takes an `ifreq`, which lives longer than the call.
        let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(Self { file }) }
    }

    /// The next packet; `None` when there is none at the moment.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match (&self.file).read(buffer) {
            Ok(length) => Ok(Some(length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives a packet to the kernel as one that the device received.
    pub(crate) fn write(&self, packet: &[u8]) -> io::Result<()> {
        (&self.file).write(packet).map(drop)
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
