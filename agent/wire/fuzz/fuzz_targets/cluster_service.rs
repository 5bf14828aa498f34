//! Any bytes as a service v1: a value or an error, never a panic. What is read survives a round trip.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_wire::ClusterService;

fuzz_target!(|bytes: &[u8]| {
    match ClusterService::decode(bytes) {
        Ok(value) => assert_eq!(ClusterService::decode(&value.encode()).expect("what we wrote"), value),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
