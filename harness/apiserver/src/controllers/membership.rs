//! Which pods stand behind a service, at which ports: shared by endpoint slices and endpoints.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::json;
use crate::kinds::{Kind, pod_is_ready};
use crate::store::{Key, LabelSelector, Name, Object, State};

/// A service whose endpoints are made of pods.
pub(super) struct SelectedService {
    /// The service.
    pub(super) service: Arc<Object>,
    /// Its pods that have an address and have not finished, by name.
    pub(super) members: Vec<Member>,
}

/// A pod behind a service.
pub(super) struct Member {
    /// The pod.
    pub(super) pod: Arc<Object>,
    /// Its address.
    pub(super) address: String,
    /// The service's ports as this pod has them.
    pub(super) ports: Vec<Value>,
    /// Whether it takes new connections.
    pub(super) ready: bool,
    /// Whether it would, were it not going.
    pub(super) serving: bool,
}

impl Member {
    /// The reference to the pod.
    pub(super) fn target(&self) -> Value {
        let pod = &self.pod;
        json!({"kind": "Pod", "name": pod.name(), "namespace": pod.namespace(), "uid": pod.uid()})
    }

    /// Its node, or `""`.
    pub(super) fn node(&self) -> &str {
        json::text(self.pod.value(), "/spec/nodeName")
    }
}

/// The service of that name with its pods; none when there is no such service or it selects no pods itself.
pub(super) fn find(state: &State, name: &Name) -> Option<SelectedService> {
    let service = Arc::clone(state.get(&Key { kind: Kind::Service, name: name.clone() })?);
    let value = service.value();
    let selector = LabelSelector::from_map(json::map(value, "/spec/selector"));
    if selector.is_empty() || json::text(value, "/spec/type") == "ExternalName" {
        return None;
    }
    let publish_all = json::flag(value, "/spec/publishNotReadyAddresses");
    let pods = state.list(Kind::Pod, Some(&name.namespace));
    let members = pods.filter(|pod| selector.matches(pod.value())).filter_map(|pod| {
        let address = json::text(pod.value(), "/status/podIP");
        if address.is_empty() || matches!(json::text(pod.value(), "/status/phase"), "Failed" | "Succeeded") {
            return None;
        }
        let serving = pod_is_ready(pod.value());
        Some(Member {
            pod: Arc::clone(pod),
            address: address.to_owned(),
            ports: ports(value, pod.value()),
            ready: publish_all || (serving && !pod.is_terminating()),
            serving,
        })
    });
    let members = members.collect();
    Some(SelectedService { service, members })
}

/// Puts together what has equal ports, in the order of first sight; almost always that is everything.
pub(super) fn by_ports<'m>(members: impl Iterator<Item = &'m Member>) -> Vec<(&'m [Value], Vec<&'m Member>)> {
    let mut groups: Vec<(&[Value], Vec<&Member>)> = Vec::new();
    for member in members {
        match groups.iter_mut().find(|(ports, _)| *ports == member.ports) {
            Some((_, group)) => group.push(member),
            None => groups.push((&member.ports, vec![member])),
        }
    }
    groups
}

/// The service's ports at a pod. A named port that the pod does not have is left out.
fn ports(service: &Value, pod: &Value) -> Vec<Value> {
    let resolve = |port: &Value| -> Option<Value> {
        let protocol = json::text(port, "/protocol");
        let number = match port.get("targetPort") {
            Some(Value::String(name)) => named_port(pod, name, protocol)?,
            Some(number) => number.as_i64()?,
            None => json::number(port, "/port"),
        };
        let mut resolved = json!({"name": json::text(port, "/name"), "port": number, "protocol": protocol});
        json::assign(&mut resolved, "appProtocol", port.get("appProtocol").cloned());
        Some(resolved)
    };
    json::list(service, "/spec/ports").iter().filter_map(resolve).collect()
}

fn named_port(pod: &Value, name: &str, protocol: &str) -> Option<i64> {
    json::list(pod, "/spec/containers")
        .iter()
        .flat_map(|container| json::list(container, "/ports"))
        .find(|port| json::text(port, "/name") == name && json::text(port, "/protocol") == protocol)
        .map(|port| json::number(port, "/containerPort"))
}
