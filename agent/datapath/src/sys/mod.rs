//! Raw `bpf(2)`: the commands that aya 0.14 lacks (exact map creation, map and link information, atomic link update,
//! batches) behind safe functions.
//!
//! Only what this crate needs, and nothing that decides anything.
#![expect(unsafe_code, reason = "bpf(2) takes a structure full of pointers")]

mod attribute;
mod command;
mod link;
mod map;
mod object;
mod program;

pub use command::Command;
pub use link::{AttachType, LinkInfo, create_link, link_info, update_link};
pub use map::{
    BATCH_ENTRIES, MapInfo, batch, create_constant, create_map, delete, delete_all, entries, entries_singly, lookup,
    map_info, update, update_all, visit,
};
pub use object::{PinAccess, open_pin, pin};
pub use program::{Instructions, ProgramType, has_set_retval, load_program, raise_memlock, unreadable};

use std::{
    io,
    mem::size_of,
    os::fd::{FromRawFd as _, OwnedFd, RawFd},
};

use crate::{DatapathError, DatapathErrorKind};

/// Runs one command.
///
/// # Safety
///
/// `attribute` must be the kernel's layout for `command`, and every pointer in it must be valid for what the command
/// reads or writes there.
unsafe fn bpf<T>(command: Command, attribute: &mut T) -> io::Result<RawFd> {
    let pointer = std::ptr::from_mut(attribute);
    // SAFETY: the caller vouches for the attribute; the kernel treats what lies beyond the size that we pass as zero.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command as libc::c_int, pointer, size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(RawFd::try_from(result).expect("bpf(2) returns an int"))
}

/// Runs one command that returns a file descriptor.
///
/// # Safety
///
/// As [`bpf`]; the command must be one that returns a new descriptor.
unsafe fn bpf_fd<T>(command: Command, attribute: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: passed on to the caller.
    let fd = unsafe { bpf(command, attribute) }?;
    // SAFETY: the command just made this descriptor, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn refused(act: impl Into<String>, command: Command) -> impl FnOnce(io::Error) -> DatapathError {
    let act = act.into();
    move |source| DatapathError::new(act, DatapathErrorKind::Bpf { command, source })
}
