//! Pins.

use std::{
    ffi::CString,
    os::{
        fd::{AsRawFd as _, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use super::{Command, attribute::Object, bpf, bpf_fd, refused};
use crate::{DatapathError, DatapathErrorKind};

/// What may be done through an opened pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinAccess {
    /// Reading and writing.
    ReadWrite,
    /// Reading alone.
    Read,
}

impl PinAccess {
    /// `BPF_F_RDONLY` of `bpf(2)`, or nothing.
    fn flags(self) -> u32 {
        match self {
            Self::ReadWrite => 0,
            Self::Read => 8,
        }
    }
}

/// Opens a pinned map, program or link. `None` when there is no such pin.
///
/// # Errors
///
/// When the kernel refuses for another reason.
pub fn open_pin(path: &Path, access: PinAccess) -> Result<Option<OwnedFd>, DatapathError> {
    let act = format!("open pin `{}`", path.display());
    let c_path = c_path(path, &act)?;
    let mut attribute = Object { pathname: c_path.as_ptr() as u64, file_flags: access.flags(), ..Object::default() };
    // SAFETY: `pathname` points to a string with a final zero that outlives the call; the command returns a new fd.
    match unsafe { bpf_fd(Command::ObjGet, &mut attribute) } {
        Ok(fd) => Ok(Some(fd)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(refused(act, Command::ObjGet)(error)),
    }
}

/// Pins a map, program or link, so that it outlives this process.
///
/// # Errors
///
/// When the kernel refuses, for example because the path is taken.
pub fn pin(fd: BorrowedFd<'_>, path: &Path) -> Result<(), DatapathError> {
    let act = format!("pin `{}`", path.display());
    let c_path = c_path(path, &act)?;
    let mut attribute =
        Object { pathname: c_path.as_ptr() as u64, bpf_fd: fd.as_raw_fd().cast_unsigned(), file_flags: 0 };
    // SAFETY: `pathname` points to a string with a final zero that outlives the call.
    unsafe { bpf(Command::ObjPin, &mut attribute) }.map_err(refused(act, Command::ObjPin))?;
    Ok(())
}

fn c_path(path: &Path, act: &str) -> Result<CString, DatapathError> {
    CString::new(path.as_os_str().as_bytes()).map_err(|error| {
        DatapathError::new(act, DatapathErrorKind::File { path: path.to_owned(), source: error.into() })
    })
}
