//! Any text as a topology: findings, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meshbed_scenario::Topology;

fuzz_target!(|text: &str| {
    if let Err(diagnostics) = Topology::parse(text, "fuzz.yaml") {
        assert!(!diagnostics.findings.is_empty(), "a text that is refused without a finding");
        // The text of findings is made from the text that was read.
        let _words = diagnostics.to_string();
    }
});
