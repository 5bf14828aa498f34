//! What a guest is made of: programs with their libraries, files of the host under the same paths, modules, and the job.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::{
    Archive, Cache, Kernel, VmError,
    kernel::{MODULES_REQUIRED, MODULES_WISHED},
    library,
    nic::NIC_MODULE,
    protocol::{JOB_FILE, Job},
};

/// Where PID 1 of a guest lies.
pub(crate) const INIT: &str = "/sbin/meshbed-init";
/// Folders that everything may expect.
const FOLDERS: [&str; 10] = ["/proc", "/sys", "/dev", "/run", "/tmp", "/root", "/var/tmp", "/etc", "/bin", "/usr/bin"];
/// The users and groups that programs look up, and the name service that needs no library of its own for them.
const ETC: [(&str, &str); 5] = [
    ("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
    ("/etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
    ("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ("/etc/hostname", "meshbed\n"),
];

/// What is put into a guest beside its kernel's modules.
#[derive(Clone, Debug, Default)]
pub struct Content {
    /// Programs of the host: they are found at the same path in the guest, with all libraries that they need.
    pub programs: Vec<PathBuf>,
    /// Files and folders of the host, at the same path.
    pub files: Vec<PathBuf>,
    /// Symbolic links: path and target.
    pub links: Vec<(PathBuf, PathBuf)>,
    /// Whether the guest has network interfaces, which its kernel must be able to drive.
    pub network: bool,
}

/// The first file system of a guest that runs `job` on `kernel`. `init` is the program for PID 1.
///
/// # Errors
///
/// When a file cannot be read, a library is missing, or the kernel lacks a module that no mesh can do without.
pub fn initramfs(
    cache: &Cache,
    kernel: &Kernel,
    init: &Path,
    content: &Content,
    mut job: Job,
) -> Result<Vec<u8>, VmError> {
    let mut archive = Archive::default();
    for folder in FOLDERS {
        archive.folder(Path::new(folder));
    }
    for (path, text) in ETC {
        archive.file(Path::new(path), 0o644, text.as_bytes());
    }
    job.modules = add_modules(&mut archive, kernel, content.network)?;
    let text = serde_json::to_vec(&job).map_err(|error| VmError::file(JOB_FILE, error.to_string()))?;
    archive.file(Path::new(JOB_FILE), 0o644, &text);
    archive.file(Path::new(INIT), 0o755, &cache.stripped(init)?);
    add_libraries(&mut archive, init)?;
    for program in &content.programs {
        if !archive.has(program) {
            archive.file(program, 0o755, &cache.stripped(program)?);
            add_libraries(&mut archive, program)?;
        }
    }
    for path in &content.files {
        add(&mut archive, path)?;
    }
    for (path, target) in &content.links {
        archive.link(path, target);
    }
    Ok(archive.finish())
}

/// Adds modules and returns their files in the order of loading.
fn add_modules(archive: &mut Archive, kernel: &Kernel, network: bool) -> Result<Vec<String>, VmError> {
    let tree = kernel.module_tree()?;
    if kernel.modules.is_some() {
        let required = MODULES_REQUIRED.into_iter().chain(network.then_some(NIC_MODULE));
        let missing: Vec<&str> = required.filter(|module| !tree.can(module)).collect();
        if !missing.is_empty() {
            return Err(VmError::kernel(&kernel.name, format!("it has no {}", missing.join(", "))));
        }
    }
    let wanted: Vec<&str> = MODULES_REQUIRED.into_iter().chain(MODULES_WISHED).collect();
    let mut files = Vec::new();
    for module in tree.load_order(&wanted)? {
        let path = format!("/lib/modules/{}.ko", module.name);
        archive.file(Path::new(&path), 0o644, &module.bytes);
        files.push(path);
    }
    Ok(files)
}

fn add_libraries(archive: &mut Archive, program: &Path) -> Result<(), VmError> {
    for library in library::libraries(program)? {
        if !archive.has(&library) {
            let bytes = fs::read(&library).map_err(VmError::io(format!("read library `{}`", library.display())))?;
            archive.file(&library, 0o755, &bytes);
        }
    }
    Ok(())
}

/// A file, or a folder with all that is in it. What is neither, such as a socket, is left out.
fn add(archive: &mut Archive, path: &Path) -> Result<(), VmError> {
    let failed = || format!("read `{}`", path.display());
    let metadata = fs::metadata(path).map_err(VmError::io(failed()))?;
    if metadata.is_dir() {
        archive.folder(path);
        let mut entries = Vec::new();
        for entry in fs::read_dir(path).map_err(VmError::io(failed()))? {
            entries.push(entry.map_err(VmError::io(failed()))?.path());
        }
        entries.sort();
        for entry in entries {
            add(archive, &entry)?;
        }
    } else if metadata.is_file() {
        let bytes = fs::read(path).map_err(VmError::io(failed()))?;
        archive.file(path, metadata.permissions().mode(), &bytes);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel with these modules built in and no others.
    fn kernel(root: &Path, builtin: &[&str]) -> Kernel {
        let lines: String = builtin.iter().map(|name| format!("kernel/{name}.ko\n")).collect();
        fs::write(root.join("modules.builtin"), lines).expect("written");
        let modules = Some(root.to_owned());
        Kernel { name: "x".to_owned(), release: None, image: PathBuf::new(), modules, config: None }
    }

    #[test]
    fn only_guests_with_interfaces_need_their_driver() {
        let folder = tempfile::tempdir().expect("a folder");
        let kernel = kernel(folder.path(), &MODULES_REQUIRED);
        let add = |network| add_modules(&mut Archive::default(), &kernel, network);
        assert!(add(false).expect("all is there").is_empty());
        let error = add(true).expect_err("one is missing").to_string();
        assert!(error.contains("it has no virtio_net"), "{error}");
    }
}
