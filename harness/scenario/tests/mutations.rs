//! Files that somebody's cat walked over: readers neither panic nor hang, and every finding has a place in its file.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use meshbed_scenario::{Finding, lint_text};
use test_case::test_case;

use crate::language::Small;

/// Every run tries the same files.
const SEED: u64 = 0x6d65_7368;
/// Mutants of one file.
const MUTANTS: usize = 400;
/// Mutations of one mutant.
const MUTATIONS_MAX: usize = 6;
/// What one reading may take at most, in a build without optimisation on a busy machine; the usual is a millisecond.
const READING_MAX: Duration = Duration::from_secs(5);

/// What is put into files: what the language gives a meaning to, and what it does not.
const TOKENS: [&str; 40] = [
    "${rate}",
    "${",
    "$${x}",
    "}",
    "{",
    "[",
    "]",
    ":",
    ": ",
    "- ",
    "\n",
    "\n- ",
    "  ",
    "\t",
    "#",
    "\"",
    "'",
    "|",
    ">",
    "&a ",
    "*a",
    "!t ",
    "---\n",
    "null",
    "true",
    "0",
    "-1",
    "99999999999999999999",
    "1e9",
    "5s",
    "%",
    "all",
    "repeat",
    "matrix",
    "include",
    "steps",
    "within",
    "\u{0}",
    "ü",
    "\u{feff}",
];

fn mutated(text: &str, random: &mut fastrand::Rng) -> String {
    let mut text: Vec<char> = text.chars().collect();
    for _ in 0..random.usize(1..=MUTATIONS_MAX) {
        let at = random.usize(0..=text.len());
        let to = random.usize(at..=text.len().min(at + 40));
        match random.u8(0..6) {
            // A part goes away, comes twice, comes somewhere else, or becomes something else.
            0 => drop(text.drain(at..to)),
            1 => {
                let part = text[at..to].to_vec();
                text.splice(at..at, part);
            }
            2 => {
                let part: Vec<char> = text.drain(at..to).collect();
                let other = random.usize(0..=text.len());
                text.splice(other..other, part);
            }
            3 => {
                let token = random.choice(TOKENS).unwrap_or("x");
                text.splice(at..at, token.chars());
            }
            4 => {
                let token = random.choice(TOKENS).unwrap_or("x");
                text.splice(at..to, token.chars());
            }
            _ => {
                let line: Vec<char> = text[at..].iter().take_while(|c| **c != '\n').copied().collect();
                text.truncate(at);
                text.extend(line);
            }
        }
    }
    text.into_iter().collect()
}

/// Lines of files, the one that was read and those that it names.
#[derive(Default)]
struct Lines(BTreeMap<String, Vec<usize>>);

impl Lines {
    /// Whether a finding stands in its file: at a character, or just behind the last of a line or of the file.
    fn have(&mut self, finding: &Finding, read: &Path, text: &str) -> bool {
        let name = finding.file.display().to_string();
        let lines = self.0.entry(name).or_insert_with(|| {
            let of_file = std::fs::read_to_string(&finding.file).unwrap_or_default();
            let text = if finding.file == read { text } else { &of_file };
            // Whatever ends a line in YAML.
            text.split(['\n', '\r']).map(|line| line.chars().count()).chain([0]).collect()
        });
        let line = finding.line.checked_sub(1).and_then(|line| lines.get(line));
        finding.column >= 1 && line.is_some_and(|length| finding.column <= length + 1)
    }
}

#[test_case("tests/blocks/scenario.yaml")]
#[test_case("tests/blocks/fail.yaml")]
#[test_case("tests/broken/scenario.yaml")]
#[test_case("tests/broken/blocks.yaml")]
#[test_case("tests/broken/topology.yaml")]
#[test_case("tests/broken/agent.yaml")]
#[test_case("../../scenarios/failover.yaml")]
#[test_case("../../fixtures/topologies/two-clusters.yaml")]
#[test_case("../../fixtures/agents/cilium.yaml")]
fn no_mutant_is_too_much(file: &str) {
    let original = std::fs::read_to_string(file).expect("it is there");
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut refused = 0;
    for number in 0..MUTANTS {
        let text = mutated(&original, &mut random);
        let began = Instant::now();
        let result = lint_text::<Small>(&text, file);
        assert!(began.elapsed() < READING_MAX, "mutant {number} took {:?}:\n{text}", began.elapsed());
        let Err(diagnostics) = result else { continue };
        refused += 1;
        assert!(!diagnostics.findings.is_empty(), "mutant {number} was refused for no reason:\n{text}");
        let mut lines = Lines::default();
        for finding in &diagnostics.findings {
            assert!(lines.have(finding, Path::new(file), &text), "mutant {number}: {finding:?} is not in\n{text}");
        }
    }
    assert!(refused > MUTANTS / 2, "only {refused} of {MUTANTS} mutants were refused: they are too tame");
}
