//! Any text as the description of an agent: findings, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meshbed_scenario::AgentSpec;

fuzz_target!(|text: &str| {
    if let Err(diagnostics) = AgentSpec::parse(text, "fuzz.yaml") {
        assert!(!diagnostics.findings.is_empty(), "a text that is refused without a finding");
        let _words = diagnostics.to_string();
    }
});
