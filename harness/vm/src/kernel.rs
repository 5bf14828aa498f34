//! A kernel on this machine.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{ModuleTree, VmError};

/// What a guest of a mesh cannot do without: a way to talk to the host, and the devices of nodes and pods.
pub const MODULES_REQUIRED: [&str; 7] =
    ["virtio_pci", "virtio_console", "veth", "bridge", "vxlan", "sch_ingress", "tun"];
/// What is used where it is there.
pub const MODULES_WISHED: [&str; 6] = ["virtio_rng", "virtio_net", "cls_bpf", "sch_netem", "sch_tbf", "ipv6"];

/// List of the modules that are built in, in the folder of modules (Linux, `Documentation/kbuild/kbuild.rst`).
pub(crate) const BUILT_IN: &str = "modules.builtin";

/// A kernel that can be booted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Its name in the file of kernels.
    pub name: String,
    /// Its release, such as `5.10.0-32-cloud-amd64`, when its modules say it.
    pub release: Option<String>,
    /// The image that the boot loader starts.
    pub image: PathBuf,
    /// Folder of its modules, `lib/modules/<release>`; a kernel may have everything built in.
    pub modules: Option<PathBuf>,
    /// Its configuration, where that is known.
    pub config: Option<PathBuf>,
}

impl Kernel {
    /// Finds image, modules and configuration below a folder where packages were unpacked.
    ///
    /// # Errors
    ///
    /// When there is no image, or more than one.
    pub fn unpacked(name: &str, root: &Path) -> Result<Self, VmError> {
        let releases = folders(&root.join("usr/lib/modules")).into_iter().chain(folders(&root.join("lib/modules")));
        let modules = releases.into_iter().next();
        let release = modules.as_deref().and_then(file_name);
        let in_boot = |prefix: &str| {
            let found = files(&root.join("boot")).into_iter();
            found.filter(|path| file_name(path).is_some_and(|name| name.starts_with(prefix))).collect::<Vec<_>>()
        };
        let mut images = in_boot("vmlinuz");
        // Debian from 7.2 on has it beside the modules.
        images.extend(modules.iter().map(|folder| folder.join("vmlinuz")).filter(|path| path.is_file()));
        let image = match images.as_slice() {
            [one] => one.clone(),
            [] => return Err(VmError::kernel(name, format!("no image below `{}`", root.display()))),
            _ => return Err(VmError::kernel(name, format!("several images below `{}`: {images:?}", root.display()))),
        };
        let config = in_boot("config-").into_iter().next();
        let config =
            config.or_else(|| modules.as_ref().map(|folder| folder.join("config")).filter(|path| path.is_file()));
        Ok(Self { name: name.to_owned(), release, image, modules, config })
    }

    /// Whether its modules come with the list of those that are built in: without it a driver that is built in counts as missing.
    pub fn knows_what_is_built_in(&self) -> bool {
        self.modules.as_ref().is_none_or(|folder| folder.join(BUILT_IN).is_file())
    }

    /// Its modules.
    ///
    /// # Errors
    ///
    /// When their folder cannot be read.
    pub fn module_tree(&self) -> Result<ModuleTree, VmError> {
        self.modules.as_deref().map_or_else(|| Ok(ModuleTree::default()), ModuleTree::read)
    }
}

fn folders(of: &Path) -> Vec<PathBuf> {
    entries(of).into_iter().filter(|path| path.is_dir()).collect()
}

fn files(of: &Path) -> Vec<PathBuf> {
    entries(of).into_iter().filter(|path| path.is_file()).collect()
}

/// Sorted by name; none when the folder is not there.
fn entries(of: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(of).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.sort();
    found
}

fn file_name(path: &Path) -> Option<String> {
    path.file_name().map(|name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(root: &Path, path: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, "").expect("written");
    }

    #[test]
    fn packages_of_all_ages_are_understood() {
        let old = tempfile::tempdir().expect("a folder");
        for path in ["boot/vmlinuz-5.10.0", "boot/config-5.10.0", "boot/System.map-5.10.0", "lib/modules/5.10.0/a.ko"] {
            touch(old.path(), path);
        }
        let kernel = Kernel::unpacked("5.10", old.path()).expect("whole");
        assert_eq!(kernel.release.as_deref(), Some("5.10.0"));
        assert!(kernel.image.ends_with("boot/vmlinuz-5.10.0"));
        assert!(kernel.config.is_some_and(|path| path.ends_with("boot/config-5.10.0")));

        let new = tempfile::tempdir().expect("a folder");
        for path in ["usr/lib/modules/7.3.4/vmlinuz", "usr/lib/modules/7.3.4/kernel/a.ko.xz", "boot/config-7.3.4"] {
            touch(new.path(), path);
        }
        let kernel = Kernel::unpacked("7.3", new.path()).expect("whole");
        assert_eq!(kernel.release.as_deref(), Some("7.3.4"));
        assert!(kernel.image.ends_with("7.3.4/vmlinuz"));
        assert!(!kernel.knows_what_is_built_in());
        touch(new.path(), "usr/lib/modules/7.3.4/modules.builtin");
        assert!(kernel.knows_what_is_built_in());
    }

    #[test]
    fn no_image_or_two_are_told() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(Kernel::unpacked("x", folder.path()).expect_err("empty").to_string().contains("no image"));
        touch(folder.path(), "boot/vmlinuz-1");
        touch(folder.path(), "boot/vmlinuz-2");
        assert!(Kernel::unpacked("x", folder.path()).expect_err("two").to_string().contains("several images"));
    }
}
