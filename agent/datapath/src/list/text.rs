//! Keys and values as text.

use mesh_abi::{
    BackendKey, BackendValue, ReverseNatValue, ServiceFlags, ServiceKey, ServiceValue, protocol as number, scope,
};

use crate::Contents;

/// `<ip>:<port>/<PROTO> (<slot>)`, with `/i` after the protocol for the internal scope.
pub(super) fn service_key(key: &ServiceKey) -> String {
    let scope = if key.scope == scope::INTERNAL { "/i" } else { "" };
    format!("{}:{}/{}{scope} ({})", key.ip(), key.port.get(), protocol(key.protocol), key.slot)
}

/// Master: `0.0.0.0:0 (<revnat>) (0) [<flags>] `, with a space at the end and the proxy's port of a layer-7 service
/// after it. Slot: `<ip>:<port>/<PROTO> (<revnat>) (<slot>)`, or the id when there is no such backend.
pub(super) fn service_value(key: &ServiceKey, value: &ServiceValue, contents: &Contents) -> String {
    let rev_nat = value.rev_nat.get();
    if key.slot == 0 {
        let proxy = match value.flags.has(ServiceFlags::L7_LOAD_BALANCER) {
            true => format!("(L7LB Proxy Port: {})", value.proxy_port()),
            false => String::new(),
        };
        return format!("0.0.0.0:0 ({rev_nat}) (0) [{}] {proxy}", flags(value.flags));
    }
    match contents.backends().get(&BackendKey(value.backend_id())) {
        Some(backend) => {
            let protocol = protocol(backend.protocol);
            format!("{}:{}/{protocol} ({rev_nat}) ({})", backend.ip(), backend.port.get(), key.slot)
        }
        None => format!("backend {} not found", value.backend_id()),
    }
}

/// `<union> <count>[<qcount>] (<revnat>) [0x<flags> 0x<flags2>]`. The union is a backend id only in a slot; Cilium
/// prints it for a master too.
pub(super) fn frontend_value(value: &ServiceValue) -> String {
    let ServiceValue { union, count, rev_nat, flags: ServiceFlags([low, high]), qcount } = value;
    format!("{union} {count}[{qcount}] ({}) [{low:#x} {high:#x}]", rev_nat.get())
}

/// `TCP://<ip>`, with cluster id and zone when they are set. Cilium prints no port.
pub(super) fn backend(value: &BackendValue) -> String {
    let cluster = if value.cluster_id == 0 { String::new() } else { format!("@{}", value.cluster_id) };
    let zone = if value.zone == 0 { String::new() } else { format!("[{}]", value.zone) };
    format!("{}://{}{cluster}{zone}", protocol(value.protocol), value.ip())
}

/// `<ip>:<port>`.
pub(super) fn reverse_nat(value: &ReverseNatValue) -> String {
    let ReverseNatValue { address, port } = *value;
    format!("{}:{}", std::net::Ipv4Addr::from(address), port.get())
}

/// Name of an IANA protocol number, as Cilium prints it.
fn protocol(protocol: u8) -> &'static str {
    match protocol {
        number::ANY => "ANY",
        number::TCP => "TCP",
        number::UDP => "UDP",
        number::SCTP => "SCTP",
        _ => "UNKNOWN",
    }
}

/// The flags as words, in Cilium's order.
fn flags(flags: ServiceFlags) -> String {
    let kinds = [
        (ServiceFlags::EXTERNAL_IP, "ExternalIPs"),
        (ServiceFlags::NODE_PORT, "NodePort"),
        (ServiceFlags::LOAD_BALANCER, "LoadBalancer"),
        (ServiceFlags::HOST_PORT, "HostPort"),
        (ServiceFlags::LOCAL_REDIRECT, "LocalRedirect"),
    ];
    let kind = kinds.into_iter().find(|(bit, _)| flags.has(*bit)).map_or("ClusterIP", |(_, word)| word);
    let loopback = if kind == "HostPort" { "loopback" } else { "delegate-if-local" };
    // What bit 0x40 of the second byte means in a master with source ranges (a deny list) is said before.
    let deny = flags.has(ServiceFlags::SOURCE_RANGE) && flags.has(ServiceFlags::QUARANTINED);
    let words = [
        (true, kind),
        (flags.has(ServiceFlags::EXTERNAL_LOCAL), "Local"),
        (flags.has(ServiceFlags::INTERNAL_LOCAL), "InternalLocal"),
        (flags.has(ServiceFlags::TWO_SCOPES), "two-scopes"),
        (flags.has(ServiceFlags::SESSION_AFFINITY), "sessionAffinity"),
        (!flags.has(ServiceFlags::ROUTABLE), "non-routable"),
        (flags.has(ServiceFlags::SOURCE_RANGE), if deny { "check source-range deny" } else { "check source-range" }),
        (flags.has(ServiceFlags::NAT_46X64), "46x64"),
        (flags.has(ServiceFlags::L7_LOAD_BALANCER), "l7-load-balancer"),
        (flags.has(ServiceFlags::LOOPBACK), loopback),
        (flags.has(ServiceFlags::QUARANTINED) && !deny, "quarantined"),
        (flags.has(ServiceFlags::DSR), "dsr"),
    ];
    words.into_iter().filter(|(set, _)| *set).map(|(_, word)| word).collect::<Vec<_>>().join(", ")
}
