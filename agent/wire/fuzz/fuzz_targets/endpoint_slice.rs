//! Any bytes as an endpoint slice, compressed and not: a value or an error, never a panic. What is read survives a round trip.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_wire::EndpointSlice;

fuzz_target!(|bytes: &[u8]| {
    // Compressed, nearly everything ends at the checksum: messages are tried on their own, too.
    for read in [EndpointSlice::decode(bytes), EndpointSlice::decode_message(bytes)] {
        match read {
            Ok(slice) => {
                assert_eq!(EndpointSlice::decode_message(&slice.encode_message()).expect("what we wrote"), slice);
                assert_eq!(EndpointSlice::decode(&slice.encode()).expect("what we compressed"), slice);
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});
