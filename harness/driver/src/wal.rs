//! The space that etcd reserves for its write-ahead log: two segments of 64 MiB, whatever is written. Its data are in a
//! tmpfs, where space is memory, and a mesh of 16 clusters would spend two gigabytes on zeros. What is reserved far behind
//! the end of the log is given back; should the log grow into it, the kernel allocates page by page.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::Path,
};

use nix::{
    fcntl::{FallocateFlags, fallocate},
    unistd::{Whence, lseek},
};

use crate::error::{Act, SystemError};

/// Folder of the log below etcd's data.
const FOLDER: &str = "member/wal";
/// What stays reserved behind the end of the log: far more than is written while we look.
const MARGIN: i64 = 4 << 20;

/// Gives back what the etcd with this data directory reserved and does not need. Blocks for a moment.
pub(crate) fn release_reserved(data_dir: &Path) -> Result<(), SystemError> {
    let folder = data_dir.join(FOLDER);
    for entry in fs::read_dir(&folder).act(|| format!("list `{}`", folder.display()))? {
        let path = entry.act(|| format!("list `{}`", folder.display()))?.path();
        match OpenOptions::new().read(true).write(true).open(&path).and_then(|file| release(&file)) {
            // A segment that is being prepared is renamed when it is needed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.act(|| format!("release space of `{}`", path.display()))?,
        }
    }
    Ok(())
}

fn release(file: &File) -> io::Result<()> {
    let size = i64::try_from(file.metadata()?.len()).unwrap_or(i64::MAX);
    let from = end_of_data(file, size)? + MARGIN;
    if from >= size {
        return Ok(());
    }
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    match fallocate(file, flags, from, size - from) {
        // A file system without holes has no need of them.
        Err(nix::Error::EOPNOTSUPP) => Ok(()),
        other => Ok(other?),
    }
}

/// Where the last byte ends that was ever written. What is reserved counts as a hole until then.
fn end_of_data(file: &File, size: i64) -> io::Result<i64> {
    let mut end = 0;
    while end < size {
        match lseek(file, end, Whence::SeekData) {
            Ok(data) => end = lseek(file, data, Whence::SeekHole)?,
            Err(nix::Error::ENXIO) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::unix::fs::MetadataExt};

    use super::*;

    #[test]
    fn what_was_written_stays_and_the_rest_goes() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join(FOLDER);
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("0.wal");
        let mut file = File::create(&path).unwrap();
        file.write_all(&[7; 5000]).unwrap();
        let size = 64 << 20;
        fallocate(&file, FallocateFlags::empty(), 0, size).unwrap();
        release_reserved(directory.path()).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.len(), 64 << 20, "its size stays");
        assert!(metadata.blocks() * 512 < 16 << 20, "{} bytes are still reserved", metadata.blocks() * 512);
        let content = fs::read(&path).unwrap();
        assert!(content[..5000].iter().all(|byte| *byte == 7) && content[5000..].iter().all(|byte| *byte == 0));
    }
}
