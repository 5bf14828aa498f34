//! Whatever the order of events, the same newest values give the same load balancer and the same exports.

use std::collections::{BTreeMap, VecDeque};

use mesh_core::{
    Config, Effect, Event, ExportConfig, ExportEffect, ExportFormats, ExportState, LocalEndpoint, LocalService,
    LocalSlice, RemoteEndpoint, RemoteSlice, ServiceKind, ServiceV2, TrafficDistribution,
};
use mesh_types::{BackendState, Frontend, FrontendAddress, ServiceKey, TrafficPolicies, TrafficPolicy};
use mesh_wire::ClusterService;
use proptest::{prelude::*, sample::Index};

use crate::mesh::*;

const NAMES: [&str; 3] = ["echo", "web", "db"];
/// Remote clusters with the IDs that each has in its lives.
const REMOTES: [(&str, [u16; 2]); 2] = [("beta", [2, 7]), ("gamma", [3, 3])];
const PORT_NAMES: [&str; 3] = ["", "http", "dns"];
const NODES: [&str; 3] = ["", "alpha-1", "alpha-2"];
const ZONES: [&str; 2] = ["a", "b"];
/// What a peer can say that it exports.
const EXPORTS: [&str; 3] = ["", "services-and-endpointslices", "endpointslices-only"];
/// Annotations besides [`GLOBAL`] and [`REMOTE`], which are more frequent.
const ANNOTATIONS: [(&str, &str); 5] = [
    UNSHARED,
    LOCAL,
    ("service.cilium.io/type", "NodePort"),
    ("service.cilium.io/node-selector", "tier=edge"),
    ("service.cilium.io/lb-algorithm", "maglev"),
];

/// Events about one thing keep their order; events about different things may come in any.
type Stream = Vec<Event>;

fn states() -> impl Strategy<Value = BackendState> {
    prop::sample::select(vec![
        BackendState::Active,
        BackendState::Active,
        BackendState::Terminating,
        BackendState::TerminatingNotServing,
        BackendState::Maintenance,
    ])
}

fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(texts).prop_map(str::to_owned)
}

fn hints() -> impl Strategy<Value = Vec<String>> {
    prop::sample::subsequence(&ZONES[..], 0..=2).prop_map(|zones| zones.into_iter().map(str::to_owned).collect())
}

fn policies() -> impl Strategy<Value = TrafficPolicies> {
    let policy = || {
        prop::bool::weighted(0.3).prop_map(|local| [TrafficPolicy::Cluster, TrafficPolicy::Local][usize::from(local)])
    };
    (policy(), policy()).prop_map(|(external, internal)| TrafficPolicies { external, internal })
}

fn kinds() -> impl Strategy<Value = ServiceKind> {
    prop::sample::select(vec![ServiceKind::ClusterIp, ServiceKind::NodePort, ServiceKind::LoadBalancer])
}

prop_compose! {
    fn services(name: &'static str)(
        global in prop::bool::weighted(0.7),
        remote in any::<bool>(),
        annotations in prop::sample::subsequence(&ANNOTATIONS[..], 0..=2),
        // Few addresses, so that services collide.
        address in 1_u8..3,
        port in prop::sample::select(&PORT_NAMES[..]),
        headless in prop::bool::weighted(0.1),
        node_port in prop::option::of(31_000_u16..31_002),
        outside in 1_u8..3,
        (kind, policies, zone) in (kinds(), policies(), any::<bool>()),
    ) -> LocalService {
        let mut service = service(&annotations);
        for (annotation, wanted) in [(GLOBAL, global), (REMOTE, remote)] {
            service.annotations.extend(wanted.then(|| (annotation.0.to_owned(), annotation.1.to_owned())));
        }
        service.key.name = name.to_owned();
        service.cluster_ips = if headless { vec![] } else { vec![ip(&format!("10.0.0.{address}"))] };
        service.ports = vec![service_port(port, 80)];
        service.ports[0].node_port = node_port;
        service.kind = kind;
        service.load_balancer_ips = vec![ip(&format!("192.0.2.{outside}"))];
        service.external_ips = vec![ip(&format!("192.0.2.{address}"))];
        service.policies = policies;
        service.distribution = if zone { TrafficDistribution::Zone } else { TrafficDistribution::Any };
        service
    }
}

prop_compose! {
    fn local_endpoints()(
        last in 1_u8..5,
        state in states(),
        node in one_of(&NODES),
        zone in prop::option::weighted(0.9, one_of(&ZONES)),
        hints in hints(),
    ) -> LocalEndpoint {
        LocalEndpoint { node_name: Some(node), zone, hints, ..endpoint(&format!("10.1.0.{last}"), state) }
    }
}

prop_compose! {
    fn slices(name: String)(
        endpoints in prop::collection::vec(local_endpoints(), 0..4),
        service in prop::option::weighted(0.9, one_of(&NAMES)),
        port in one_of(&PORT_NAMES),
    ) -> LocalSlice {
        let mut slice = slice(&[]);
        slice.endpoints = endpoints;
        slice.name.clone_from(&name);
        slice.service = service;
        slice.ports[0].name = port;
        slice
    }
}

/// Addresses of remote backends; some that both remote clusters, or the local one, have too.
const REMOTE_ADDRESSES: [&str; 4] = ["10.1.0.1", "10.2.0.1", "10.2.0.2", "10.3.0.1"];

prop_compose! {
    fn remote_services(cluster: &'static str, id: u16)(
        name in prop::sample::select(&NAMES[..]),
        addresses in prop::sample::subsequence(&REMOTE_ADDRESSES[..], 0..4),
        port in prop::sample::select(&PORT_NAMES[..]),
        hinted in any::<bool>(),
    ) -> ClusterService {
        let backend = |ip: &&str| format!(r#""{ip}":{{"{port}":{{"Protocol":"TCP","Port":8080}}}}"#);
        let backends: Vec<String> = addresses.iter().map(backend).collect();
        let zone = |ip: &&str| format!(r#""{ip}":{{"zone":"z","forZones":[{{"name":"a"}}]}}"#);
        let zones: Vec<String> = addresses.iter().filter(|_| hinted).map(zone).collect();
        let fields = format!(r#"{{{}}},"zones":{{{}}}"#, backends.join(","), zones.join(","));
        let mut value = remote_value(cluster, id, &fields);
        value.key.name = name.to_owned();
        value
    }
}

prop_compose! {
    fn remote_endpoints()(
        address in prop::sample::select(&REMOTE_ADDRESSES[..]),
        state in states(),
        zone in prop::option::of(one_of(&ZONES)),
        hints in hints(),
    ) -> RemoteEndpoint {
        let conditions = endpoint(address, state).conditions();
        RemoteEndpoint { addresses: vec![ip(address)], conditions, zone, hints }
    }
}

prop_compose! {
    fn remote_slices(cluster: &'static str, id: u16)(
        name in one_of(&["one", "two", "three"]),
        service in prop::option::weighted(0.9, one_of(&NAMES)),
        endpoints in prop::collection::vec(remote_endpoints(), 0..3),
        port in one_of(&PORT_NAMES),
    ) -> RemoteSlice {
        let mut slice = RemoteSlice { name, service, endpoints, ..remote_slice(cluster, id, &[]) };
        slice.ports[0].name = port;
        slice
    }
}

fn service_stream(name: &'static str) -> impl Strategy<Value = Stream> {
    let event = move |service| Event::Service { key: ServiceKey::new("test", name), service };
    prop::collection::vec(prop::option::weighted(0.8, services(name)).prop_map(event), 0..4)
}

fn slice_stream(name: String) -> impl Strategy<Value = Stream> {
    let of = name.clone();
    let event = move |slice| Event::Slice { namespace: "test".to_owned(), name: of.clone(), slice };
    prop::collection::vec(prop::option::weighted(0.8, slices(name)).prop_map(event), 0..4)
}

fn namespace_stream() -> impl Strategy<Value = Stream> {
    let annotated = |value| namespace("test", Some(&[("clustermesh.cilium.io/global", value)]));
    let event = prop_oneof![
        2 => Just(annotated("true")),
        1 => Just(annotated("false")),
        1 => Just(namespace("test", Some(&[]))),
        1 => Just(namespace("test", None)),
    ];
    prop::collection::vec(event, 0..4)
}

/// The labels and the zone of the node are told by different events, so they are different things.
fn node_streams() -> [BoxedStrategy<Stream>; 2] {
    let zone = prop::option::weighted(0.8, one_of(&ZONES)).prop_map(|zone| Event::NodeZone { zone });
    let tier = prop::sample::select(vec!["edge", "core"]);
    let labels = tier.prop_map(|tier| Event::NodeLabels { labels: texts(&[("tier", tier)]) });
    [prop::collection::vec(zone, 0..3).boxed(), prop::collection::vec(labels, 0..3).boxed()]
}

/// What a reader reports of a remote cluster.
#[derive(Clone, Debug)]
enum Report {
    Service(ServiceKey, Option<ClusterService>),
    Slice(String, Option<RemoteSlice>),
}

impl Report {
    /// The key in the kvstore.
    fn key(&self) -> (bool, String) {
        match self {
            Self::Service(key, _) => (false, key.name.clone()),
            Self::Slice(name, _) => (true, name.clone()),
        }
    }

    fn is_deletion(&self) -> bool {
        matches!(self, Self::Service(_, None) | Self::Slice(_, None))
    }

    /// The deletion of what this is about.
    fn deletion(&self) -> Self {
        match self {
            Self::Service(key, _) => Self::Service(key.clone(), None),
            Self::Slice(name, _) => Self::Slice(name.clone(), None),
        }
    }

    fn event(&self, name: &str, raw: u16) -> Event {
        match self.clone() {
            Self::Service(key, service) => {
                Event::RemoteService { cluster: cluster(name), cluster_id: id(raw), key, service }
            }
            Self::Slice(of, slice) => Event::RemoteSlice {
                cluster: cluster(name),
                cluster_id: id(raw),
                namespace: "test".to_owned(),
                name: of,
                slice,
            },
        }
    }
}

/// Values and deletions as a reader reports them, of either format.
fn reports(name: &'static str, id: u16) -> impl Strategy<Value = Vec<Report>> {
    let alive = || prop::bool::weighted(0.7);
    let service = |(value, alive): (ClusterService, bool)| Report::Service(value.key.clone(), alive.then_some(value));
    let slice = |(value, alive): (RemoteSlice, bool)| Report::Slice(value.name.clone(), alive.then_some(value));
    let report = prop_oneof![
        (remote_services(name, id), alive()).prop_map(service),
        (remote_slices(name, id), alive()).prop_map(slice),
    ];
    prop::collection::vec(report, 0..8)
}

/// One life of a remote cluster, from the coming of its configuration file until before its going.
fn life(name: &'static str, raw: u16) -> impl Strategy<Value = Stream> {
    let said = prop::collection::vec((prop::sample::select(&EXPORTS[..]), any::<Index>()), 0..3);
    (reports(name, raw), any::<Index>(), said).prop_map(move |(reports, at, said)| {
        let mut events = vec![added(name)];
        events.extend(reports.iter().map(|report| report.event(name, raw)));
        events.insert(1 + at.index(events.len()), synced(name));
        for (mode, at) in said {
            events.insert(1 + at.index(events.len()), exports(name, mode));
        }
        events
    })
}

/// A whole remote cluster is one stream: its events come through one connection. It may be removed, and come back.
fn remote_stream(name: &'static str, ids: [u16; 2]) -> impl Strategy<Value = Stream> {
    let again = prop::option::weighted(0.5, life(name, ids[1]));
    (life(name, ids[0]), prop::bool::weighted(0.3), again).prop_map(move |(mut events, removed, again)| {
        if removed {
            events.push(Event::RemoteRemoved { cluster: cluster(name) });
            events.extend(again.into_iter().flatten());
        }
        events
    })
}

fn local_streams() -> Vec<BoxedStrategy<Stream>> {
    let services = NAMES.into_iter().map(|name| service_stream(name).boxed());
    let slices = (1..=4).map(|number| slice_stream(format!("slice-{number}")).boxed());
    services.chain(slices).chain([namespace_stream().boxed()]).collect()
}

fn streams() -> impl Strategy<Value = Vec<Stream>> {
    let remotes = REMOTES.into_iter().map(|(name, ids)| remote_stream(name, ids).boxed());
    local_streams().into_iter().chain(node_streams()).chain(remotes).collect::<Vec<_>>()
}

fn modes() -> impl Strategy<Value = ServiceV2> {
    prop::sample::select(vec![ServiceV2::PreferLegacy, ServiceV2::PreferEndpointSlice, ServiceV2::OnlyEndpointSlice])
}

/// An agent for which everything matters that an event can tell.
fn agent(service_v2: ServiceV2, restored: bool) -> Agent {
    Agent::new(Config {
        service_v2,
        service_topology: true,
        node_addresses: vec![ip("172.18.0.2")],
        ..config("alpha", 1, restored)
    })
}

fn running(service_v2: ServiceV2) -> Agent {
    let mut agent = agent(service_v2, false);
    agent.step(Event::LocalSynced);
    agent
}

/// One of the possible orders.
fn interleave(streams: &[Stream], choices: &[Index]) -> Vec<Event> {
    let mut streams: Vec<VecDeque<Event>> = streams.iter().map(|stream| stream.iter().cloned().collect()).collect();
    let mut choices = choices.iter().cycle();
    let mut events = Vec::new();
    loop {
        streams.retain(|stream| !stream.is_empty());
        if streams.is_empty() {
            return events;
        }
        let at = choices.next().expect("the strategy gives at least one choice").index(streams.len());
        events.extend(streams[at].pop_front());
    }
}

fn choices() -> impl Strategy<Value = Vec<Index>> {
    prop::collection::vec(any::<Index>(), 1..80)
}

/// Only the newest value of every object, in a fixed order: what an agent sees that starts at the end. Of a remote
/// cluster, that is all of its last life, or nothing.
fn newest(streams: &[Stream]) -> Vec<Event> {
    let mut events = Vec::new();
    for stream in streams {
        let removed = stream.iter().rposition(|event| matches!(event, Event::RemoteRemoved { .. }));
        match stream.first() {
            Some(Event::RemoteAdded { .. }) => events.extend(stream[removed.map_or(0, |at| at + 1)..].iter().cloned()),
            _ => events.extend(stream.last().cloned()),
        }
    }
    events
}

/// What a kvstore holds after reports, by key.
fn kvstore<'a>(reports: impl Iterator<Item = &'a Report>) -> BTreeMap<(bool, String), &'a Report> {
    let mut kvstore = BTreeMap::new();
    for report in reports {
        if report.is_deletion() {
            kvstore.remove(&report.key());
        } else {
            kvstore.insert(report.key(), report);
        }
    }
    kvstore
}

/// An exporter with the keys that its effects leave in a kvstore; each effect must change something.
struct Exporter {
    state: ExportState,
    keys: BTreeMap<String, Vec<u8>>,
    slices: BTreeMap<String, LocalSlice>,
    synced: bool,
}

impl Exporter {
    fn new(formats: ExportFormats) -> Self {
        let state = ExportState::new(ExportConfig { formats, ..export_config("alpha", 1) });
        Self { state, keys: BTreeMap::new(), slices: BTreeMap::new(), synced: false }
    }

    fn step(&mut self, event: Event) {
        for effect in self.state.step(event) {
            match effect {
                ExportEffect::Put { key, value } => {
                    assert_ne!(self.keys.insert(key, value.clone()), Some(value), "put of what is there already");
                }
                ExportEffect::Delete { key } => assert!(self.keys.remove(&key).is_some(), "deletion of nothing"),
                ExportEffect::PutSlice(exported) => {
                    let slice = exported.slice;
                    let old = self.slices.insert(slice.name.clone(), slice.clone());
                    assert_ne!(old, Some(slice), "put of what is there already");
                }
                ExportEffect::DeleteSlice { name, .. } => {
                    assert!(self.slices.remove(&name).is_some(), "deletion of nothing");
                }
                ExportEffect::Synced => {
                    assert!(!self.synced, "canaries are written once");
                    self.synced = true;
                }
            }
        }
        let entries: BTreeMap<String, Vec<u8>> =
            self.state.entries().map(|(key, value)| (key.to_owned(), value.to_vec())).collect();
        assert_eq!(self.keys, entries, "what is written again after a lost lease");
        assert!(self.slices.values().eq(self.state.slices().map(|exported| &exported.slice)));
    }

    fn written(self) -> (BTreeMap<String, Vec<u8>>, BTreeMap<String, LocalSlice>) {
        (self.keys, self.slices)
    }
}

/// What a reader of both formats sees when `local` is what a peer `beta` has: each format by itself.
fn through_either_format(local: &[Event], own: &LocalService) -> [BTreeMap<FrontendAddress, Frontend>; 2] {
    let formats = ExportFormats::ServicesAndEndpointSlices;
    let mut exporter = ExportState::new(ExportConfig { formats, ..export_config("beta", 2) });
    let effects: Vec<ExportEffect> =
        local.iter().cloned().chain([Event::LocalSynced]).flat_map(|event| exporter.step(event)).collect();
    [ServiceV2::PreferLegacy, ServiceV2::PreferEndpointSlice].map(|mode| {
        let mut agent = running(mode);
        agent.steps([Event::NodeZone { zone: Some("a".to_owned()) }, service_event(own.clone()), added("beta")]);
        agent.step(exports("beta", &String::from(formats.capability())));
        for effect in &effects {
            agent.steps(reported(effect));
        }
        agent.maps
    })
}

/// What a reader reports of something that was written.
fn reported(effect: &ExportEffect) -> Option<Event> {
    match effect {
        ExportEffect::Put { value, .. } => {
            let value = ClusterService::decode(value).expect("what was encoded");
            Some(Report::Service(value.key.clone(), Some(value)).event("beta", 2))
        }
        ExportEffect::PutSlice(exported) => {
            let slice = exported.slice.clone();
            let endpoint = |endpoint: LocalEndpoint| RemoteEndpoint {
                conditions: endpoint.conditions(),
                addresses: endpoint.addresses,
                zone: endpoint.zone,
                hints: endpoint.hints,
            };
            Some(remote_slice_event(RemoteSlice {
                name: slice.name,
                service: slice.service,
                ports: slice.ports,
                endpoints: slice.endpoints.into_iter().map(endpoint).collect(),
                ..remote_slice("beta", 2, &[])
            }))
        }
        ExportEffect::Delete { .. } | ExportEffect::DeleteSlice { .. } | ExportEffect::Synced => None,
    }
}

proptest! {
    #[test]
    fn any_order_converges(streams in streams(), mode in modes(), first in choices(), second in choices()) {
        let mut agents = [running(mode), running(mode)];
        agents[0].steps(interleave(&streams, &first));
        agents[1].steps(interleave(&streams, &second));
        prop_assert_eq!(&agents[0].maps, &agents[1].maps);
        let mut late = running(mode);
        late.steps(newest(&streams));
        prop_assert_eq!(&agents[0].maps, &late.maps);
        prop_assert_eq!(agents[0].state.global_services(), late.state.global_services());
        for (name, _) in REMOTES {
            let count = |agent: &Agent| agent.state.remote_services(&cluster(name));
            prop_assert_eq!(count(&agents[0]), count(&late));
        }
    }

    /// The moment of the release makes no difference to the outcome, and nothing leaves before it.
    #[test]
    fn any_release_converges(
        streams in streams(),
        mode in modes(),
        order in choices(),
        at in any::<Index>(),
        restored in any::<bool>(),
    ) {
        let events = interleave(&streams, &order);
        let mut reference = running(mode);
        reference.steps(events.clone());
        // What an earlier life left in the maps: right entries and others.
        let mut agent = agent(mode, restored);
        agent.maps = reference.maps.clone();
        let stray = tcp("10.9.9.9", 9);
        agent.maps.extend(reference.maps.values().next().cloned().map(|frontend| (stray, frontend)));
        let at = at.index(events.len() + 1);
        let mut prunes = 0;
        let mut stray_seen = agent.maps.contains_key(&stray);
        let all = events[..at].iter().cloned().chain([Event::LocalSynced]).chain(events[at..].iter().cloned());
        for event in all.chain([Event::InitTimeout]) {
            let waiting = agent.state.waiting();
            let effects = agent.state.step(event);
            prop_assert!(!waiting || !agent.state.waiting() || effects.is_empty(), "{:?}", effects);
            for effect in effects {
                match effect {
                    Effect::Upsert(frontend) => drop(agent.maps.insert(frontend.address, frontend)),
                    Effect::Delete(address) => drop(agent.maps.remove(&address)),
                    Effect::Prune(keep) => {
                        prunes += 1;
                        stray_seen = false;
                        agent.maps.retain(|address, _| keep.contains(address));
                    }
                }
            }
        }
        prop_assert!(!stray_seen && prunes == 1, "{} prunes", prunes);
        prop_assert_eq!(agent.maps, reference.maps);
    }

    /// A watch breaks, changes and deletions are lost, the reader starts over with a list.
    #[test]
    fn relist_after_lost_deletes(
        locals in NAMES.map(service_stream),
        (mode, said) in (modes(), prop::sample::select(&EXPORTS[..])),
        before in reports("beta", 2),
        lost in reports("beta", 2),
        starts_over in any::<bool>(),
    ) {
        let mut agent = running(mode);
        let local: Vec<Event> = locals.into_iter().flatten().collect();
        agent.steps(local.clone());
        agent.steps([added("beta"), exports("beta", said)]);
        agent.steps(before.iter().map(|report| report.event("beta", 2)));
        agent.step(synced("beta"));

        let kvstore = kvstore(before.iter().chain(&lost));
        if starts_over {
            // A new reader knows nothing of what the old one had reported.
            agent.step(added("beta"));
        } else {
            // The same reader reports by itself what vanished.
            let reported: BTreeMap<_, _> = before.iter().map(|report| (report.key(), report)).collect();
            let vanished = reported.iter().filter(|(key, _)| !kvstore.contains_key(*key));
            agent.steps(vanished.map(|(_, report)| report.deletion().event("beta", 2)));
        }
        agent.steps(kvstore.values().map(|report| report.event("beta", 2)));
        agent.step(synced("beta"));

        let mut fresh = running(mode);
        fresh.steps(local);
        fresh.steps([added("beta"), exports("beta", said)]);
        fresh.steps(kvstore.values().map(|report| report.event("beta", 2)));
        prop_assert_eq!(agent.maps, fresh.maps);
        let count = |agent: &mesh_core::State| agent.remote_services(&cluster("beta"));
        prop_assert_eq!(count(&agent.state), count(&fresh.state));
        if mode == ServiceV2::PreferLegacy && said != "endpointslices-only" {
            prop_assert_eq!(count(&agent.state), kvstore.keys().filter(|(is_slice, _)| !is_slice).count());
        }
    }

    /// An exporter writes the same whatever the order of events, and whenever the first lists were complete.
    #[test]
    fn any_order_exports_the_same(
        streams in local_streams(),
        order in choices(),
        at in any::<Index>(),
        slices in any::<bool>(),
    ) {
        let formats = if slices { ExportFormats::ServicesAndEndpointSlices } else { ExportFormats::Services };
        let mut events = interleave(&streams, &order);
        events.insert(at.index(events.len() + 1), Event::LocalSynced);
        let mut exporter = Exporter::new(formats);
        events.into_iter().for_each(|event| exporter.step(event));
        let mut late = Exporter::new(formats);
        newest(&streams).into_iter().chain([Event::LocalSynced]).for_each(|event| late.step(event));
        prop_assert!(slices || exporter.slices.is_empty());
        prop_assert_eq!(exporter.written(), late.written());
    }

    /// Endpoints that are ready, or are not at all, look the same through both formats.
    #[test]
    fn both_formats_tell_the_same_of_plain_endpoints(
        own in services("echo"),
        port in one_of(&PORT_NAMES),
        endpoints in prop::collection::btree_map(1_u8..6, (any::<bool>(), prop::option::of(one_of(&ZONES)), hints()), 0..5),
    ) {
        let endpoint = |(last, (ready, zone, hints)): (u8, (bool, Option<String>, Vec<String>))| {
            let state = if ready { BackendState::Active } else { BackendState::Maintenance };
            LocalEndpoint { zone, hints, ..endpoint(&format!("10.2.0.{last}"), state) }
        };
        let mut slice = slice(&[]);
        slice.ports[0].name = port;
        slice.endpoints = endpoints.into_iter().map(endpoint).collect();
        let [services, slices] = through_either_format(&[service_event(service(&[GLOBAL])), slice_event(slice)], &own);
        prop_assert_eq!(services, slices);
    }
}
