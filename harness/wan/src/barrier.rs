//! Waiting until the kernel has forgotten old routes.
#![expect(unsafe_code, reason = "membarrier(2) has no wrapper in the crates that we use")]

use std::io;

/// `MEMBARRIER_CMD_GLOBAL` of `linux/membarrier.h`.
const GLOBAL: libc::c_long = 1;

/// Returns when every packet that was being forwarded when it was called is done: the kernel looks up routes and passes
/// packets on in one RCU read-side section, and this command waits for all of those (kernel/sched/membarrier.c).
///
/// Kernels that refuse it (`nohz_full`) have finished these sections microseconds later anyway; that is no error.
pub(crate) fn wait_for_packets_under_way() -> io::Result<()> {
    // SAFETY: takes numbers only.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) };
    match result {
        0.. => Ok(()),
        _ => match io::Error::last_os_error() {
            error if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) => Ok(()),
            error => Err(error),
        },
    }
}
