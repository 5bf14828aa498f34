//! The libraries that a program of the host needs, so that it can run in a guest that has nothing else.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use object::{
    Endianness, elf,
    read::elf::{Dyn, ElfFile64, ProgramHeader},
};

use crate::VmError;

/// Where the dynamic loader of Debian looks when a program says nothing (ld.so(8), `/etc/ld.so.conf.d`).
const FOLDERS: [&str; 6] =
    ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"];
/// Libraries of one program; ten times what any of ours needs.
const LIBRARIES_MAX: usize = 500;

/// What a dynamic program names.
#[derive(Debug, Default)]
struct Needs {
    interpreter: Option<String>,
    libraries: Vec<String>,
    folders: Vec<String>,
}

/// All libraries that `program` needs, those of libraries included, and its loader. Paths as the loader looks for them.
///
/// # Errors
///
/// When the program or a library cannot be read, is no 64-bit ELF file, or a library is not there.
pub fn libraries(program: &Path) -> Result<BTreeSet<PathBuf>, VmError> {
    let mut found = BTreeSet::new();
    let mut open = vec![program.to_owned()];
    while let Some(file) = open.pop() {
        let needs = needs(&file)?;
        let mut named: Vec<PathBuf> = needs.interpreter.iter().map(PathBuf::from).collect();
        for library in &needs.libraries {
            let path = find(library, &needs.folders, &file).ok_or_else(|| {
                VmError::file(&file, format!("its library `{library}` is not in {}", FOLDERS.join(", ")))
            })?;
            named.push(path);
        }
        open.extend(named.into_iter().filter(|path| found.insert(path.clone())));
        if found.len() > LIBRARIES_MAX {
            return Err(VmError::file(program, format!("it needs more than {LIBRARIES_MAX} libraries")));
        }
    }
    Ok(found)
}

fn find(library: &str, folders: &[String], of: &Path) -> Option<PathBuf> {
    let origin = of.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
    let named = folders.iter().map(|folder| folder.replace("$ORIGIN", &origin).replace("${ORIGIN}", &origin));
    let all = named.chain(FOLDERS.map(str::to_owned));
    all.map(|folder| Path::new(&folder).join(library)).find(|path| path.exists())
}

fn needs(file: &Path) -> Result<Needs, VmError> {
    let bytes = fs::read(file).map_err(VmError::io(format!("read `{}`", file.display())))?;
    let no_elf = |error: object::Error| VmError::file(file, error.to_string());
    let elf = ElfFile64::<Endianness>::parse(bytes.as_slice()).map_err(no_elf)?;
    let endian = elf.endian();
    let mut needs = Needs::default();
    for header in elf.elf_program_headers() {
        if let Some(interpreter) = header.interpreter(endian, bytes.as_slice()).map_err(no_elf)? {
            needs.interpreter = Some(String::from_utf8_lossy(interpreter).into_owned());
        }
    }
    let sections = elf.elf_section_table();
    let Some((entries, index)) = sections.dynamic(endian, bytes.as_slice()).map_err(no_elf)? else { return Ok(needs) };
    let strings = sections.strings(endian, bytes.as_slice(), index).map_err(no_elf)?;
    for entry in entries {
        let text = || entry.string(endian, strings).map(|text| String::from_utf8_lossy(text).into_owned());
        match entry.tag32(endian).map(i64::from) {
            Some(elf::DT_NEEDED) => needs.libraries.push(text().map_err(no_elf)?),
            Some(elf::DT_RUNPATH | elf::DT_RPATH) => {
                needs.folders.extend(text().map_err(no_elf)?.split(':').map(str::to_owned));
            }
            _ => {}
        }
    }
    Ok(needs)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// The loader itself says what it would load.
    #[test]
    fn the_loader_agrees() {
        let program = std::env::current_exe().expect("we run");
        let found: BTreeSet<String> = names(&libraries(&program).expect("we are a program"));
        let said = Command::new("ldd").arg(&program).output().expect("ldd is a part of libc");
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let said = said.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
        assert_eq!(found, names(&said.map(PathBuf::from).collect()));
    }

    fn names(paths: &BTreeSet<PathBuf>) -> BTreeSet<String> {
        paths.iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect()
    }

    #[test]
    fn a_script_is_no_program() {
        let folder = tempfile::tempdir().expect("a folder");
        let script = folder.path().join("script");
        fs::write(&script, "#!/bin/sh\n").expect("written");
        assert!(libraries(&script).expect_err("no ELF").to_string().contains("script"));
    }
}
