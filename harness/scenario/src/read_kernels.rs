//! A file of kernels to [`Kernels`].

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use crate::{
    Diagnostics, FileKind, KernelSource, KernelSpec, Kernels, header,
    walk::{Cursor, Findings},
};

/// Kernels of one file; there are some thirty that anyone still runs.
const KERNELS_MAX: usize = 200;
/// Longest name of a kernel: it is part of names of files.
const NAME_MAX: usize = 40;

pub(crate) fn load(file: &Path) -> Result<Kernels, Diagnostics> {
    header::load(FileKind::Kernels, file, read)
}

pub(crate) fn parse(text: &str, file: &Path) -> Result<Kernels, Diagnostics> {
    header::parse(FileKind::Kernels, text, file, read)
}

/// `None` only after a finding.
fn read(findings: &mut Findings, text: &str) -> Option<Kernels> {
    let tree = findings.tree(text)?;
    let fields = Cursor::root(&tree).fields(findings, &["apiVersion", "kind", "kernels"])?;
    header::check(findings, &fields, FileKind::Kernels);
    let list = fields.required(findings, "kernels")?;
    let items = list.items(findings)?;
    if items.is_empty() || items.len() > KERNELS_MAX {
        findings.report(&list, format!("expected 1 to {KERNELS_MAX} kernels, found {}", items.len()), None);
        return None;
    }
    let mut names = BTreeSet::new();
    let mut kernels = Vec::new();
    for item in &items {
        let Some(kernel) = read_kernel(findings, item) else { continue };
        if !names.insert(kernel.name.clone()) {
            findings.report(item, format!("there are two kernels `{}`", kernel.name), None);
        }
        kernels.push(kernel);
    }
    Some(Kernels { kernels })
}

fn read_kernel(findings: &mut Findings, at: &Cursor<'_>) -> Option<KernelSpec> {
    let fields = at.fields(findings, &["name", "debian", "path", "oci"])?;
    let name = fields.required(findings, "name").and_then(|at| read_name(findings, &at));
    let given: Vec<(&str, Cursor<'_>)> =
        ["debian", "path", "oci"].into_iter().filter_map(|key| Some((key, fields.optional(key)?))).collect();
    let source = match given.as_slice() {
        [("debian", at)] => read_debian(findings, at),
        [("path", at)] => read_path(findings, at),
        [(_, at)] => at.text(findings).map(|reference| KernelSource::Oci { reference: reference.to_owned() }),
        _ => {
            findings.report(at, "expected exactly one of `debian`, `path`, `oci`", None);
            None
        }
    };
    Some(KernelSpec { name: name?, source: source? })
}

/// A name may be `5.10`, so it is no DNS label.
fn read_name(findings: &mut Findings, at: &Cursor<'_>) -> Option<String> {
    let name = at.text(findings)?;
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
    let first = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if name.len() > NAME_MAX || !first || !name.chars().all(allowed) {
        let message = format!("expected a name of up to {NAME_MAX} of `a-z0-9.-`, found `{name}`");
        findings.report(at, message, None);
        return None;
    }
    Some(name.to_owned())
}

fn read_debian(findings: &mut Findings, at: &Cursor<'_>) -> Option<KernelSource> {
    let fields = at.fields(findings, &["suite", "package"])?;
    let suite = fields.required(findings, "suite").and_then(|at| at.name(findings).map(str::to_owned));
    let package = fields.required(findings, "package").and_then(|at| {
        let text = at.text(findings)?;
        // Debian Policy 5.6.1, and our `*`.
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | '*');
        if text.chars().all(allowed) {
            return Some(text.to_owned());
        }
        findings.report(&at, format!("`{text}` is no name of a package"), None);
        None
    });
    Some(KernelSource::Debian { suite: suite?, package: package? })
}

fn read_path(findings: &mut Findings, at: &Cursor<'_>) -> Option<KernelSource> {
    let fields = at.fields(findings, &["image", "modules"])?;
    let file = |at: &Cursor<'_>, findings: &mut Findings| -> Option<PathBuf> {
        at.text(findings).map(|text| at.folder().join(text))
    };
    let image = fields.required(findings, "image").and_then(|at| file(&at, findings));
    let modules = match fields.optional("modules") {
        Some(at) => Some(file(&at, findings)?),
        None => None,
    };
    Some(KernelSource::Path { image: image?, modules })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// All findings at once, each with its place.
    #[test]
    fn broken_files_are_told() {
        let text = include_str!("../tests/broken/kernels.yaml");
        let diagnostics = parse(text, Path::new("kernels.yaml")).expect_err("it is broken");
        let told: Vec<String> =
            diagnostics.findings.iter().map(|one| format!("{}:{} {}", one.line, one.column, one.message)).collect();
        assert_eq!(
            told,
            [
                "4:9 expected text, found the number `5.10`",
                "7:11 key `package` is missing",
                "9:26 unknown key `module`",
                "10:9 expected a name of up to 40 of `a-z0-9.-`, found `Six`",
                "12:3 expected exactly one of `debian`, `path`, `oci`",
                "15:3 expected exactly one of `debian`, `path`, `oci`",
                "17:33 `linux image` is no name of a package",
            ]
        );
    }

    #[test]
    fn the_file_that_is_built_in_is_valid() {
        let kernels = Kernels::default();
        assert!(kernels.all().len() >= 8);
        assert!(matches!(kernels.find("5.10").expect("there").source(), KernelSource::Debian { .. }));
        assert!(kernels.find("2.6").is_none());
    }

    #[test]
    fn names_are_unique_and_files_relative() {
        let text = "apiVersion: meshbed.dev/v1alpha1\nkind: Kernels\nkernels:\n- {name: a, path: {image: k/bzImage}}\n";
        let kernels = parse(text, Path::new("/x/kernels.yaml")).expect("valid");
        let expected = KernelSource::Path { image: "/x/k/bzImage".into(), modules: None };
        assert_eq!(kernels.all()[0].source(), &expected);
        let twice = format!("{text}- {{name: a, oci: b}}\n");
        let diagnostics = parse(&twice, Path::new("kernels.yaml")).expect_err("twice");
        assert_eq!(diagnostics.findings[0].message, "there are two kernels `a`");
    }
}
