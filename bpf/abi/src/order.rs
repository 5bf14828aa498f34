//! Numbers in network byte order.

use core::fmt;

macro_rules! big_endian {
    ($(#[$meta:meta])* $name:ident, $number:ty) => {
        $(#[$meta])*
        ///
        /// Equality and hashing are those of the bytes; the order is that of the number.
        #[repr(transparent)]
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
        pub struct $name($number);

        impl $name {
            /// From a number in the CPU's byte order.
            pub const fn new(host: $number) -> Self {
                Self(host.to_be())
            }

            /// From a number that is in network order already, such as a field of a socket.
            pub const fn from_raw(raw: $number) -> Self {
                Self(raw)
            }

            /// The number in the CPU's byte order.
            pub const fn get(self) -> $number {
                <$number>::from_be(self.0)
            }

            /// The number as it lies in memory, in network order.
            pub const fn raw(self) -> $number {
                self.0
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> core::cmp::Ordering {
                self.get().cmp(&other.get())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.get(), f)
            }
        }
    };
}

big_endian! {
    /// 16 bits in network byte order: a port or a service id.
    Be16, u16
}

big_endian! {
    /// 32 bits in network byte order: an IPv4 address.
    Be32, u32
}

impl From<core::net::Ipv4Addr> for Be32 {
    fn from(address: core::net::Ipv4Addr) -> Self {
        Self::new(address.to_bits())
    }
}

impl From<Be32> for core::net::Ipv4Addr {
    fn from(address: Be32) -> Self {
        Self::from_bits(address.get())
    }
}
