//! What the oracle takes from Kubernetes objects, and nothing else of them.

use std::{collections::BTreeMap, net::Ipv4Addr};

use mesh_types::{Affinity, Protocol, ServiceKey};
use serde_json::Value;

/// An object that the oracle cannot understand. The harness's own API server sent it, so this is a defect of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("object has no readable `{field}`: {object}")]
pub struct ObjectError {
    /// The field that is missing or wrong, as a JSON path.
    pub field: &'static str,
    /// The object, or what is known of it.
    pub object: String,
}

/// What merge and export need of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceFacts {
    /// `None` for headless and external-name services, which have no frontend.
    pub(crate) cluster_ip: Option<Ipv4Addr>,
    /// `false` for external-name services, whatever their annotations say: they are names, Cilium ignores them.
    pub(crate) ports: Vec<PortFacts>,
    pub(crate) global: bool,
    pub(crate) shared: bool,
    pub(crate) affinity: Affinity,
    /// Time-out of session affinity in seconds.
    pub(crate) session_affinity: Option<u32>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) selector: BTreeMap<String, String>,
}

/// A port of a Service (the number clients use) or of an EndpointSlice (the number of the target).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PortFacts {
    /// Empty for an unnamed port.
    pub(crate) name: String,
    pub(crate) number: u16,
    pub(crate) protocol: Protocol,
}

/// What merge and export need of an EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SliceFacts {
    pub(crate) endpoints: Vec<EndpointFacts>,
    pub(crate) ports: Vec<PortFacts>,
}

/// One endpoint of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndpointFacts {
    pub(crate) addresses: Vec<Ipv4Addr>,
    pub(crate) ready: bool,
    pub(crate) serving: bool,
    pub(crate) terminating: bool,
    /// The node that it runs on.
    pub(crate) node: Option<String>,
    pub(crate) hostname: Option<String>,
    pub(crate) zone: Option<String>,
    /// Zones that it should be used from.
    pub(crate) hints: Vec<String>,
}

/// Label of a slice that names its service.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// Annotations with their legacy names. The first one wins when both are there, whatever its value.
const GLOBAL: [&str; 2] = ["service.cilium.io/global", "io.cilium/global-service"];
const SHARED: [&str; 2] = ["service.cilium.io/shared", "io.cilium/shared-service"];
const AFFINITY: [&str; 2] = ["service.cilium.io/affinity", "io.cilium/service-affinity"];

/// Namespace and name of any namespaced object.
pub(crate) fn key(object: &Value) -> Result<ServiceKey, ObjectError> {
    let field = |pointer: &'static str| {
        let text = object.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
        text.ok_or_else(|| ObjectError { field: pointer, object: describe(object) })
    };
    Ok(ServiceKey::new(field("/metadata/namespace")?, field("/metadata/name")?))
}

/// The service that a slice belongs to; `None` when no label says.
pub(crate) fn owner(slice: &Value) -> Result<Option<ServiceKey>, ObjectError> {
    let label = slice.pointer("/metadata/labels").and_then(|labels| labels.get(SERVICE_NAME_LABEL));
    let name = label.and_then(Value::as_str).filter(|name| !name.is_empty());
    Ok(match name {
        Some(name) => Some(ServiceKey::new(key(slice)?.namespace, name)),
        None => None,
    })
}

impl ServiceFacts {
    /// Reads a Service.
    pub(crate) fn read(service: &Value) -> Result<Self, ObjectError> {
        let external = service.pointer("/spec/type").and_then(Value::as_str) == Some("ExternalName");
        let global = !external && annotation(service, GLOBAL).is_some_and(is_true);
        let shared = annotation(service, SHARED).is_none_or(is_true);
        let affinity = match annotation(service, AFFINITY).map(str::to_lowercase).as_deref() {
            Some("local") => Affinity::Local,
            Some("remote") => Affinity::Remote,
            _ => Affinity::None,
        };
        Ok(Self {
            cluster_ip: if external { None } else { cluster_ip(service) },
            ports: ports(service, service.pointer("/spec/ports"))?,
            global,
            shared: global && shared,
            affinity: if global { affinity } else { Affinity::None },
            session_affinity: session_affinity(service),
            labels: texts(service.pointer("/metadata/labels")),
            selector: texts(service.pointer("/spec/selector")),
        })
    }
}

impl SliceFacts {
    /// Reads an EndpointSlice. One of another address family than IPv4 has no endpoints for us.
    pub(crate) fn read(slice: &Value) -> Result<Self, ObjectError> {
        let ipv4 = slice.get("addressType").and_then(Value::as_str) == Some("IPv4");
        let listed = if ipv4 { list(slice.get("endpoints")) } else { &[] };
        let endpoints = listed.iter().map(|endpoint| read_endpoint(slice, endpoint)).collect::<Result<_, _>>()?;
        Ok(Self { endpoints, ports: ports(slice, slice.get("ports"))? })
    }
}

fn read_endpoint(slice: &Value, endpoint: &Value) -> Result<EndpointFacts, ObjectError> {
    let unreadable = || ObjectError { field: "/endpoints/addresses", object: describe(slice) };
    let addresses = list(endpoint.get("addresses"))
        .iter()
        .map(|address| address.as_str().and_then(|text| text.parse().ok()).ok_or_else(unreadable));
    let condition = |name: &str| endpoint.pointer(&format!("/conditions/{name}")).and_then(Value::as_bool);
    // The API says: unknown readiness means ready, unknown serving means the same as ready.
    let ready = condition("ready").unwrap_or(true);
    Ok(EndpointFacts {
        addresses: addresses.collect::<Result<_, _>>()?,
        ready,
        serving: condition("serving").unwrap_or(ready),
        terminating: condition("terminating").unwrap_or(false),
        node: text(endpoint, "/nodeName"),
        hostname: text(endpoint, "/hostname"),
        zone: text(endpoint, "/zone"),
        hints: list(endpoint.pointer("/hints/forZones")).iter().filter_map(|hint| text(hint, "/name")).collect(),
    })
}

/// The text at `pointer`, unless there is none or it is empty.
fn text(object: &Value, pointer: &str) -> Option<String> {
    object.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// An object of texts, such as labels.
fn texts(object: Option<&Value>) -> BTreeMap<String, String> {
    let entries = object.and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

fn annotation<'a>(object: &'a Value, names: [&str; 2]) -> Option<&'a str> {
    let annotations = object.pointer("/metadata/annotations")?;
    names.iter().find_map(|&name| annotations.get(name)).and_then(Value::as_str)
}

fn is_true(text: &str) -> bool {
    text.to_lowercase() == "true"
}

/// Time-out of session affinity in seconds, when there is any. Three hours when the Service does not say.
fn session_affinity(service: &Value) -> Option<u32> {
    const DEFAULT: u32 = 10_800;
    let by_client = service.pointer("/spec/sessionAffinity").and_then(Value::as_str) == Some("ClientIP");
    let seconds = service.pointer("/spec/sessionAffinityConfig/clientIP/timeoutSeconds").and_then(Value::as_u64);
    by_client.then(|| seconds.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(DEFAULT))
}

/// The IPv4 cluster IP: the one of `clusterIPs` when there are several families.
fn cluster_ip(service: &Value) -> Option<Ipv4Addr> {
    let several = list(service.pointer("/spec/clusterIPs"));
    let one = service.pointer("/spec/clusterIP");
    // "None" and IPv6 addresses do not parse.
    several.iter().chain(one).find_map(|text| text.as_str()?.parse().ok())
}

fn ports(object: &Value, ports: Option<&Value>) -> Result<Vec<PortFacts>, ObjectError> {
    let unreadable = |field| ObjectError { field, object: describe(object) };
    let mut found = Vec::new();
    for port in list(ports) {
        // A slice's port without a number stands for "all ports", which no frontend can use.
        let Some(number) = port.get("port").filter(|number| !number.is_null()) else { continue };
        let number = number.as_u64().and_then(|number| u16::try_from(number).ok());
        let protocol = match port.get("protocol").filter(|protocol| !protocol.is_null()) {
            None => Some(Protocol::Tcp),
            Some(protocol) => protocol.as_str().and_then(|text| text.parse().ok()),
        };
        found.push(PortFacts {
            name: port.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
            number: number.ok_or_else(|| unreadable("/ports/port"))?,
            protocol: protocol.ok_or_else(|| unreadable("/ports/protocol"))?,
        });
    }
    Ok(found)
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn describe(object: &Value) -> String {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or("?");
    format!("{} {}/{}", text("/kind"), text("/metadata/namespace"), text("/metadata/name"))
}
