//! Any bytes as a cluster's configuration: a value or an error, never a panic. What is read survives a round trip.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_wire::ClusterConfig;

fuzz_target!(|bytes: &[u8]| {
    match ClusterConfig::decode(bytes) {
        Ok(value) => assert_eq!(ClusterConfig::decode(&value.encode()).expect("what we wrote"), value),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
