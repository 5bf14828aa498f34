//! From a frontend to one of its backends.

use core::num::{NonZeroU16, NonZeroU64};

use aya_ebpf::helpers::bpf_get_prandom_u32;
use mesh_abi::{
    BackendValue, Be16, Be32, ReverseSkKey, ReverseSkValue, ServiceFlags, ServiceKey, ServiceValue, protocol, scope,
};

use crate::{
    affinity,
    context::{Connection, Verdict},
    maps,
};

/// Rewrites the address if it is that of a frontend.
#[inline(always)]
pub(crate) fn translate(connection: &Connection) -> Result<(), Verdict> {
    let Some(protocol) = connection.protocol() else { return Ok(()) };
    let (address, port) = (connection.address(), connection.port());
    let Some((key, service)) = frontend(address, port, protocol) else { return Ok(()) };
    if service.flags.has(ServiceFlags::L7_LOAD_BALANCER) {
        return Ok(());
    }
    let count = NonZeroU16::new(service.count).ok_or(Verdict::HostUnreachable)?;
    let backend = choose(connection, &key, service, count)?;

    let reverse_key =
        ReverseSkKey { cookie: connection.cookie(), address: backend.address, port: backend.port, pad: 0 };
    let reverse = ReverseSkValue { address, port, rev_nat: service.rev_nat };
    remember(&reverse_key, &reverse)?;
    connection.rewrite(backend.address, backend.port);
    Ok(())
}

/// Key and value of the master of an address. A socket of this node is a client inside the cluster: of an address with
/// two scopes it gets the internal one, unless that is just not there yet.
#[inline(always)]
fn frontend(address: Be32, port: Be16, protocol: u8) -> Option<(ServiceKey, ServiceValue)> {
    let key = ServiceKey::master(address, port, protocol, scope::EXTERNAL);
    let service = maps::service(&key)?;
    if service.flags.has(ServiceFlags::TWO_SCOPES) {
        let internal = ServiceKey { scope: scope::INTERNAL, ..key };
        if let Some(service) = maps::service(&internal) {
            return Some((internal, service));
        }
    }
    Some((key, service))
}

/// The backend that this client has, or else the one whose turn it is.
#[inline(always)]
fn choose(
    connection: &Connection,
    key: &ServiceKey,
    service: ServiceValue,
    count: NonZeroU16,
) -> Result<BackendValue, Verdict> {
    let sticky = service.flags.has(ServiceFlags::SESSION_AFFINITY);
    if sticky && let Some(backend) = affinity::current(connection, service) {
        return Ok(backend);
    }
    let slot = maps::service(&key.with_slot(slot(connection, key.protocol, count))).ok_or(Verdict::HostUnreachable)?;
    let backend = maps::backend(slot.backend_id()).ok_or(Verdict::HostUnreachable)?;
    if sticky {
        affinity::keep(connection, service, slot.backend_id());
    }
    Ok(backend)
}

/// Number of a slot, 1 to `count`: any for a TCP connection, the same one for all messages of a UDP socket.
#[inline(always)]
fn slot(connection: &Connection, protocol: u8, count: NonZeroU16) -> u16 {
    let number = match protocol {
        // SAFETY: the helper takes nothing.
        protocol::TCP => u64::from(unsafe { bpf_get_prandom_u32() }),
        _ => connection.cookie(),
    };
    (number % NonZeroU64::from(count)) as u16 + 1
}

/// Writes the reverse entry, unless it is there already: all messages of a UDP socket have the same.
#[inline(always)]
fn remember(key: &ReverseSkKey, value: &ReverseSkValue) -> Result<(), Verdict> {
    // SAFETY: an element of an LRU map may be reused while it is read. The worst is that an equal entry is not seen
    // as equal and is written again, or that one is taken for equal in the moment in which it is evicted.
    if let Some(found) = unsafe { maps::REVERSE.get(key) }
        && found == value
    {
        return Ok(());
    }
    maps::REVERSE.insert(key, value, 0).map_err(|_| Verdict::OutOfMemory)
}
