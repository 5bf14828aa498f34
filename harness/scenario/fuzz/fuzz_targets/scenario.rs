//! Any text as a scenario, or as whatever kind of file it says that it is: findings, never a panic. What is read becomes
//! words, too, as for `--dry-run`.
#![no_main]

// The language of the crate's own tests: the real one is the engine's, which would bring half the project along.
#[path = "../../tests/language/mod.rs"]
mod language;

use language::Small;
use libfuzzer_sys::fuzz_target;
use meshbed_scenario::{Scenario, lint_text};

/// Where the text is said to be: topologies and manifests that it names relative to itself are there.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/blocks/fuzz.yaml");

fuzz_target!(|text: &str| {
    match Scenario::<Small>::parse(text, FILE) {
        Ok(scenario) => {
            let _words = scenario.plan().to_string();
        }
        Err(diagnostics) => {
            assert!(!diagnostics.findings.is_empty(), "a text that is refused without a finding");
            let _words = diagnostics.to_string();
        }
    }
    if let Err(diagnostics) = lint_text::<Small>(text, FILE) {
        assert!(!diagnostics.findings.is_empty(), "a text that is refused without a finding");
    }
});
