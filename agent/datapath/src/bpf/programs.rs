//! The programs: load them, attach them, replace them.

use std::{
    fs::File,
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
};

use super::{
    PinnedMaps,
    file_system::{file_error, make_directory, remove_pin},
    object::{Programs, SetRetval},
};
use crate::{
    DatapathError,
    sys::{self, AttachType},
};

/// Name of each program, which is the name of its link's pin too, and where it is attached.
pub const PROGRAMS: [(&str, AttachType); 5] = [
    ("cil_sock4_connect", AttachType::Inet4Connect),
    ("cil_sock4_sendmsg", AttachType::Udp4Sendmsg),
    ("cil_sock4_recvmsg", AttachType::Udp4Recvmsg),
    ("cil_sock4_getpeername", AttachType::Inet4Getpeername),
    ("cil_sock_release", AttachType::InetSockRelease),
];

/// Directory of the pinned links under a bpffs.
pub fn links(bpf_root: &Path) -> PathBuf {
    bpf_root.join("cilium/socketlb/links/cgroup")
}

/// Loads all programs on `maps` and attaches them to `cgroup`, or puts them in the place of those that are attached
/// there.
pub(super) fn attach(
    bpf_root: &Path,
    cgroup: &Path,
    maps: &PinnedMaps,
    set_retval: SetRetval,
) -> Result<(), DatapathError> {
    let directory = links(bpf_root);
    make_directory(&directory)?;
    let programs = Programs::read(maps, set_retval)?;
    let cgroup = Cgroup::open(cgroup)?;
    for (name, attach_type) in PROGRAMS {
        let program = programs.load(name, attach_type)?;
        attach_one(&directory.join(name), program.as_fd(), &cgroup, attach_type)?;
    }
    Ok(())
}

/// Detaches all programs by removing the pins of their links.
pub(super) fn detach(bpf_root: &Path) -> Result<(), DatapathError> {
    let directory = links(bpf_root);
    PROGRAMS.iter().try_for_each(|(name, _)| remove_pin(&directory.join(name)))
}

/// The directory of a cgroup, held open, and its id.
struct Cgroup {
    directory: File,
    id: u64,
}

impl Cgroup {
    fn open(path: &Path) -> Result<Self, DatapathError> {
        let error = |source| file_error("open the cgroup", path, source);
        let directory = File::open(path).map_err(error)?;
        // A cgroup's id is the inode number of its directory (on 64-bit machines).
        let id = directory.metadata().map_err(error)?.ino();
        Ok(Self { directory, id })
    }
}

/// Attaches one program, or puts it in the place of the one that is attached.
fn attach_one(
    pin: &Path,
    program: BorrowedFd<'_>,
    cgroup: &Cgroup,
    attach_type: AttachType,
) -> Result<(), DatapathError> {
    if let Some(link) = sys::open_pin(pin, sys::PinAccess::ReadWrite)? {
        let info = sys::link_info(link.as_fd())?;
        let same = info.cgroup == cgroup.id && info.attach_type == attach_type as u32;
        match same.then(|| sys::update_link(link.as_fd(), program)) {
            Some(Ok(())) => return Ok(()),
            Some(Err(error)) => tracing::warn!(pin = %pin.display(), %error, "link cannot be updated, attaching anew"),
            None => {
                tracing::warn!(pin = %pin.display(), ?info, cgroup = cgroup.id, "link leads elsewhere, attaching anew")
            }
        }
        remove_pin(pin)?;
    }
    let link = sys::create_link(program, cgroup.directory.as_fd(), attach_type)?;
    sys::pin(link.as_fd(), pin)
}
