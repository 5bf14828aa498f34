//! Layouts for which nothing was recorded, by hand from the layouts of Cilium 1.19's C headers.

use mesh_abi::{
    AffinityKey, AffinityValue, Be16, Be32, Bytes, ReverseSkKey, ReverseSkValue, ServiceKey, ServiceValue, WrongLength,
};

/// Offsets are those of a little-endian machine, like every machine that the maps were recorded on.
#[cfg(target_endian = "little")]
#[test]
fn reverse_sk() {
    let key =
        ReverseSkKey { cookie: 0x0807_0605_0403_0201, address: Be32::new(0x0a01_0002), port: Be16::new(8080), pad: 0 };
    assert_eq!(key.as_bytes(), [1, 2, 3, 4, 5, 6, 7, 8, 10, 1, 0, 2, 0x1f, 0x90, 0, 0]);
    let value = ReverseSkValue { address: Be32::new(0x0a60_0001), port: Be16::new(443), rev_nat: Be16::new(1) };
    assert_eq!(value.as_bytes(), [10, 0x60, 0, 1, 1, 0xbb, 0, 1]);
}

#[cfg(target_endian = "little")]
#[test]
fn affinity() {
    let key = AffinityKey { client: 7, rev_nat: Be16::new(5), netns_cookie: 1, pad: 0, pad_end: 0 };
    assert_eq!(key.as_bytes(), [7, 0, 0, 0, 0, 0, 0, 0, 0, 5, 1, 0, 0, 0, 0, 0]);
    let value = AffinityValue { last_used: 0x0102, backend_id: 0x0304, pad: 0 };
    assert_eq!(value.as_bytes(), [2, 1, 0, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn numbers_in_network_order() {
    assert_eq!(Be16::new(0x1234).raw().to_ne_bytes(), [0x12, 0x34]);
    assert_eq!(Be16::from_raw(u16::from_ne_bytes([0x12, 0x34])).get(), 0x1234);
    assert!(Be16::new(0x0100) > Be16::new(0x00ff), "ordered as numbers");
    assert!(Be32::new(0x0a00_0001) < Be32::new(0x0b00_0000), "ordered as numbers");
}

#[test]
fn layer_7_proxy_port_is_in_network_order_in_the_low_half() {
    let union = u32::from(Be16::new(9080).raw());
    assert_eq!(ServiceValue { union, ..ServiceValue::default() }.proxy_port(), 9080);
}

#[test]
fn wrong_lengths_are_refused() {
    assert_eq!(ServiceKey::from_bytes(&[0; 11]), Err(WrongLength { found: 11, expected: 12 }));
    assert_eq!(WrongLength { found: 11, expected: 12 }.to_string(), "found 11 bytes, expected 12");
}
