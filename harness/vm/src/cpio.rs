//! The archive that a kernel unpacks into its first file system.
//!
//! Format `newc` (Linux, `Documentation/driver-api/early-userspace/buffer-format.rst`): for each file a header of ASCII hex
//! numbers, its name and its content, each padded to four bytes. Archives may follow each other.

use std::{collections::BTreeSet, path::Path};

const MAGIC: &str = "070701";
const TRAILER: &str = "TRAILER!!!";
/// Alignment of names and contents.
const PAD: usize = 4;
/// `S_IFDIR`, `S_IFREG`, `S_IFLNK` of stat(2).
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// An archive that grows.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    inode: u32,
    known: BTreeSet<String>,
}

impl Archive {
    /// A folder, and those that it is in.
    pub fn folder(&mut self, path: &Path) {
        let mut above: Vec<&Path> = path.ancestors().filter(|path| !name(path).is_empty()).collect();
        above.reverse();
        for folder in above {
            self.entry(&name(folder), FOLDER | 0o755, &[]);
        }
    }

    /// A file with its permissions, and the folders that it is in. The first of several with the same path counts.
    pub fn file(&mut self, path: &Path, permissions: u32, content: &[u8]) {
        self.folder_of(path);
        self.entry(&name(path), FILE | (permissions & 0o7777), content);
    }

    /// A symbolic link.
    pub fn link(&mut self, path: &Path, target: &Path) {
        self.folder_of(path);
        self.entry(&name(path), LINK | 0o777, target.as_os_str().as_encoded_bytes());
    }

    /// Whether something with this path is in it.
    pub fn has(&self, path: &Path) -> bool {
        self.known.contains(&name(path))
    }

    /// The whole archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry(TRAILER, 0, &[]);
        self.bytes
    }

    fn folder_of(&mut self, path: &Path) {
        if let Some(folder) = path.parent() {
            self.folder(folder);
        }
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        if !self.known.insert(name.to_owned()) {
            return;
        }
        self.inode += 1;
        let length = |bytes: usize| u32::try_from(bytes).expect("no file of a guest has 4 GiB");
        // Inode, mode, uid, gid, links, time, length, device, device of a special file, length of the name, checksum.
        let numbers = [self.inode, mode, 0, 0, 1, 0, length(content.len()), 0, 0, 0, 0, length(name.len() + 1), 0];
        self.bytes.extend_from_slice(MAGIC.as_bytes());
        for number in numbers {
            self.bytes.extend_from_slice(format!("{number:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        let padded = self.bytes.len().next_multiple_of(PAD);
        self.bytes.resize(padded, 0);
    }
}

/// Names in an archive begin at its root, without a slash.
fn name(path: &Path) -> String {
    path.to_string_lossy().trim_start_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::Write,
        os::unix::fs::PermissionsExt,
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn what_cpio_unpacks_is_what_was_put_in() {
        let mut archive = Archive::default();
        archive.file(Path::new("/a/b/file"), 0o755, b"content");
        archive.file(Path::new("/a/b/file"), 0o644, b"another one");
        archive.link(Path::new("/a/link"), Path::new("b/file"));
        archive.folder(Path::new("/empty"));
        assert!(archive.has(Path::new("/a/b")) && !archive.has(Path::new("/c")));
        let folder = tempfile::tempdir().expect("a folder");
        let mut cpio = Command::new("cpio")
            .args(["-id", "--quiet"])
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .spawn()
            .expect("`cpio` starts (Debian: apt-get install cpio)");
        cpio.stdin.take().expect("a pipe").write_all(&archive.finish()).expect("it reads");
        assert!(cpio.wait().expect("it ends").success());
        let file = folder.path().join("a/b/file");
        assert_eq!(fs::read(&file).expect("it is there"), b"content");
        assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o755);
        assert_eq!(fs::read(folder.path().join("a/link")).expect("it leads somewhere"), b"content");
        assert!(folder.path().join("empty").is_dir());
    }

    #[test]
    fn everything_is_padded() {
        let mut archive = Archive::default();
        archive.file(Path::new("x"), 0o644, b"12345");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % PAD, 0);
        assert!(bytes.starts_with(b"070701"));
        assert!(String::from_utf8_lossy(&bytes).contains(TRAILER));
    }
}
