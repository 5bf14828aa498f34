//! Links between programs and cgroups.

use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use super::{
    Command,
    attribute::{Info, LinkCreate, LinkInfo as RawLinkInfo, LinkUpdate},
    bpf, bpf_fd, refused,
};
use crate::DatapathError;

/// Where a program can be attached; the numbers are the kernel's `enum bpf_attach_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum AttachType {
    /// `connect()` with an IPv4 address.
    Inet4Connect = 10,
    /// `sendmsg()` on an unconnected UDP socket.
    Udp4Sendmsg = 14,
    /// `recvmsg()` on a UDP socket.
    Udp4Recvmsg = 19,
    /// `getpeername()`.
    Inet4Getpeername = 29,
    /// The end of a socket.
    InetSockRelease = 34,
}

/// What a cgroup link connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// Kernel id of the program.
    pub program: u32,
    /// Id of the cgroup, the inode number of its directory; 0 when the cgroup is gone.
    pub cgroup: u64,
    /// The kernel's number of the attach type.
    pub attach_type: u32,
}

/// Attaches a program to a cgroup.
///
/// # Errors
///
/// When the kernel refuses.
pub fn create_link(
    program: BorrowedFd<'_>,
    cgroup: BorrowedFd<'_>,
    attach_type: AttachType,
) -> Result<OwnedFd, DatapathError> {
    let mut attribute = LinkCreate {
        prog_fd: program.as_raw_fd().cast_unsigned(),
        target_fd: cgroup.as_raw_fd().cast_unsigned(),
        attach_type: attach_type as u32,
        flags: 0,
    };
    // SAFETY: no pointers; the command returns a new fd.
    unsafe { bpf_fd(Command::LinkCreate, &mut attribute) }
        .map_err(refused(format!("attach a program ({attach_type:?})"), Command::LinkCreate))
}

/// Puts another program in the place of the one that a link holds. No connection sees a moment without one.
///
/// # Errors
///
/// The error number alone, because the caller decides by it: `ENOLINK` when the link's cgroup is gone.
pub fn update_link(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> std::io::Result<()> {
    let mut attribute = LinkUpdate {
        link_fd: link.as_raw_fd().cast_unsigned(),
        new_prog_fd: program.as_raw_fd().cast_unsigned(),
        ..LinkUpdate::default()
    };
    // SAFETY: no pointers.
    unsafe { bpf(Command::LinkUpdate, &mut attribute) }?;
    Ok(())
}

/// What a link connects.
///
/// # Errors
///
/// When the kernel refuses.
pub fn link_info(link: BorrowedFd<'_>) -> Result<LinkInfo, DatapathError> {
    let mut info = RawLinkInfo::default();
    let mut attribute = Info {
        bpf_fd: link.as_raw_fd().cast_unsigned(),
        info_len: u32::try_from(size_of::<RawLinkInfo>()).expect("the structure is small"),
        info: std::ptr::from_mut(&mut info) as u64,
    };
    // SAFETY: `info` points to a structure of `info_len` bytes that outlives the call.
    unsafe { bpf(Command::ObjGetInfoByFd, &mut attribute) }
        .map_err(refused("describe a link", Command::ObjGetInfoByFd))?;
    Ok(LinkInfo { program: info.prog_id, cgroup: info.cgroup_id, attach_type: info.attach_type })
}
