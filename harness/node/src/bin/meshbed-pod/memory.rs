//! Keeping the program in memory.
#![expect(unsafe_code, reason = "neither std nor our feature set of nix has mlockall(2)")]

use std::io;

/// Keeps every page of this process in memory once it was used, program text included.
///
/// Kernels may take pages from processes that look idle, even with memory to spare (DAMON's `pageout`). The next request
/// then waits for a disk, for seconds when others keep it busy, and looks like a fault of the network. All servers of a
/// machine share the pages of their program, and so they stand still together.
///
/// Fails without the capability `CAP_IPC_LOCK` when `RLIMIT_MEMLOCK` is too low; the program then works all the same.
pub(crate) fn keep() -> io::Result<()> {
    // SAFETY: the call takes no pointer and changes no memory that this program can see.
    let result = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
