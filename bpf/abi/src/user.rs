//! Conversions to and from the agent's types.

use core::net::IpAddr;

use mesh_types::{BackendAddress, BackendState, FrontendAddress, IpPrefix, IpcacheEntry, Protocol, Scope};

use crate::{BackendValue, Be16, Be32, IpcacheFlags, IpcacheKey, IpcacheValue, ServiceKey, ipcache::v4_in_16, scope};

impl From<FrontendAddress> for ServiceKey {
    /// The key of the frontend's master.
    fn from(frontend: FrontendAddress) -> Self {
        let scope = match frontend.scope {
            Scope::External => scope::EXTERNAL,
            Scope::Internal => scope::INTERNAL,
        };
        Self::master(frontend.ip.into(), Be16::new(frontend.port), frontend.protocol.number(), scope)
    }
}

impl ServiceKey {
    /// The frontend that the slot belongs to; `None` for a wildcard entry and for protocols or scopes that we do not
    /// know.
    pub fn frontend(&self) -> Option<FrontendAddress> {
        let scope = match self.scope {
            scope::EXTERNAL => Scope::External,
            scope::INTERNAL => Scope::Internal,
            _ => return None,
        };
        let protocol = Protocol::from_number(self.protocol)?;
        Some(FrontendAddress { ip: self.ip(), port: self.port.get(), protocol, scope })
    }
}

impl BackendValue {
    /// The value of a backend; cluster id and zone are 0, as Cilium writes them.
    pub fn new(backend: BackendAddress, state: BackendState) -> Self {
        Self {
            address: Be32::from(backend.ip),
            port: Be16::new(backend.port),
            protocol: backend.protocol.number(),
            state: state.number(),
            cluster_id: 0,
            zone: 0,
            pad: 0,
        }
    }

    /// The backend's address; `None` for a protocol that we do not know.
    pub fn backend(&self) -> Option<BackendAddress> {
        let protocol = Protocol::from_number(self.protocol)?;
        Some(BackendAddress { ip: self.ip(), port: self.port.get(), protocol })
    }

    /// The backend's state; `None` for a number that has no meaning.
    pub fn backend_state(&self) -> Option<BackendState> {
        BackendState::from_number(self.state)
    }
}

impl From<IpPrefix> for IpcacheKey {
    fn from(prefix: IpPrefix) -> Self {
        Self::new(prefix.address(), prefix.bits())
    }
}

impl IpcacheKey {
    /// The addresses that the key is for; `None` for a key that we would not write: of another family, or of a cluster
    /// with addresses of its own.
    pub fn prefix(&self) -> Option<IpPrefix> {
        let prefix = IpPrefix::new(self.ip()?, u8::try_from(self.bits()).ok()?).ok()?;
        (Self::from(prefix) == *self).then_some(prefix)
    }
}

impl From<IpcacheEntry> for IpcacheValue {
    fn from(entry: IpcacheEntry) -> Self {
        let (tunnel_endpoint, tunnel) = match entry.tunnel_endpoint {
            None => ([0; 16], IpcacheFlags::NONE),
            Some(IpAddr::V4(node)) => (v4_in_16(node), IpcacheFlags::HAS_TUNNEL),
            Some(IpAddr::V6(node)) => (node.octets(), IpcacheFlags::HAS_TUNNEL | IpcacheFlags::IPV6_TUNNEL),
        };
        let flag = |set, flag| if set { flag } else { IpcacheFlags::NONE };
        let flags = tunnel
            | flag(entry.skip_tunnel, IpcacheFlags::SKIP_TUNNEL)
            | flag(entry.remote_cluster, IpcacheFlags::REMOTE_CLUSTER);
        Self { identity: entry.identity, tunnel_endpoint, pad: 0, encrypt_key: entry.encrypt_key, flags }
    }
}
