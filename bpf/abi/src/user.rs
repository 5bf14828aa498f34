//! Conversions to and from the agent's types.

use mesh_types::{BackendAddress, BackendState, FrontendAddress, Protocol, Scope};

use crate::{BackendValue, Be16, Be32, ServiceKey, scope};

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
