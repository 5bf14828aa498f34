//! Blocks among the steps (`include`, `repeat`, `matrix`) and parameters: from the tree of a file to the steps that will
//! be read, each with its values filled in. Only trees are looked at here; what a step means is the reader's part.
//!
//! Every value keeps the place where it was written, so that a finding in a step that was included or repeated points
//! there. All work is on a budget: blocks in blocks multiply.

mod include;
mod matrix;
mod parameters;
mod repeat;
mod scope;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

pub(crate) use include::KEYS as INCLUDE_KEYS;
pub(crate) use parameters::Parameters;
pub(crate) use scope::Scope;

use crate::{
    suggest,
    walk::{Cursor, Findings},
    yaml::{Entry, Node, Style, Value},
};
use scope::SubstituteError;

/// Steps of a scenario once all blocks are expanded; a run of so many takes hours.
pub(crate) const STEPS_MAX: usize = 5_000;
/// What all values together may take once blocks are expanded and parameters filled in, about in bytes of memory.
const BUDGET_BYTES: usize = 64 << 20;
/// What a value costs apart from its text.
const VALUE_BYTES: usize = 128;
/// Bytes of a scalar once parameters are filled in.
const SCALAR_BYTES_MAX: usize = 64 << 10;

/// A kind of block: a new one is a file and a line.
struct Block {
    key: &'static str,
    expand: fn(&mut Expander<'_>, &Cursor<'_>, &Place<'_>),
}

/// All blocks.
const BLOCKS: [Block; 3] = [include::BLOCK, repeat::BLOCK, matrix::BLOCK];

/// The keys of blocks.
pub(crate) fn block_keys() -> impl Iterator<Item = &'static str> {
    BLOCKS.iter().map(|block| block.key)
}

/// A step with its values filled in.
#[derive(Debug)]
pub(crate) struct Expanded {
    pub(crate) node: Node,
    /// Its path in its own file.
    pub(crate) path: String,
    /// What tells it from its repetitions, such as ` (affinity=local)`; empty when its name does so.
    pub(crate) suffix: String,
}

/// What surrounds a block or a step.
#[derive(Clone, Debug, Default)]
struct Place<'a> {
    scope: Scope,
    /// What repetitions it is in, outer ones first.
    case: Vec<(String, String)>,
    /// The files that include each other to here, this one last.
    files: Vec<&'a Path>,
}

/// Expands the trees of one scenario.
pub(crate) struct Expander<'f> {
    pub(crate) findings: &'f mut Findings,
    /// Reads a file that is included.
    read_file: &'f dyn Fn(&Path) -> std::io::Result<String>,
    steps: Vec<Expanded>,
    left: usize,
    used: BTreeSet<String>,
}

impl<'f> Expander<'f> {
    pub(crate) fn new(findings: &'f mut Findings, read_file: &'f dyn Fn(&Path) -> std::io::Result<String>) -> Self {
        Self { findings, read_file, steps: Vec::new(), left: BUDGET_BYTES, used: BTreeSet::new() }
    }

    /// The steps of the list `at`.
    pub(crate) fn steps(&mut self, at: &Cursor<'_>, values: &BTreeMap<String, String>) -> Vec<Expanded> {
        let file = at.file().to_path_buf();
        let mut place = Place { files: vec![&file], ..Place::default() };
        for (name, value) in values {
            place.scope.bind(name, value);
        }
        self.list(at, &place);
        std::mem::take(&mut self.steps)
    }

    /// The names that were used so far.
    pub(crate) fn used(&self) -> &BTreeSet<String> {
        &self.used
    }

    /// A copy of the mapping `at` with parameters filled in, and with nothing in the place of the values of `raw`.
    pub(crate) fn arguments(&mut self, at: &Cursor<'_>, scope: &Scope, raw: &[&str]) -> Node {
        let Value::Map(entries) = &at.node.value else { return self.filled(at, scope) };
        let entry = |entry: &Entry| {
            if raw.contains(&entry.key.as_str()) {
                let value = Value::Scalar { text: String::new(), style: Style::Plain };
                return Entry { value: Node { value, ..entry.value.clone() }, ..entry.clone() };
            }
            self.entry(at, entry, scope)
        };
        Node { value: Value::Map(entries.iter().map(entry).collect()), ..at.node.clone() }
    }

    // ---- blocks ----

    fn list(&mut self, at: &Cursor<'_>, place: &Place<'_>) {
        if !self.spend(at, VALUE_BYTES) {
            return;
        }
        let Some(items) = at.items(self.findings) else { return };
        if items.is_empty() {
            self.findings.report(at, "there is no step, at least one is needed", None);
        }
        for item in &items {
            if !self.has_room(item) {
                return;
            }
            match block_of(item) {
                Some(block) => self.block(block, item, place),
                None => self.step(item, place),
            }
        }
    }

    /// Reports once when the limits are reached.
    fn has_room(&mut self, at: &Cursor<'_>) -> bool {
        if self.left == 0 {
            return false;
        }
        if self.steps.len() >= STEPS_MAX {
            self.left = 0;
            self.findings.report(at, format!("there are more than {STEPS_MAX} steps"), None);
            return false;
        }
        self.spend(at, VALUE_BYTES)
    }

    /// Takes from the budget; reports once when it is used up.
    fn spend(&mut self, at: &Cursor<'_>, bytes: usize) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left = self.left.saturating_sub(bytes);
        if self.left == 0 {
            self.findings.report(at, "the steps are too large once all blocks are expanded", None);
        }
        self.left > 0
    }

    fn block(&mut self, block: &Block, item: &Cursor<'_>, place: &Place<'_>) {
        let Some(pairs) = item.pairs(self.findings) else { return };
        for (key, position, value) in &pairs {
            if key != block.key {
                let message = format!("unknown key `{key}`: a block `{}` has no other keys beside it", block.key);
                self.findings.report_at(value, *position, message, None);
            }
        }
        if let Some(value) = item.peek(block.key) {
            (block.expand)(self, &value, place);
        }
    }

    fn step(&mut self, item: &Cursor<'_>, place: &Place<'_>) {
        let node = self.filled(item, &place.scope);
        let name = item.peek("name").and_then(|name| name.scalar());
        let tells = name.is_some_and(|name| name.contains("${"));
        let case: Vec<String> = place.case.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let suffix = if tells || case.is_empty() { String::new() } else { format!(" ({})", case.join(", ")) };
        self.steps.push(Expanded { node, path: item.path.clone(), suffix });
    }

    // ---- parameters ----

    /// A copy of the value with parameters filled in.
    fn filled(&mut self, at: &Cursor<'_>, scope: &Scope) -> Node {
        let value = match &at.node.value {
            Value::Scalar { text, style } => {
                let style = if scope::names_in(text).next().is_some() { Style::Filled } else { *style };
                Value::Scalar { text: self.text(at, text, scope), style }
            }
            Value::List(items) => {
                let item = |(index, node)| self.filled(&Cursor { node, path: format!("{}[{index}]", at.path) }, scope);
                Value::List(items.iter().enumerate().map(item).collect())
            }
            Value::Map(entries) => Value::Map(entries.iter().map(|entry| self.entry(at, entry, scope)).collect()),
        };
        Node { value, file: at.node.file.clone(), position: at.node.position }
    }

    fn entry(&mut self, at: &Cursor<'_>, entry: &Entry, scope: &Scope) -> Entry {
        let value = Cursor { node: &entry.value, path: at.child(&entry.key) };
        let key = self.text(&value, &entry.key, scope);
        Entry { key, key_position: entry.key_position, value: self.filled(&value, scope) }
    }

    /// The text with parameters filled in; as it was when that cannot be done.
    fn text(&mut self, at: &Cursor<'_>, text: &str, scope: &Scope) -> String {
        if !self.spend(at, VALUE_BYTES + text.len()) {
            return String::new();
        }
        self.used.extend(scope::names_in(text).map(str::to_owned));
        let (message, hint) = match scope.substitute(text) {
            Ok(filled) if filled.len() <= SCALAR_BYTES_MAX => {
                self.spend(at, filled.len().saturating_sub(text.len()));
                return filled;
            }
            Ok(filled) => {
                (format!("the text has {} bytes, at most {SCALAR_BYTES_MAX} are allowed", filled.len()), None)
            }
            Err(SubstituteError::Unclosed) => {
                let hint = "write `$${` when no parameter is meant".to_owned();
                ("`${` without a `}`".to_owned(), Some(hint))
            }
            Err(SubstituteError::NoName(name)) => {
                let hint = "write `$${` when no parameter is meant".to_owned();
                (format!("`{name}` is no name of a parameter"), Some(hint))
            }
            Err(SubstituteError::Unknown(name)) => {
                let hint = suggest::hint(&name, scope.names(), "parameters");
                (format!("unknown parameter `{name}`"), Some(hint))
            }
        };
        self.findings.report(at, message, hint);
        text.to_owned()
    }
}

fn block_of(item: &Cursor<'_>) -> Option<&'static Block> {
    BLOCKS.iter().find(|block| item.peek(block.key).is_some())
}

/// The same path without `name/..`: a file that includes itself by another name is still itself.
fn plain(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut parts: Vec<Component<'_>> = Vec::new();
    for part in path.components() {
        match (part, parts.last()) {
            (Component::ParentDir, Some(Component::Normal(_))) => drop(parts.pop()),
            (Component::CurDir, _) => {}
            _ => parts.push(part),
        }
    }
    parts.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use test_case::test_case;

    #[test_case("a/../b.yaml" => "b.yaml")]
    #[test_case("../a/./b/../../c.yaml" => "../c.yaml")]
    #[test_case("/a/b.yaml" => "/a/b.yaml" ; "absolute")]
    fn plain(path: &str) -> String {
        super::plain(Path::new(path)).display().to_string()
    }
}
