//! One watched kind of object: which ones are known, and what changes.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::{
        core::v1::{Namespace, Node, Pod, Service},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::runtime::watcher::Event;
use mesh_core::SERVICE_NAME_LABEL;
use mesh_planted::{Defect, planted};
use mesh_types::ServiceKey;

use crate::{CiliumEndpoint, CiliumIdentity, CiliumNode, LocalEvent, cilium, convert};

/// Label by which another service proxy claims a Service and its slices for itself.
const OTHER_PROXY_LABEL: &str = "service.kubernetes.io/service-proxy-name";

/// Namespace and name.
type Name = (String, String);

/// A kind of object that is watched.
pub(crate) trait Watched {
    /// The object's metadata.
    fn metadata(&self) -> &ObjectMeta;
    /// The event that tells its value; `None` for one that means nothing to us.
    fn put(&self) -> Option<LocalEvent>;
    /// The event that tells that an object with this name is gone; the last that was seen of it, if anything.
    fn deleted(namespace: String, name: String, last: Option<&Self>) -> Option<LocalEvent>;
}

impl Watched for Service {
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn put(&self) -> Option<LocalEvent> {
        let service = convert::service(self);
        Some(LocalEvent::Service { key: service.key.clone(), service: Some(service), version: version(self) })
    }

    fn deleted(namespace: String, name: String, last: Option<&Self>) -> Option<LocalEvent> {
        let version = last.map(version).unwrap_or_default();
        Some(LocalEvent::Service { key: ServiceKey { namespace, name }, service: None, version })
    }
}

impl Watched for EndpointSlice {
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn put(&self) -> Option<LocalEvent> {
        let slice = convert::slice(self);
        let (namespace, name) = (slice.namespace.clone(), slice.name.clone());
        let service = slice.service.as_ref().map(|service| ServiceKey::new(&namespace, service));
        Some(LocalEvent::Slice { namespace, name, slice: Some(slice), service, version: version(self) })
    }

    fn deleted(namespace: String, name: String, last: Option<&Self>) -> Option<LocalEvent> {
        let service = last.and_then(|last| last.metadata.labels.as_ref()?.get(SERVICE_NAME_LABEL));
        let service = service.map(|service| ServiceKey::new(&namespace, service));
        let version = last.map(version).unwrap_or_default();
        Some(LocalEvent::Slice { namespace, name, slice: None, service, version })
    }
}

impl Watched for Namespace {
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn put(&self) -> Option<LocalEvent> {
        let name = self.metadata.name.clone().unwrap_or_default();
        Some(LocalEvent::Namespace { name, namespace: Some(convert::namespace(self)) })
    }

    fn deleted(_: String, name: String, _: Option<&Self>) -> Option<LocalEvent> {
        Some(LocalEvent::Namespace { name, namespace: None })
    }
}

impl Watched for Node {
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn put(&self) -> Option<LocalEvent> {
        let name = self.metadata.name.clone().unwrap_or_default();
        Some(LocalEvent::Node { name, node: Some(convert::node(self)) })
    }

    fn deleted(_: String, name: String, _: Option<&Self>) -> Option<LocalEvent> {
        Some(LocalEvent::Node { name, node: None })
    }
}

impl Watched for Pod {
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn put(&self) -> Option<LocalEvent> {
        let (namespace, name) = name(self);
        Some(LocalEvent::Pod { namespace, name, pod: Some(convert::pod(self)) })
    }

    fn deleted(namespace: String, name: String, _: Option<&Self>) -> Option<LocalEvent> {
        Some(LocalEvent::Pod { namespace, name, pod: None })
    }
}

impl Watched for CiliumNode {
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn put(&self) -> Option<LocalEvent> {
        Some(LocalEvent::CiliumNode { name: self.name().to_owned(), node: Some(Box::new(self.clone())) })
    }

    fn deleted(_: String, name: String, _: Option<&Self>) -> Option<LocalEvent> {
        Some(LocalEvent::CiliumNode { name, node: None })
    }
}

impl Watched for CiliumEndpoint {
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn put(&self) -> Option<LocalEvent> {
        let (namespace, name) = name(self);
        Some(LocalEvent::CiliumEndpoint { namespace, name, endpoint: Some(Box::new(self.clone())) })
    }

    fn deleted(namespace: String, name: String, _: Option<&Self>) -> Option<LocalEvent> {
        Some(LocalEvent::CiliumEndpoint { namespace, name, endpoint: None })
    }
}

impl Watched for CiliumIdentity {
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn put(&self) -> Option<LocalEvent> {
        Some(LocalEvent::CiliumIdentity { number: self.number()?, identity: Some(Box::new(self.clone())) })
    }

    fn deleted(_: String, name: String, _: Option<&Self>) -> Option<LocalEvent> {
        Some(LocalEvent::CiliumIdentity { number: cilium::number(&name)?, identity: None })
    }
}

/// The objects of a kind that were told and not taken back.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    known: BTreeSet<Name>,
    /// Known before the list that is under way, and not seen in it yet.
    stale: BTreeSet<Name>,
    listed: bool,
}

impl Objects {
    /// Whether a whole list was told at least once.
    pub(crate) fn is_listed(&self) -> bool {
        self.listed
    }

    /// The events that a watch event means. A list that never ends takes nothing back.
    pub(crate) fn take<K: Watched>(&mut self, event: Event<K>) -> Vec<LocalEvent> {
        match event {
            Event::Init => {
                self.stale = self.known.clone();
                Vec::new()
            }
            Event::InitApply(object) | Event::Apply(object) => self.put(&object).into_iter().collect(),
            Event::Delete(object) => self.delete(name(&object), Some(&object)).into_iter().collect(),
            Event::InitDone => {
                self.listed = true;
                let stale = std::mem::take(&mut self.stale);
                if planted(Defect::ApiRelistDoesNotPrune) {
                    return Vec::new();
                }
                stale.into_iter().filter_map(|name| self.delete::<K>(name, None)).collect()
            }
        }
    }

    fn put<K: Watched>(&mut self, object: &K) -> Option<LocalEvent> {
        let name = name(object);
        let labels = object.metadata().labels.as_ref();
        if labels.is_some_and(|labels| labels.contains_key(OTHER_PROXY_LABEL)) {
            return self.delete(name, Some(object));
        }
        self.stale.remove(&name);
        self.known.insert(name);
        object.put()
    }

    fn delete<K: Watched>(&mut self, name: Name, last: Option<&K>) -> Option<LocalEvent> {
        let known = self.known.remove(&name);
        known.then(|| K::deleted(name.0, name.1, last)).flatten()
    }
}

fn version(object: &impl Watched) -> String {
    object.metadata().resource_version.clone().unwrap_or_default()
}

fn name<K: Watched>(object: &K) -> Name {
    let metadata = object.metadata();
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str) -> Service {
        serde_json::from_value(json!({"metadata": {"namespace": "default", "name": name}})).expect("a Service")
    }

    fn claimed(name: &str) -> Service {
        let mut object = object(name);
        object.metadata.labels = Some([(OTHER_PROXY_LABEL.to_owned(), "other".to_owned())].into());
        object
    }

    /// Events as text: `+a` or `-a`.
    fn take(objects: &mut Objects, event: Event<Service>) -> Vec<String> {
        let text = |event| match event {
            LocalEvent::Service { key, service, .. } => {
                format!("{}{}", if service.is_some() { '+' } else { '-' }, key.name)
            }
            other => panic!("no such event here: {other:?}"),
        };
        objects.take(event).into_iter().map(text).collect()
    }

    #[test]
    fn a_new_list_takes_back_what_vanished() {
        let mut objects = Objects::default();
        assert!(take(&mut objects, Event::Init).is_empty());
        assert_eq!(take(&mut objects, Event::InitApply(object("a"))), ["+a"]);
        assert_eq!(take(&mut objects, Event::InitApply(object("b"))), ["+b"]);
        assert!(!objects.is_listed());
        assert!(take(&mut objects, Event::InitDone).is_empty());
        assert!(objects.is_listed());
        assert_eq!(take(&mut objects, Event::Apply(object("c"))), ["+c"]);

        assert!(take(&mut objects, Event::Init).is_empty());
        assert_eq!(take(&mut objects, Event::InitApply(object("b"))), ["+b"]);
        // The list breaks and starts again.
        assert!(take(&mut objects, Event::Init).is_empty());
        assert_eq!(take(&mut objects, Event::InitApply(object("b"))), ["+b"]);
        assert_eq!(take(&mut objects, Event::InitDone), ["-a", "-c"]);
        assert_eq!(take(&mut objects, Event::Delete(object("b"))), ["-b"]);
        assert!(take(&mut objects, Event::Delete(object("b"))).is_empty(), "gone already");
    }

    #[test]
    fn a_deletion_says_what_it_is_about() {
        let slice: EndpointSlice = serde_json::from_value(json!({
            "metadata": {"namespace": "default", "name": "web-1", "resourceVersion": "7",
                "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4", "endpoints": [],
        }))
        .expect("a slice");
        let web = ServiceKey::new("default", "web");
        let mut objects = Objects::default();
        for event in [Event::Apply(slice.clone()), Event::Delete(slice)] {
            let told = objects.take(event);
            assert_eq!(told.iter().map(LocalEvent::about).collect::<Vec<_>>(), [Some((&web, "7"))]);
        }
    }

    #[cfg(feature = "planted-defects")]
    #[test]
    fn a_defect_takes_nothing_back_with_a_new_list() {
        let _planting = mesh_planted::plant_here(Defect::ApiRelistDoesNotPrune);
        let mut objects = Objects::default();
        assert_eq!(take(&mut objects, Event::Apply(object("a"))), ["+a"]);
        for event in [Event::Init, Event::InitDone] {
            assert!(take(&mut objects, event).is_empty());
        }
        assert_eq!(take(&mut objects, Event::Delete(object("a"))), ["-a"]);
    }

    #[test]
    fn services_of_another_proxy_are_not_ours() {
        let mut objects = Objects::default();
        assert!(take(&mut objects, Event::Apply(claimed("a"))).is_empty());
        assert_eq!(take(&mut objects, Event::Apply(object("a"))), ["+a"]);
        assert_eq!(take(&mut objects, Event::Apply(claimed("a"))), ["-a"]);
    }
}
