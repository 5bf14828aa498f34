//! Any bytes as the labels of an identity: a value or an error, never a panic. What is read survives a round trip.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_wire::IdentityLabels;

fuzz_target!(|bytes: &[u8]| {
    match IdentityLabels::decode(bytes) {
        Ok(value) => assert_eq!(IdentityLabels::decode(&value.encode()).expect("what we wrote"), value),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
