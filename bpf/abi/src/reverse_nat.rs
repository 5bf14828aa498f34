//! `cilium_lb4_reverse_nat`: service id to frontend address.

use crate::{Be16, Be32};

/// Key: the service id.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReverseNatKey(pub Be16);

/// Value: the frontend's address. Six bytes, so nothing in it may be aligned to more than two.
#[repr(C, packed(2))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReverseNatValue {
    /// Frontend address.
    pub address: Be32,
    /// Frontend port.
    pub port: Be16,
}
