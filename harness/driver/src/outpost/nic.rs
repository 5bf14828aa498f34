//! Interfaces of this machine that lead to others, by hardware address: the order in which a kernel finds them is its own.

use std::{io, time::Duration};

use futures::TryStreamExt;
use ipnet::Ipv4Net;
use netlink_packet_route::link::LinkAttribute;
use rtnetlink::{LinkMessageBuilder, LinkUnspec};
use tokio::time::{interval, timeout};

use crate::{
    error::{Act, SystemError},
    links::Index,
    namespace::Namespace,
};

/// How long an interface may take to come back from the namespace of a mesh that is gone: the kernel takes namespaces apart when
/// it finds time.
const RETURN_MAX: Duration = Duration::from_secs(30);
/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Gives the interface of this machine with the hardware address `mac` an address and takes it up.
pub(super) async fn set_up(mac: &str, address: Ipv4Net) -> Result<(), SystemError> {
    let act = || format!("set up the interface with hardware address {mac}");
    let netlink = ours().act(act)?;
    let index = returned(&netlink, mac).await?;
    match netlink.address().add(index, address.addr().into(), address.prefix_len()).execute().await {
        Err(rtnetlink::Error::NetlinkError(message)) if message.to_io().kind() == io::ErrorKind::AlreadyExists => {}
        other => other.act(act)?,
    }
    let up = LinkUnspec::new_with_index(index).up().build();
    netlink.link().set(up).execute().await.act(act)
}

/// Moves the interface of this machine with the hardware address `mac` into `namespace`, as a port of `bridge`. It comes back when
/// the namespace ends.
pub(crate) async fn plug_in(mac: &str, namespace: &Namespace, bridge: Index) -> Result<(), SystemError> {
    let act = || format!("move the interface with hardware address {mac} to `{}`", namespace.path().display());
    let netlink = ours().act(act)?;
    let index = returned(&netlink, mac).await?;
    let message: LinkMessageBuilder<LinkUnspec> = LinkUnspec::new_with_index(index).setns_by_fd(namespace.raw_fd());
    netlink.link().set(message.build()).execute().await.act(act)?;
    // It may have another number there.
    let index = find(namespace.netlink(), mac)
        .await
        .act(act)?
        .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        .act(act)?;
    namespace.join_bridge(index, bridge).await
}

/// A netlink socket in the network namespace of this machine.
fn ours() -> io::Result<rtnetlink::Handle> {
    let (connection, netlink, _) = rtnetlink::new_connection()?;
    tokio::spawn(connection);
    Ok(netlink)
}

/// Waits until the interface is here.
async fn returned(netlink: &rtnetlink::Handle, mac: &str) -> Result<u32, SystemError> {
    let act = || format!("find the interface with hardware address {mac}");
    let wait = async {
        let mut looks = interval(LOOK_EVERY);
        loop {
            looks.tick().await;
            if let Some(index) = find(netlink, mac).await.act(act)? {
                return Ok(index);
            }
        }
    };
    timeout(RETURN_MAX, wait).await.map_err(io::Error::from).act(act)?
}

/// Number of the interface with this hardware address.
async fn find(netlink: &rtnetlink::Handle, mac: &str) -> Result<Option<u32>, rtnetlink::Error> {
    let mut links = netlink.link().get().execute();
    while let Some(link) = links.try_next().await? {
        let is_it =
            |attribute: &LinkAttribute| matches!(attribute, LinkAttribute::Address(bytes) if written(bytes) == mac);
        if link.attributes.iter().any(is_it) {
            return Ok(Some(link.header.index));
        }
    }
    Ok(None)
}

/// As people write hardware addresses.
fn written(bytes: &[u8]) -> String {
    let parts: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    parts.join(":")
}

#[cfg(test)]
mod tests {
    #[test]
    fn hardware_addresses_as_people_write_them() {
        assert_eq!(super::written(&[2, 0x62, 0x6d, 0, 1, 0xff]), "02:62:6d:00:01:ff");
    }
}
