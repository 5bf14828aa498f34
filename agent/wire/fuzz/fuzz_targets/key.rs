//! Any text as a key: what is read is written to the same text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_wire::Key;

fuzz_target!(|text: &str| {
    match text.parse::<Key>() {
        Ok(key) => assert_eq!(key.to_string(), text),
        Err(error) => assert_eq!(error.key, text),
    }
});
