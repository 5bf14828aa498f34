//! `include`: the steps of another file.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use super::{Block, Expander, Parameters, Place, Scope, parameters::value_of, plain};
use crate::{FileKind, header, walk::Cursor};

/// How deep files include each other; people lose their way sooner.
const DEPTH_MAX: usize = 8;
/// Keys of a file with steps.
pub(crate) const KEYS: [&str; 5] = ["apiVersion", "kind", "description", "parameters", "steps"];

/// `include: {file: steps.yaml, with: {service: rebel-base}}`.
pub(super) const BLOCK: Block = Block { key: "include", expand };

fn expand(expander: &mut Expander<'_>, at: &Cursor<'_>, place: &Place<'_>) {
    let node = expander.arguments(at, &place.scope, &[]);
    let arguments = Cursor { node: &node, path: at.path.clone() };
    let Some(fields) = arguments.fields(expander.findings, &["file", "with"]) else { return };
    let mut given = BTreeMap::new();
    if let Some(with) = fields.optional("with") {
        for (name, _, value) in with.pairs(expander.findings).unwrap_or_default() {
            if let Some(text) = value_of(expander.findings, &value) {
                given.insert(name, text);
            }
        }
    }
    let Some(file_at) = fields.required(expander.findings, "file") else { return };
    let Some(name) = file_at.text(expander.findings) else { return };
    let file: Arc<Path> = Arc::from(file_at.folder().join(name));
    if place.files.iter().any(|outer| plain(outer) == plain(&file)) {
        expander.findings.report(&file_at, format!("file `{}` includes itself", file.display()), None);
        return;
    }
    if place.files.len() > DEPTH_MAX {
        expander.findings.report(&file_at, format!("files include each other more than {DEPTH_MAX} deep"), None);
        return;
    }
    match (expander.read_file)(&file) {
        Ok(text) => steps_of(expander, &arguments, &file, &text, &given, place),
        Err(error) => {
            expander.findings.report(&file_at, format!("file `{}` cannot be read: {error}", file.display()), None);
        }
    }
}

fn steps_of(
    expander: &mut Expander<'_>,
    at: &Cursor<'_>,
    file: &Arc<Path>,
    text: &str,
    given: &BTreeMap<String, String>,
    place: &Place<'_>,
) {
    if !expander.spend(at, text.len()) {
        return;
    }
    let Some(tree) = expander.findings.tree_of(text, file) else { return };
    let root = Cursor::root(&tree);
    let Some(fields) = root.fields(expander.findings, &KEYS) else { return };
    header::check(expander.findings, &fields, FileKind::Steps);
    if let Some(description) = fields.optional("description") {
        description.text(expander.findings);
    }
    let parameters = Parameters::read(expander.findings, fields.optional("parameters").as_ref());
    let Some(values) = values(expander, at, &parameters, given, file) else { return };
    let mut scope = Scope::default();
    for (name, value) in values {
        scope.bind(name, value);
    }
    // What the included file uses says nothing about the parameters of this one.
    let outer = std::mem::take(&mut expander.used);
    if let Some(steps) = fields.required(expander.findings, "steps") {
        let mut files = place.files.clone();
        files.push(file);
        expander.list(&steps, &Place { scope, case: place.case.clone(), files });
    }
    let used = std::mem::replace(&mut expander.used, outer);
    parameters.report_unused(expander.findings, &used);
}

/// The values of the included file's parameters; `None` when one is missing.
fn values(
    expander: &mut Expander<'_>,
    at: &Cursor<'_>,
    parameters: &Parameters<'_>,
    given: &BTreeMap<String, String>,
    file: &Path,
) -> Option<BTreeMap<String, String>> {
    let with = at.peek("with").unwrap_or_else(|| at.clone());
    let (mut unknown, mut missing) = (Vec::new(), Vec::new());
    let values = parameters.values(
        given,
        |name, hint| unknown.push((name.to_owned(), hint)),
        |name, _| missing.push(name.to_owned()),
    );
    for (name, hint) in unknown {
        let value = with.peek(&name).unwrap_or_else(|| with.clone());
        expander.findings.report(&value, format!("unknown parameter `{name}`"), Some(hint));
    }
    for name in &missing {
        let message = format!("parameter `{name}` of `{}` has no value", file.display());
        expander.findings.report(&with, message, Some(format!("write `with: {{{name}: …}}`")));
    }
    missing.is_empty().then_some(values)
}
