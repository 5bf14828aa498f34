//! Directories, and the file systems that they must be on.
#![expect(unsafe_code, reason = "statfs(2) has no safe wrapper in libc")]

use std::{
    ffi::CString,
    fs, io,
    mem::MaybeUninit,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use crate::{DatapathError, DatapathErrorKind};

/// `f_type` of bpffs.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;
/// `f_type` of cgroup v2.
const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;

/// Checks that pins can be made under `path`.
pub(super) fn check_bpffs(path: &Path) -> Result<(), DatapathError> {
    check(path, BPF_FS_MAGIC, "bpf", format!("mount -t bpf bpf {}", path.display()))
}

/// Checks that `path` is a cgroup that programs can be attached to.
pub(super) fn check_cgroup2(path: &Path) -> Result<(), DatapathError> {
    check(path, CGROUP2_SUPER_MAGIC, "cgroup2", "mount -t cgroup2 none /run/cgroup2".to_owned())
}

/// Makes a directory and those above it.
pub(super) fn make_directory(path: &Path) -> Result<(), DatapathError> {
    fs::create_dir_all(path).map_err(|source| file_error("make a directory", path, source))
}

/// Removes a pin. One that is not there is no error.
pub(super) fn remove_pin(path: &Path) -> Result<(), DatapathError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(file_error("remove a pin", path, error)),
    }
}

/// Error of an operation on a path.
pub(super) fn file_error(act: &str, path: &Path, source: io::Error) -> DatapathError {
    DatapathError::new(act, DatapathErrorKind::File { path: PathBuf::from(path), source })
}

fn check(path: &Path, magic: i64, expected: &'static str, hint: String) -> Result<(), DatapathError> {
    let act = format!("use `{}`", path.display());
    let found = magic_of(path).map_err(|source| file_error(&act, path, source))?;
    if found == magic {
        return Ok(());
    }
    Err(DatapathError::new(act, DatapathErrorKind::FileSystem { path: path.to_owned(), expected, hint }))
}

fn magic_of(path: &Path) -> io::Result<i64> {
    let c_path = CString::new(path.as_os_str().as_bytes())?;
    let mut result = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the path has a final zero; `result` has room for the structure.
    if unsafe { libc::statfs(c_path.as_ptr(), result.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so the kernel filled it.
    let result = unsafe { result.assume_init() };
    // The field's type differs between machines; the magic numbers have 32 bits.
    Ok(i64::from(result.f_type as u32))
}
