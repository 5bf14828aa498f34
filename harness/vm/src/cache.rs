//! The folder where kernels, and what else takes time to make, is kept between runs.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use ring::digest;

use crate::VmError;

/// See the module.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `$XDG_CACHE_HOME/meshbed`, or `~/.cache/meshbed`.
    pub fn of_user() -> Self {
        let home = || std::env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from).join(".cache");
        let root = std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
        Self::at(root.join("meshbed"))
    }

    /// Another folder.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// A folder in it, which is made when it is not there.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn folder(&self, name: &str) -> Result<PathBuf, VmError> {
        let folder = self.root.join(name);
        fs::create_dir_all(&folder).map_err(VmError::io(format!("make folder `{}`", folder.display())))?;
        Ok(folder)
    }

    /// A program without what only debuggers read: more than half of one of ours. As it is where `strip` is missing. Of each program
    /// one version is kept.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(crate) fn stripped(&self, program: &Path) -> Result<Vec<u8>, VmError> {
        let failed = || format!("read program `{}`", program.display());
        let about = fs::metadata(program).map_err(VmError::io(failed()))?;
        let folder = self.folder("programs")?;
        let name = hex(program.as_os_str().as_encoded_bytes());
        let version = format!("{} {} {}", about.ino(), about.len(), about.mtime_nsec());
        let kept = folder.join(format!("{name}-{}", hex(version.as_bytes())));
        if let Ok(bytes) = fs::read(&kept) {
            return Ok(bytes);
        }
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        for older in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&name)) {
            // Another run may have done the same.
            drop(fs::remove_file(older.path()));
        }
        // Under another name first: two runs may do the same at the same time.
        let made = kept.with_extension(std::process::id().to_string());
        let done = Command::new("strip").arg("--strip-all").arg("-o").arg(&made).arg(program).output();
        if done.is_ok_and(|output| output.status.success()) {
            fs::rename(&made, &kept).map_err(VmError::io(format!("keep `{}`", kept.display())))?;
            return fs::read(&kept).map_err(VmError::io(failed()));
        }
        fs::read(program).map_err(VmError::io(failed()))
    }

    /// Whether something was found out about this machine since it was started.
    pub(crate) fn knows(&self, fact: &str) -> bool {
        self.root.join(fact_file(fact)).exists()
    }

    /// Remembers something about this machine until it starts anew.
    pub(crate) fn learn(&self, fact: &str) -> io::Result<()> {
        fs::create_dir_all(&self.root)?;
        fs::write(self.root.join(fact_file(fact)), "")
    }
}

/// Each start of a machine has an ID of its own (proc_sys_kernel(5)).
fn fact_file(fact: &str) -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    format!("{fact}-{}", boot.trim())
}

/// SHA-256 in hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    digest::digest(&digest::SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stripped_program_is_smaller_and_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::at(folder.path().join("cache"));
        let program = std::env::current_exe().expect("we run");
        let whole = fs::metadata(&program).expect("it is there").len();
        let stripped = cache.stripped(&program).expect("readable");
        assert!(stripped.starts_with(b"\x7fELF"));
        if Command::new("strip").arg("--version").output().is_ok() {
            assert!(u64::try_from(stripped.len()).expect("small") < whole);
            assert_eq!(fs::read_dir(folder.path().join("cache/programs")).expect("a folder").count(), 1);
        }
        assert_eq!(cache.stripped(&program).expect("readable"), stripped);
    }

    #[test]
    fn facts_are_remembered() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::at(folder.path().join("cache"));
        assert!(!cache.knows("kvm-fails"));
        cache.learn("kvm-fails").expect("written");
        assert!(cache.knows("kvm-fails") && !cache.knows("other"));
    }
}
