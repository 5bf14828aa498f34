//! Any bytes as a node: a value or an error, never a panic. What is read survives a round trip.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_wire::Node;

fuzz_target!(|bytes: &[u8]| {
    match Node::decode(bytes) {
        Ok(value) => assert_eq!(Node::decode(&value.encode()).expect("what we wrote"), value),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
