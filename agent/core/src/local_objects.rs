//! The newest value of every local Service and EndpointSlice, slices grouped by the service that they are for.

use std::collections::BTreeMap;

use mesh_types::ServiceKey;

use crate::{LocalService, LocalSlice};

#[derive(Debug, Default)]
pub(crate) struct LocalObjects {
    services: BTreeMap<ServiceKey, LocalService>,
    /// Usable slices by service, then by slice name.
    slices: BTreeMap<ServiceKey, BTreeMap<String, LocalSlice>>,
    /// For which service a slice (namespace, name) is held: its label can change.
    slice_services: BTreeMap<(String, String), ServiceKey>,
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
        let usable = slice.and_then(|slice| Some((slice.service_key()?, slice)));
        let id = (namespace, name);
        let old_key = self.slice_services.get(&id).cloned();
        if let (Some(old_key), Some((key, slice))) = (&old_key, &usable)
            && old_key == key
            && self.slices.get(key).and_then(|slices| slices.get(&id.1)) == Some(slice)
        {
            return Vec::new();
        }
        let mut touched = Vec::new();
        if let Some(old_key) = old_key {
            self.take_slice(&old_key, &id);
            touched.push(old_key);
        }
        if let Some((key, slice)) = usable {
            self.slices.entry(key.clone()).or_default().insert(id.1.clone(), slice);
            self.slice_services.insert(id, key.clone());
            if !touched.contains(&key) {
                touched.push(key);
            }
        }
        touched
    }

    fn take_slice(&mut self, key: &ServiceKey, id: &(String, String)) {
        self.slice_services.remove(id);
        if let Some(slices) = self.slices.get_mut(key) {
            slices.remove(&id.1);
            if slices.is_empty() {
                self.slices.remove(key);
            }
        }
    }

    pub(crate) fn service(&self, key: &ServiceKey) -> Option<&LocalService> {
        self.services.get(key)
    }

    pub(crate) fn services(&self) -> impl Iterator<Item = (&ServiceKey, &LocalService)> {
        self.services.iter()
    }

    pub(crate) fn slices(&self, key: &ServiceKey) -> impl Iterator<Item = &LocalSlice> {
        self.slices.get(key).into_iter().flat_map(BTreeMap::values)
    }
}
