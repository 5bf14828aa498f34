//! The newest value of every usable slice of one cluster, by the service that it is for.

use std::collections::BTreeMap;

use mesh_types::ServiceKey;

/// Namespace and name of a slice.
pub(crate) type SliceId = (String, String);

/// A slice of either side of the mesh.
pub(crate) trait Slice: PartialEq {
    /// The service that the slice is for, if it can be used at all.
    fn service_key(&self) -> Option<ServiceKey>;
}

#[derive(Debug)]
pub(crate) struct Slices<S> {
    /// Usable slices by service, then by slice name.
    by_service: BTreeMap<ServiceKey, BTreeMap<String, S>>,
    /// For which service a slice is held: its label can change.
    services: BTreeMap<SliceId, ServiceKey>,
}

impl<S> Default for Slices<S> {
    fn default() -> Self {
        Self { by_service: BTreeMap::new(), services: BTreeMap::new() }
    }
}

impl<S: Slice> Slices<S> {
    /// Takes the newest value of a slice. Returns the services whose endpoints changed.
    pub(crate) fn set(&mut self, id: SliceId, slice: Option<S>) -> Vec<ServiceKey> {
        let usable = slice.and_then(|slice| Some((slice.service_key()?, slice)));
        let old_key = self.services.get(&id).cloned();
        if let (Some(old_key), Some((key, slice))) = (&old_key, &usable)
            && old_key == key
            && self.by_service.get(key).and_then(|slices| slices.get(&id.1)) == Some(slice)
        {
            return Vec::new();
        }
        let mut touched = Vec::new();
        if let Some(old_key) = old_key {
            self.take(&old_key, &id);
            touched.push(old_key);
        }
        if let Some((key, slice)) = usable {
            self.by_service.entry(key.clone()).or_default().insert(id.1.clone(), slice);
            self.services.insert(id, key.clone());
            if !touched.contains(&key) {
                touched.push(key);
            }
        }
        touched
    }

    fn take(&mut self, key: &ServiceKey, id: &SliceId) {
        self.services.remove(id);
        if let Some(slices) = self.by_service.get_mut(key) {
            slices.remove(&id.1);
            if slices.is_empty() {
                self.by_service.remove(key);
            }
        }
    }

    /// A slice with the service that it is for.
    pub(crate) fn get(&self, id: &SliceId) -> Option<(&ServiceKey, &S)> {
        let key = self.services.get(id)?;
        Some((key, self.by_service.get(key)?.get(&id.1)?))
    }

    /// Those of service `key`, in order of name.
    pub(crate) fn of(&self, key: &ServiceKey) -> impl Iterator<Item = &S> {
        self.by_service.get(key).into_iter().flat_map(BTreeMap::values)
    }

    /// Those of every service, in order of service, then of name.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&ServiceKey, &S)> {
        self.by_service.iter().flat_map(|(key, slices)| slices.values().map(move |slice| (key, slice)))
    }

    /// The services that have any.
    pub(crate) fn services(&self) -> impl ExactSizeIterator<Item = &ServiceKey> {
        self.by_service.keys()
    }

    /// Which ones there are.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &SliceId> {
        self.services.keys()
    }
}
