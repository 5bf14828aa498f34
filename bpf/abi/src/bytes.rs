//! Map keys and values as raw bytes.
#![expect(unsafe_code, reason = "layouts are viewed as bytes, which only an unsafe trait can promise to be sound")]

use core::{fmt, mem::size_of, slice};

/// A map key or value: a type whose memory is its encoding.
///
/// # Safety
///
/// The type must be `repr(C)` or `repr(transparent)`, have no hidden padding, and accept every bit pattern.
pub unsafe trait Bytes: Copy {
    /// The encoding. Its length is the key or value size of the map.
    fn as_bytes(&self) -> &[u8] {
        // SAFETY: the trait promises that all `size_of::<Self>()` bytes are initialised; the borrow of `self`
        // keeps them alive and unchanged.
        unsafe { slice::from_raw_parts(core::ptr::from_ref(self).cast::<u8>(), size_of::<Self>()) }
    }

    /// Reads an encoding back.
    ///
    /// # Errors
    ///
    /// When `bytes` is not exactly as long as the type.
    fn from_bytes(bytes: &[u8]) -> Result<Self, WrongLength> {
        if bytes.len() != size_of::<Self>() {
            return Err(WrongLength { found: bytes.len(), expected: size_of::<Self>() });
        }
        // SAFETY: the length was checked above, the read is unaligned, and the trait promises that every bit
        // pattern is a value.
        Ok(unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() })
    }
}

/// Bytes that are too short or too long to be a key or value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongLength {
    /// Number of bytes found.
    pub found: usize,
    /// Number of bytes that the type has.
    pub expected: usize,
}

impl fmt::Display for WrongLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "found {} bytes, expected {}", self.found, self.expected)
    }
}

impl core::error::Error for WrongLength {}

macro_rules! bytes {
    ($($name:ty: $size:literal),+ $(,)?) => {$(
        const _: () = assert!(size_of::<$name>() == $size);
        // SAFETY: `repr(C)`, integers and arrays of them only, padding is a named field (the size above is the sum
        // of the fields), every bit pattern is a value.
        unsafe impl Bytes for $name {}
    )+};
}

bytes! {
    u8: 1,
    crate::ServiceKey: 12,
    crate::ServiceValue: 12,
    crate::BackendKey: 4,
    crate::BackendValue: 12,
    crate::ReverseNatKey: 2,
    crate::ReverseNatValue: 6,
    crate::ReverseSkKey: 16,
    crate::ReverseSkValue: 8,
    crate::AffinityKey: 16,
    crate::AffinityValue: 16,
    crate::AffinityMatchKey: 8,
    crate::IpcacheKey: 24,
    crate::IpcacheValue: 24,
}
