//! `meshbed lint`: checks files without running anything, and prints all findings of all of them.

use std::path::{Path, PathBuf};

use meshbed_engine::Mesh;

use super::find;
use crate::{
    args::LintArgs,
    exit::{Exit, usage},
    printer,
};

/// Folders in folders that are looked into.
const DEPTH_MAX: usize = 16;

pub(super) fn run(args: &LintArgs) -> anyhow::Result<Exit> {
    let mut files = Vec::new();
    for given in &args.files {
        if Path::new(given).is_dir() {
            let before = files.len();
            collect(Path::new(given), DEPTH_MAX, &mut files)?;
            if files.len() == before {
                return Err(usage(format!("there is no file of meshbed in `{given}`"), ""));
            }
        } else {
            files.push(find::scenario(given)?);
        }
    }
    let mut broken = 0;
    for file in &files {
        if let Err(diagnostics) = meshbed_scenario::lint::<Mesh>(file) {
            printer::error(&diagnostics.into());
            broken += 1;
        }
    }
    let count = |count: usize| if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
    match broken {
        0 => {
            printer::talk(&format!("{}: no findings", count(files.len())));
            Ok(Exit::Success)
        }
        _ => {
            printer::talk(&format!("{} of {} have findings", broken, count(files.len())));
            Ok(Exit::Usage)
        }
    }
}

/// The YAML files below a folder that are meant for us, sorted: Kubernetes manifests stand beside them.
fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(folder).map_err(|error| usage(format!("`{}`: {error}", folder.display()), ""))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if path.is_dir() && !path.is_symlink() && depth > 0 {
            collect(&path, depth - 1, files)?;
        } else if is_yaml && std::fs::read_to_string(&path).is_ok_and(|text| meshbed_scenario::is_ours(&text)) {
            files.push(path);
        }
    }
    Ok(())
}
