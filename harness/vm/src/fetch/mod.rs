//! Where kernels come from: fetched once, unpacked below the cache, never installed.

mod debian;
mod oci;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use meshbed_scenario::{KernelSource, KernelSpec, Kernels};
use serde::{Deserialize, Serialize};

use crate::{Cache, Kernel, VmError, cache::hex};

/// What is remembered of a kernel that was fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// What it was fetched for: another source in the file of kernels makes it another kernel.
    pub source: String,
    /// Packages, or the reference of an image.
    pub parts: Vec<Part>,
}

/// A package or an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Its version; empty for images.
    pub version: String,
    /// SHA-256 of what was fetched, in hex.
    pub sha256: String,
}

/// The kernel `spec` if it is here already.
///
/// # Errors
///
/// When it is here and cannot be used.
pub fn cached(cache: &Cache, spec: &KernelSpec) -> Result<Option<(Kernel, Option<Origin>)>, VmError> {
    if let KernelSource::Path { image, modules } = spec.source() {
        return of_path(spec.name(), image, modules.as_deref()).map(|kernel| Some((kernel, None)));
    }
    let folder = cache.folder("kernels")?.join(spec.name());
    let Some(origin) = read_origin(&folder) else { return Ok(None) };
    if origin.source != words(spec.source()) {
        return Ok(None);
    }
    let kernel = Kernel::unpacked(spec.name(), &folder.join("root"))?;
    // An older version of this program did not know of all packages that a kernel is made of.
    let is_whole = !matches!(spec.source(), KernelSource::Debian { .. }) || kernel.knows_what_is_built_in();
    Ok(is_whole.then_some((kernel, Some(origin))))
}

/// The kernel `spec`, fetched when it is not here. Of all `kernels` the suites are asked for, so that several kernels need
/// one list of packages. What was fetched before in the same version must be the same again.
///
/// # Errors
///
/// When it cannot be had; programs that are missing are named with their packages.
pub fn fetch(cache: &Cache, kernels: &Kernels, spec: &KernelSpec, anew: bool) -> Result<Kernel, VmError> {
    if let Some((kernel, _)) = cached(cache, spec)?.filter(|_| !anew) {
        return Ok(kernel);
    }
    let all = cache.folder("kernels")?;
    let folder = all.join(spec.name());
    let before = read_origin(&folder);
    // Unpacked beside it first: an interrupted fetch leaves what was there.
    let fresh = all.join(format!(".{}-{}", spec.name(), std::process::id()));
    let made = make(cache, kernels, spec, &fresh).and_then(|origin| {
        same_as_before(spec.name(), before.as_ref(), &origin)?;
        Kernel::unpacked(spec.name(), &fresh.join("root"))?;
        let text = serde_json::to_vec_pretty(&origin).unwrap_or_default();
        let file = fresh.join(ORIGIN);
        fs::write(&file, text).map_err(VmError::io(format!("write `{}`", file.display())))?;
        // What was there is of no use any more.
        drop(fs::remove_dir_all(&folder));
        fs::rename(&fresh, &folder).map_err(VmError::io(format!("keep `{}`", folder.display())))
    });
    if made.is_err() {
        drop(fs::remove_dir_all(&fresh));
    }
    made?;
    Kernel::unpacked(spec.name(), &folder.join("root"))
}

const ORIGIN: &str = "origin.json";

fn make(cache: &Cache, kernels: &Kernels, spec: &KernelSpec, folder: &Path) -> Result<Origin, VmError> {
    let root = folder.join("root");
    fs::create_dir_all(&root).map_err(VmError::io(format!("make folder `{}`", root.display())))?;
    let parts = match spec.source() {
        KernelSource::Debian { suite, package } => {
            let debian = debian::Debian::open(cache, kernels)?;
            debian.unpack(spec.name(), suite, package, folder, &root)?
        }
        KernelSource::Oci { reference } => vec![oci::unpack(spec.name(), reference, folder, &root)?],
        KernelSource::Path { .. } => Vec::new(),
    };
    Ok(Origin { source: words(spec.source()), parts })
}

/// The same version must have the same content as when it was fetched first.
fn same_as_before(name: &str, before: Option<&Origin>, now: &Origin) -> Result<(), VmError> {
    let known = before.into_iter().flat_map(|origin| &origin.parts);
    for part in known.filter(|part| !part.version.is_empty()) {
        let same = |one: &&Part| one.name == part.name && one.version == part.version;
        if let Some(other) = now.parts.iter().find(same).filter(|one| one.sha256 != part.sha256) {
            let why = format!(
                "{} {} was {} when it was fetched first, and is {} now",
                part.name, part.version, part.sha256, other.sha256
            );
            return Err(VmError::kernel(name, why));
        }
    }
    Ok(())
}

fn read_origin(folder: &Path) -> Option<Origin> {
    serde_json::from_slice(&fs::read(folder.join(ORIGIN)).ok()?).ok()
}

fn words(source: &KernelSource) -> String {
    match source {
        KernelSource::Debian { suite, package } => format!("debian {suite} {package}"),
        KernelSource::Oci { reference } => format!("oci {reference}"),
        KernelSource::Path { image, .. } => format!("path {}", image.display()),
    }
}

fn of_path(name: &str, image: &Path, modules: Option<&Path>) -> Result<Kernel, VmError> {
    let missing = [Some(image), modules].into_iter().flatten().find(|path| !path.exists());
    if let Some(missing) = missing {
        return Err(VmError::kernel(name, format!("there is no `{}`", missing.display())));
    }
    let release = modules.and_then(|folder| Some(folder.file_name()?.to_string_lossy().into_owned()));
    let (image, modules) = (image.to_owned(), modules.map(Path::to_owned));
    Ok(Kernel { name: name.to_owned(), release, image, modules, config: None })
}

/// Runs a program of the host to its end and returns what it printed.
fn output(program: &str, package: &str, command: &mut Command) -> Result<String, VmError> {
    let done =
        command.output().map_err(|error| VmError::program(program, format!("{error}; Debian package `{package}`")))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    Err(VmError::program(program, said.trim().to_owned()))
}

/// SHA-256 of a file.
fn sha256(file: &Path) -> Result<String, VmError> {
    Ok(hex(&fs::read(file).map_err(VmError::io(format!("read `{}`", file.display())))?))
}

/// Files of a folder whose names end so, sorted.
fn files_ending(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.to_string_lossy().ends_with(ending)).collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(version: &str, sha256: &str) -> Origin {
        let part = Part { name: "linux-image".into(), version: version.into(), sha256: sha256.into() };
        Origin { source: String::new(), parts: vec![part] }
    }

    #[test]
    fn a_version_has_one_content() {
        assert!(same_as_before("x", None, &origin("1", "a")).is_ok());
        assert!(same_as_before("x", Some(&origin("1", "a")), &origin("1", "a")).is_ok());
        assert!(same_as_before("x", Some(&origin("1", "a")), &origin("2", "b")).is_ok(), "a newer one");
        let error = same_as_before("x", Some(&origin("1", "a")), &origin("1", "b")).expect_err("changed");
        assert!(error.to_string().contains("linux-image 1 was a"), "{error}");
    }

    #[test]
    fn a_kernel_of_this_machine_is_used_in_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let modules = folder.path().join("6.6.1");
        fs::create_dir(&modules).expect("made");
        fs::write(folder.path().join("bzImage"), "").expect("written");
        let text = "apiVersion: meshbed.dev/v1alpha1\nkind: Kernels\nkernels:\n- name: mine\n  path: {image: bzImage, modules: 6.6.1}\n- name: gone\n  path: {image: none}\n";
        let kernels = Kernels::parse(text, folder.path().join("kernels.yaml")).expect("valid");
        let cache = Cache::at(folder.path().join("cache"));
        let kernel = fetch(&cache, &kernels, &kernels.all()[0], false).expect("it is here");
        assert_eq!((kernel.release.as_deref(), kernel.modules), (Some("6.6.1"), Some(modules)));
        let error = fetch(&cache, &kernels, &kernels.all()[1], false).expect_err("it is not");
        assert!(error.to_string().contains("kernel `gone`: there is no"), "{error}");
    }
}
