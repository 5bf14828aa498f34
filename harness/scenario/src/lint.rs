//! Checking files without running anything.

use std::{collections::BTreeMap, path::Path};

use crate::{
    AgentSpec, Cursor, Diagnostics, FileKind, Kernels, Language, Topology,
    expand::{Expander, INCLUDE_KEYS, Parameters},
    header, read_scenario, read_step,
    walk::{Fields, Findings},
};

/// How the comment begins that opens a scenario.
const QUESTION: &str = "Question:";

/// Checks a file of any kind and returns which it is.
///
/// A scenario has to open with the question that it answers, as a comment: `# Question: …`, the same as `question`.
/// Files with steps are checked without a topology: names of clusters and nodes are not.
pub fn lint<L: Language>(file: impl AsRef<Path>) -> Result<FileKind, Diagnostics> {
    let file = file.as_ref();
    let mut findings = Findings::new(file);
    let failed = |kind, findings: Findings| Err(Diagnostics::new(kind, file, findings.into_list()));
    let Some(text) = header::read(&mut findings, file) else { return failed(FileKind::Scenario, findings) };
    lint_text::<L>(&text, file)
}

/// The same for a text; `file` is what findings call it.
pub fn lint_text<L: Language>(text: &str, file: impl AsRef<Path>) -> Result<FileKind, Diagnostics> {
    let file = file.as_ref();
    let mut findings = Findings::new(file);
    let Some(kind) = kind_of(&mut findings, text) else {
        return Err(Diagnostics::new(FileKind::Scenario, file, findings.into_list()));
    };
    match kind {
        FileKind::Topology => Topology::parse(text, file).map(drop)?,
        FileKind::Agent => AgentSpec::parse(text, file).map(drop)?,
        FileKind::Kernels => Kernels::parse(text, file).map(drop)?,
        FileKind::Scenario => {
            let scenario = read_scenario::read::<L>(&mut findings, text, &BTreeMap::new());
            check_question(&mut findings, text);
            header::finish(kind, file, findings, scenario).map(drop)?;
        }
        // No file says that it is a fault: those are typed.
        FileKind::Steps | FileKind::Fault => {
            check_steps::<L>(&mut findings, text);
            if !findings.is_empty() {
                return Err(Diagnostics::new(kind, file, findings.into_list()));
            }
        }
    }
    Ok(kind)
}

/// Whether a text is meant for us: Kubernetes manifests are YAML files, too.
pub fn is_ours(text: &str) -> bool {
    let group = header::API_VERSION.split('/').next().unwrap_or(header::API_VERSION);
    text.lines().any(|line| {
        let value = line.strip_prefix("apiVersion:").map(|value| value.trim().trim_matches(['"', '\'']));
        value.is_some_and(|value| value.starts_with(group))
    })
}

/// What `kind` says; a text that does not say so is taken for a scenario when it is YAML.
fn kind_of(findings: &mut Findings, text: &str) -> Option<FileKind> {
    let tree = findings.tree(text)?;
    let said = Cursor::root(&tree).peek("kind");
    let Some(said) = said.as_ref() else { return Some(FileKind::Scenario) };
    let known = FileKind::ALL.into_iter().map(|kind| (kind.name(), kind));
    crate::words::read(findings, said, known, "kind")
}

/// A file with steps by itself.
fn check_steps<L: Language>(findings: &mut Findings, text: &str) {
    let Some(tree) = findings.tree(text) else { return };
    let Some(fields) = Cursor::root(&tree).fields(findings, &INCLUDE_KEYS) else { return };
    header::check(findings, &fields, FileKind::Steps);
    let parameters = Parameters::read(findings, fields.optional("parameters").as_ref());
    let Some(steps) = required_steps(findings, &fields) else { return };
    let mut values = parameters.values(&BTreeMap::new(), |_, _| (), |_, _| ());
    let complete = parameters.are_complete();
    if !complete {
        for name in parameters.names() {
            values.entry(name.to_owned()).or_default();
        }
    }
    let mut expander = Expander::new(findings, &header::text);
    let expanded = expander.steps(&steps, &values);
    let used = expander.used().clone();
    parameters.report_unused(findings, &used);
    // What a parameter without a value stands for is known only where the file is included.
    if complete {
        read_step::check::<L>(findings, &expanded);
    }
}

fn required_steps<'a>(findings: &mut Findings, fields: &Fields<'a>) -> Option<Cursor<'a>> {
    if let Some(description) = fields.optional("description") {
        description.text(findings);
    }
    fields.required(findings, "steps")
}

/// The comment at the start says what `question` says.
fn check_question(findings: &mut Findings, text: &str) {
    let Some(tree) = findings.tree(text) else { return };
    let Some(at) = Cursor::root(&tree).peek("question") else { return };
    let Some(question) = at.scalar() else { return };
    let hint = || Some(format!("write `# {QUESTION} {}` at the top", question.trim()));
    match opening_question(text) {
        None => findings.report(&at, "the file does not open with its question as a comment", hint()),
        Some(opening) if !same(&opening, question) => {
            findings.report(&at, format!("the comment at the top asks something else: `{opening}`"), hint());
        }
        Some(_) => {}
    }
}

/// The question in the comment that opens a file, which goes on to an empty line of the comment or its end.
fn opening_question(text: &str) -> Option<String> {
    let comment = text.lines().map_while(|line| line.strip_prefix('#')).map(str::trim);
    let mut lines = comment.take_while(|line| !line.is_empty());
    let mut question = lines.next()?.strip_prefix(QUESTION)?.trim().to_owned();
    for line in lines {
        question.push(' ');
        question.push_str(line);
    }
    Some(question)
}

/// Whether both are the same question; spaces and upper case do not count.
fn same(a: &str, b: &str) -> bool {
    let words = |text: &str| text.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>();
    words(a) == words(b)
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::{is_ours, opening_question, same};

    #[test_case("# Question: who answers?\nname: x\n" => Some("who answers?".to_owned()) ; "one line")]
    #[test_case("# Question: who\n#   answers?\n#\n# More.\n" => Some("who answers?".to_owned()) ; "two lines")]
    #[test_case("name: x\n# Question: who?\n" => None ; "not at the top")]
    #[test_case("# Who answers?\n" => None ; "not called a question")]
    #[test_case("" => None ; "empty")]
    fn opening(text: &str) -> Option<String> {
        opening_question(text)
    }

    #[test]
    fn questions_are_compared_by_their_words() {
        assert!(same("when  all die,\nwho answers?", "When all die, who answers?"));
        assert!(!same("who answers?", "who asks?"));
    }

    #[test_case("apiVersion: meshbed.dev/v1alpha1\n" => true)]
    #[test_case("# c\nkind: Scenario\napiVersion: \"meshbed.dev/v2\"\n" => true ; "another version is still ours")]
    #[test_case("apiVersion: v1\nkind: Service\n" => false ; "Kubernetes")]
    fn ours(text: &str) -> bool {
        is_ours(text)
    }
}
