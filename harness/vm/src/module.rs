//! Kernel modules: which files a guest needs, and in which order they are loaded.
//!
//! A package of modules that was only unpacked has no `modules.dep`; every module says itself on what it depends, in its
//! section `.modinfo` (Linux, `include/linux/module.h`).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Cursor, Read},
    path::{Path, PathBuf},
};

use object::{Object, ObjectSection};

use crate::VmError;

/// Largest module that is unpacked, in bytes; the largest of a Debian kernel has a tenth of it.
const MODULE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How deep folders of modules lie at most.
const DEPTH_MAX: usize = 32;
/// Names of module files, plain and compressed.
const ENDINGS: [&str; 3] = [".ko", ".ko.xz", ".ko.zst"];

/// The modules of a kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleTree {
    files: BTreeMap<String, PathBuf>,
    builtin: BTreeSet<String>,
}

/// A module to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its name, with `_` wherever `-` may stand, too.
    pub name: String,
    /// Its content, uncompressed.
    pub bytes: Vec<u8>,
}

impl ModuleTree {
    /// The modules below `folder`, which is `lib/modules/<release>` of a kernel.
    ///
    /// # Errors
    ///
    /// When a folder cannot be read.
    pub fn read(folder: &Path) -> Result<Self, VmError> {
        let mut tree = Self::default();
        tree.add(folder, 0)?;
        let builtin = fs::read_to_string(folder.join(crate::kernel::BUILT_IN)).unwrap_or_default();
        tree.builtin = builtin.lines().filter_map(|line| name_of(Path::new(line))).collect();
        Ok(tree)
    }

    fn add(&mut self, folder: &Path, depth: usize) -> Result<(), VmError> {
        let failed = || format!("read folder `{}`", folder.display());
        for entry in fs::read_dir(folder).map_err(VmError::io(failed()))? {
            let entry = entry.map_err(VmError::io(failed()))?;
            let kind = entry.file_type().map_err(VmError::io(failed()))?;
            if kind.is_dir() && depth < DEPTH_MAX {
                self.add(&entry.path(), depth + 1)?;
            } else if let Some(name) = name_of(&entry.path()) {
                self.files.insert(name, entry.path());
            }
        }
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Whether the kernel can do what `module` does, as a module or by itself.
    pub fn can(&self, module: &str) -> bool {
        let name = module.replace('-', "_");
        self.builtin.contains(&name) || self.files.contains_key(&name)
    }

    /// The files of `wanted` and of all that they depend on, in the order of loading. What is built in is none of them, and
    /// neither is what does not exist: ask [`Self::can`].
    ///
    /// # Errors
    ///
    /// When a module cannot be read.
    pub fn load_order(&self, wanted: &[&str]) -> Result<Vec<Module>, VmError> {
        let mut order = Vec::new();
        let mut known = BTreeSet::new();
        for name in wanted {
            self.visit(&name.replace('-', "_"), &mut known, &mut order)?;
        }
        Ok(order)
    }

    fn visit(&self, name: &str, known: &mut BTreeSet<String>, order: &mut Vec<Module>) -> Result<(), VmError> {
        let Some(file) = self.files.get(name).filter(|_| known.insert(name.to_owned())) else { return Ok(()) };
        let bytes = content(file)?;
        for other in dependencies(file, &bytes)? {
            self.visit(&other, known, order)?;
        }
        order.push(Module { name: name.to_owned(), bytes });
        Ok(())
    }
}

/// `drivers/net/veth.ko.xz` is `veth`.
fn name_of(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    ENDINGS.iter().find_map(|ending| file.strip_suffix(ending)).map(|name| name.replace('-', "_"))
}

/// A module as the kernel takes it.
fn content(file: &Path) -> Result<Vec<u8>, VmError> {
    let bytes = fs::read(file).map_err(VmError::io(format!("read module `{}`", file.display())))?;
    let broken = |why: String| VmError::file(file, why);
    let mut plain = Vec::new();
    match file.extension().and_then(|ending| ending.to_str()) {
        Some("xz") => {
            let mut to = Limited { bytes: &mut plain };
            lzma_rs::xz_decompress(&mut Cursor::new(&bytes), &mut to).map_err(|error| broken(format!("{error:?}")))?;
        }
        Some("zst") => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(bytes.as_slice());
            let decoder = decoder.map_err(|error| broken(error.to_string()))?;
            decoder.take(MODULE_BYTES_MAX).read_to_end(&mut plain).map_err(|error| broken(error.to_string()))?;
        }
        _ => plain = bytes,
    }
    Ok(plain)
}

/// Takes no more than a module may have.
struct Limited<'a> {
    bytes: &'a mut Vec<u8>,
}

impl std::io::Write for Limited<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let length = u64::try_from(self.bytes.len() + bytes.len()).unwrap_or(u64::MAX);
        if length > MODULE_BYTES_MAX {
            return Err(std::io::Error::other(format!("more than {MODULE_BYTES_MAX} bytes")));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What `.modinfo` says: `depends=` with names, and `softdep=pre:`, which the kernel asks modprobe for.
fn dependencies(file: &Path, module: &[u8]) -> Result<Vec<String>, VmError> {
    let no_elf = |error: object::Error| VmError::file(file, error.to_string());
    let elf = object::File::parse(module).map_err(no_elf)?;
    let Some(section) = elf.section_by_name(".modinfo") else { return Ok(Vec::new()) };
    Ok(told(section.data().map_err(no_elf)?))
}

fn told(modinfo: &[u8]) -> Vec<String> {
    let lines = modinfo.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let mut names = Vec::new();
    for line in lines {
        if let Some(depends) = line.strip_prefix("depends=") {
            names.extend(depends.split(',').map(str::to_owned));
        } else if let Some(soft) = line.strip_prefix("softdep=pre:") {
            let before = soft.split("post:").next().unwrap_or_default();
            names.extend(before.split_whitespace().map(str::to_owned));
        }
    }
    names.retain(|name| !name.is_empty());
    names.iter().map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case(b"license=GPL\0depends=udp_tunnel,ip6-udp-tunnel\0name=vxlan\0" => vec!["udp_tunnel", "ip6_udp_tunnel"])]
    #[test_case(b"depends=\0" => Vec::<String>::new() ; "none")]
    #[test_case(b"softdep=pre: a-b c post: d\0" => vec!["a_b", "c"] ; "soft")]
    fn what_modules_say(modinfo: &[u8]) -> Vec<String> {
        told(modinfo)
    }

    #[test_case("kernel/drivers/net/veth.ko" => Some("veth".to_owned()))]
    #[test_case("a/ip6-udp-tunnel.ko.xz" => Some("ip6_udp_tunnel".to_owned()))]
    #[test_case("a/b.ko.zst" => Some("b".to_owned()))]
    #[test_case("modules.order" => None)]
    fn names(path: &str) -> Option<String> {
        name_of(Path::new(path))
    }

    #[test]
    fn a_missing_module_is_no_error() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("modules.builtin"), "kernel/net/ipv6/ipv6.ko\n").expect("written");
        let tree = ModuleTree::read(folder.path()).expect("readable");
        assert!(tree.is_empty() && tree.can("ipv6") && !tree.can("veth"));
        assert_eq!(tree.load_order(&["veth", "ipv6"]).expect("nothing to read"), []);
    }

    #[test]
    fn nonsense_is_told_with_its_file() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["a.ko", "b.ko.xz", "c.ko.zst"] {
            fs::write(folder.path().join(name), "nonsense").expect("written");
        }
        let tree = ModuleTree::read(folder.path()).expect("readable");
        assert_eq!(tree.len(), 3);
        for name in ["a", "b", "c"] {
            let error = tree.load_order(&[name]).expect_err("nonsense").to_string();
            assert!(error.contains(&format!("{name}.ko")), "{error}");
        }
    }
}
