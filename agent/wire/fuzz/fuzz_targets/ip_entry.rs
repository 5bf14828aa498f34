//! Any bytes as an ip entry: a value or an error, never a panic. What is read survives a round trip.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_wire::IpEntry;

fuzz_target!(|bytes: &[u8]| {
    match IpEntry::decode(bytes) {
        Ok(value) => assert_eq!(IpEntry::decode(&value.encode()).expect("what we wrote"), value),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
