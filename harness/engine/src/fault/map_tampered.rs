//! Map tampered: an entry of a node's maps is changed behind the agent's back.
//!
//! Effect: the node sends requests to where nothing is, or to where they do not belong. It proves that the harness notices:
//! a run with it must be red. Witness: the entry reads as it was written. Heal: the bytes as they were.

use std::{fmt, net::Ipv4Addr};

use futures::{FutureExt, future::BoxFuture};
use mesh_abi::BACKENDS;
use meshbed_scenario::{NodeRef, record};

use super::{Fault, FaultError, Injected, Injection};
use crate::{
    maps::PIN_FOLDER,
    place::{Backend, Errand},
    world::Strike,
};

/// Where tampered backends point to: an address that no node has (RFC 5737).
const NOWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 66);

record! {
    /// An entry of a node's backends map is changed behind the agent's back: it points to an address that nobody has. It
    /// proves that the harness notices.
    pub struct MapTampered {
        /// The node.
        pub node: NodeRef,
        /// Address of the backend, such as `10.1.1.2`; the first one in the map when it is not given.
        pub backend: Option<String>,
    }
}

impl fmt::Display for MapTampered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tamper with the backends map of {}", self.node)
    }
}

impl Fault for MapTampered {
    fn kind(&self) -> &'static str {
        "map-tampered"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        async move {
            let state = injection.control.state();
            let nodes = state.cluster(self.node.cluster.as_str()).map_or(&[][..], |cluster| &cluster.nodes);
            let root = nodes.iter().find(|node| node.name == self.node.node).map(|node| node.bpf_root.clone());
            let root = root.ok_or_else(|| FaultError::NoTarget { what: format!("there is no node {}", self.node) })?;
            let path = root.join(PIN_FOLDER).join(BACKENDS.name);
            let cluster = self.node.cluster.clone();
            let find = Errand::FindBackend(path.clone(), self.backend.clone());
            let before: Option<Backend> = injection.errand(&cluster, find).await?;
            let none = || FaultError::NoTarget { what: format!("the backends map of {} has no such entry", self.node) };
            let before = before.ok_or_else(none)?;
            let mut after = before.clone();
            after.value[..4].copy_from_slice(&NOWHERE.octets());
            let number = u32::from_ne_bytes(after.key);
            let id = injection.strike(Strike::at(format!("backends map of {}", self.node)).hits(&cluster));
            let seen: Backend = injection.errand(&cluster, Errand::WriteBackend(path.clone(), after.clone())).await?;
            if seen != after {
                return Err(FaultError::NoWitness { what: "the entry reads otherwise than it was written".to_owned() });
            }
            injection.witnessed(id, format!("backend {number} leads to {NOWHERE}"));
            let injection = injection.clone();
            let healing = async move {
                injection.errand::<Backend>(&cluster, Errand::WriteBackend(path, before)).await?;
                Ok(format!("backend {number} is as it was"))
            };
            Ok(vec![Injected { id, healing: healing.boxed() }])
        }
        .boxed()
    }
}
