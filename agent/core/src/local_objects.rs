//! The newest value of every local Service and EndpointSlice.

use std::collections::BTreeMap;

use mesh_types::ServiceKey;

use crate::{
    LocalService, LocalSlice,
    slices::{SliceId, Slices},
};

#[derive(Debug, Default)]
pub(crate) struct LocalObjects {
    services: BTreeMap<ServiceKey, LocalService>,
    slices: Slices<LocalSlice>,
}

impl LocalObjects {
    /// Takes the newest value of a Service. Says whether anything changed.
    pub(crate) fn set_service(&mut self, key: &ServiceKey, service: Option<LocalService>) -> bool {
        match service {
            Some(service) if self.services.get(key) == Some(&service) => false,
            Some(service) => {
                self.services.insert(key.clone(), service);
                true
            }
            None => self.services.remove(key).is_some(),
        }
    }

    /// Takes the newest value of an EndpointSlice. Returns the services whose endpoints changed.
    pub(crate) fn set_slice(&mut self, namespace: String, name: String, slice: Option<LocalSlice>) -> Vec<ServiceKey> {
        self.slices.set((namespace, name), slice)
    }

    pub(crate) fn service(&self, key: &ServiceKey) -> Option<&LocalService> {
        self.services.get(key)
    }

    pub(crate) fn services(&self) -> impl Iterator<Item = (&ServiceKey, &LocalService)> {
        self.services.iter()
    }

    /// Names of the services of one namespace.
    pub(crate) fn services_in(&self, namespace: &str) -> impl Iterator<Item = &ServiceKey> {
        let first = ServiceKey::new(namespace, "");
        self.services.range(first..).map(|(key, _)| key).take_while(move |key| key.namespace == namespace)
    }

    /// A slice with the service that it is for.
    pub(crate) fn slice(&self, id: &SliceId) -> Option<(&ServiceKey, &LocalSlice)> {
        self.slices.get(id)
    }

    pub(crate) fn slices(&self, key: &ServiceKey) -> impl Iterator<Item = &LocalSlice> {
        self.slices.of(key)
    }
}
