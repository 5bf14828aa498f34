//! What is mounted where: `/proc/self/mountinfo` (proc_pid_mountinfo(5)).

use std::{
    ffi::OsString,
    fs,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use crate::{
    error::{Act, SystemError},
    layout::RUNS_ROOT,
};

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Which part of the file system is visible.
    pub(crate) root: PathBuf,
    /// Where.
    pub(crate) point: PathBuf,
    /// Whether mounts below it propagate to other mount namespaces.
    pub(crate) shared: bool,
    /// Type, such as `cgroup2`.
    pub(crate) file_system: String,
    /// What was named as its source.
    pub(crate) source: String,
}

/// All mounts of the calling process in the order of the kernel: later ones cover earlier ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountTable(Vec<Mount>);

impl MountTable {
    /// The mounts as they are now.
    pub(crate) fn read() -> Result<Self, SystemError> {
        const FILE: &str = "/proc/self/mountinfo";
        let bytes = fs::read(FILE).act(|| format!("read `{FILE}`"))?;
        Ok(Self::parse(&String::from_utf8_lossy(&bytes)))
    }

    /// Lines that do not look like mounts are skipped: the kernel may add fields, but it will not change these.
    fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(parse_line).collect())
    }

    /// The mount that `path` is on.
    pub(crate) fn covering(&self, path: &Path) -> Option<&Mount> {
        let length = |mount: &&Mount| mount.point.components().count();
        // The last of the longest: `max_by_key` returns the last of equal ones.
        self.0.iter().filter(|mount| path.starts_with(&mount.point)).max_by_key(length)
    }

    /// The topmost mount at exactly `path`.
    pub(crate) fn at(&self, path: &Path) -> Option<&Mount> {
        self.0.iter().rev().find(|mount| mount.point == path)
    }

    /// Mount points at or below `path`, in the order in which they can be unmounted.
    pub(crate) fn below(&self, path: &Path) -> Vec<PathBuf> {
        let points = self.0.iter().filter(|mount| mount.point.starts_with(path)).map(|mount| mount.point.clone());
        let mut points: Vec<PathBuf> = points.collect();
        points.reverse();
        points.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
        points
    }

    /// Where the root of the cgroup v2 hierarchy is mounted, preferring mounts that are not some run's own.
    pub(crate) fn cgroup_root(&self) -> Option<&Path> {
        let all = || self.0.iter().filter(|mount| mount.file_system == "cgroup2" && mount.root == Path::new("/"));
        let outside = all().find(|mount| !mount.point.starts_with(RUNS_ROOT));
        outside.or_else(|| all().next()).map(|mount| mount.point.as_path())
    }
}

fn parse_line(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ');
    let root = unescape(before.nth(3)?);
    let point = unescape(before.next()?);
    let _options = before.next()?;
    let shared = before.any(|field| field.starts_with("shared:"));
    let mut after = after.split(' ');
    let file_system = after.next()?.to_owned();
    let source = unescape(after.next()?).to_string_lossy().into_owned();
    Some(Mount { root: root.into(), point: point.into(), shared, file_system, source })
}

/// Undoes the kernel's `\ooo` for space, tab, newline and backslash.
fn unescape(field: &str) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = std::ffi::OsStr::new(field).as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let octal = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.filter(|_| first == b'\\').and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::MountTable;

    const HYBRID: &str = "\
23 27 0:22 / /sys rw,relatime - sysfs sysfs rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    const SYSTEMD: &str = "\
22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw
25 22 0:5 / /run rw,nosuid shared:5 master:1 - tmpfs tmpfs rw
26 25 0:4 net:[4026532177] /run/netns/mb-k3f9x2-wan rw shared:9 - nsfs nsfs rw
30 22 0:26 / /sys/fs/cgroup rw shared:7 - cgroup2 cgroup2 rw,nsdelegate
31 25 0:40 / /run/meshbed/k3f9x2 rw shared:20 - tmpfs meshbed rw
32 31 0:41 / /run/meshbed/k3f9x2/alpha/a\\040b/bpf rw - bpf bpffs rw
";

    #[test]
    fn cgroup_root_on_hybrid_and_unified_machines() {
        assert_eq!(MountTable::parse(HYBRID).cgroup_root(), Some(Path::new("/sys/fs/cgroup/unified")));
        assert_eq!(MountTable::parse(SYSTEMD).cgroup_root(), Some(Path::new("/sys/fs/cgroup")));
        assert_eq!(MountTable::parse("").cgroup_root(), None);
    }

    #[test]
    fn private_mount_and_container_mount_come_last() {
        let own = "1 0 0:9 / /run/meshbed/k3f9x2/cgroup2 rw - cgroup2 cgroup2 rw\n";
        assert_eq!(MountTable::parse(own).cgroup_root(), Some(Path::new("/run/meshbed/k3f9x2/cgroup2")));
        assert_eq!(
            MountTable::parse(&format!("{own}{HYBRID}")).cgroup_root(),
            Some(Path::new("/sys/fs/cgroup/unified"))
        );
        let part = "1 0 0:9 /../other /mnt rw - cgroup2 cgroup2 rw\n";
        assert_eq!(MountTable::parse(part).cgroup_root(), None, "only a part of the hierarchy");
    }

    #[test]
    fn shared_and_covering() {
        let table = MountTable::parse(SYSTEMD);
        let run = table.covering(Path::new("/run/netns")).unwrap();
        assert_eq!((run.point.as_path(), run.shared), (Path::new("/run"), true));
        assert!(!MountTable::parse(HYBRID).covering(Path::new("/run/netns")).unwrap().shared);
        assert_eq!(table.at(Path::new("/run/netns")), None);
    }

    #[test]
    fn deepest_first() {
        let below = MountTable::parse(SYSTEMD).below(Path::new("/run/meshbed/k3f9x2"));
        let expected = ["/run/meshbed/k3f9x2/alpha/a b/bpf", "/run/meshbed/k3f9x2"].map(PathBuf::from);
        assert_eq!(below, expected);
    }
}
