//! Whatever the order of events, the same newest values give the same load balancer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mesh_core::{Effect, Event, LocalService, LocalSlice, ServiceKind};
use mesh_types::{BackendState, ServiceKey};
use mesh_wire::ClusterService;
use proptest::{prelude::*, sample::Index};

use crate::mesh::*;

const NAMES: [&str; 3] = ["echo", "web", "db"];
const REMOTES: [(&str, u16); 2] = [("beta", 2), ("gamma", 3)];
const PORT_NAMES: [&str; 3] = ["", "http", "dns"];

/// Events about one thing keep their order; events about different things may come in any.
type Stream = Vec<Event>;

fn states() -> impl Strategy<Value = BackendState> {
    prop::sample::select(vec![BackendState::Active, BackendState::Terminating, BackendState::Maintenance])
}

prop_compose! {
    fn services(name: &'static str)(
        annotations in prop::sample::subsequence(vec![GLOBAL, UNSHARED, LOCAL], 0..=3),
        remote in any::<bool>(),
        // Few addresses, so that services collide.
        address in 1_u8..3,
        port in prop::sample::select(&PORT_NAMES[..]),
        headless in prop::bool::weighted(0.1),
        node_port in prop::option::of(31_000_u16..31_002),
    ) -> LocalService {
        let mut service = service(&annotations);
        if remote {
            service.annotations.insert(REMOTE.0.to_owned(), REMOTE.1.to_owned());
        }
        service.key.name = name.to_owned();
        service.cluster_ips = if headless { vec![] } else { vec![ip(&format!("10.0.0.{address}"))] };
        service.ports = vec![service_port(port, 80)];
        service.ports[0].node_port = node_port;
        service.kind = if node_port.is_some() { ServiceKind::NodePort } else { ServiceKind::ClusterIp };
        service
    }
}

prop_compose! {
    fn slices(name: String)(
        endpoints in prop::collection::vec((1_u8..5, states()), 0..4),
        service in prop::option::weighted(0.9, prop::sample::select(&NAMES[..])),
        port in prop::sample::select(&PORT_NAMES[..]),
    ) -> LocalSlice {
        let mut slice = slice(&[]);
        slice.endpoints = endpoints.iter().map(|(last, state)| endpoint(&format!("10.1.0.{last}"), *state)).collect();
        slice.name.clone_from(&name);
        slice.service = service.map(str::to_owned);
        slice.ports[0].name = port.to_owned();
        slice
    }
}

prop_compose! {
    fn remote_services(cluster: &'static str, id: u16)(
        name in prop::sample::select(&NAMES[..]),
        // Some addresses that both remote clusters, or the local one, have too.
        addresses in prop::collection::btree_set(prop::sample::select(vec!["10.1.0.1", "10.2.0.1", "10.2.0.2", "10.3.0.1"]), 0..4),
        port in prop::sample::select(&PORT_NAMES[..]),
    ) -> ClusterService {
        let backend = |ip: &&str| format!(r#""{ip}":{{"{port}":{{"Protocol":"TCP","Port":8080}}}}"#);
        let backends: Vec<String> = addresses.iter().map(backend).collect();
        let mut value = remote_value(cluster, id, &format!("{{{}}}", backends.join(",")));
        value.key.name = name.to_owned();
        value
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

/// Values and deletions as a reader reports them.
fn reports(name: &'static str, id: u16) -> impl Strategy<Value = Vec<(ServiceKey, Option<ClusterService>)>> {
    let report = |(value, alive): (ClusterService, bool)| (value.key.clone(), alive.then_some(value));
    prop::collection::vec((remote_services(name, id), prop::bool::weighted(0.7)).prop_map(report), 0..6)
}

fn remote_report(name: &str, raw: u16, key: &ServiceKey, service: Option<&ClusterService>) -> Event {
    let service = service.cloned();
    Event::RemoteService { cluster: cluster(name), cluster_id: id(raw), key: key.clone(), service }
}

/// A whole remote cluster is one stream: its events come through one connection.
fn remote_stream(name: &'static str, raw: u16) -> impl Strategy<Value = Stream> {
    (reports(name, raw), any::<Index>(), prop::bool::weighted(0.2)).prop_map(move |(reports, at, removed)| {
        let mut events = vec![added(name)];
        events.extend(reports.iter().map(|(key, value)| remote_report(name, raw, key, value.as_ref())));
        events.insert(1 + at.index(events.len()), synced(name));
        events.extend(removed.then(|| Event::RemoteRemoved { cluster: cluster(name) }));
        events
    })
}

fn streams() -> impl Strategy<Value = Vec<Stream>> {
    let services: Vec<_> = NAMES.into_iter().map(|name| service_stream(name).boxed()).collect();
    let slices = (1..=4).map(|number| slice_stream(format!("slice-{number}")).boxed());
    let remotes = REMOTES.into_iter().map(|(name, id)| remote_stream(name, id).boxed());
    services.into_iter().chain(slices).chain(remotes).collect::<Vec<_>>()
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

/// Only the newest value of every object, in a fixed order: what an agent sees that starts at the end.
fn newest(streams: &[Stream]) -> Vec<Event> {
    let mut events = Vec::new();
    for stream in streams {
        match stream.first() {
            Some(Event::RemoteAdded { .. }) => events.extend(stream.iter().cloned()),
            _ => events.extend(stream.last().cloned()),
        }
    }
    events
}

proptest! {
    #[test]
    fn any_order_converges(streams in streams(), first in choices(), second in choices()) {
        let mut agents = [Agent::running(), Agent::running()];
        agents[0].steps(interleave(&streams, &first));
        agents[1].steps(interleave(&streams, &second));
        prop_assert_eq!(&agents[0].maps, &agents[1].maps);
        let mut late = Agent::running();
        late.steps(newest(&streams));
        prop_assert_eq!(&agents[0].maps, &late.maps);
        prop_assert_eq!(agents[0].state.global_services(), late.state.global_services());
    }

    /// The moment of the release makes no difference to the outcome, and nothing leaves before it.
    #[test]
    fn any_release_converges(streams in streams(), order in choices(), at in any::<Index>(), restored in any::<bool>()) {
        let events = interleave(&streams, &order);
        let mut reference = Agent::running();
        reference.steps(events.clone());
        // What an earlier life left in the maps: right entries and others.
        let mut agent = Agent::new(config("alpha", 1, restored));
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
        before in reports("beta", 2),
        lost in reports("beta", 2),
        starts_over in any::<bool>(),
    ) {
        let mut agent = Agent::running();
        let local: Vec<Event> = locals.into_iter().flatten().collect();
        agent.steps(local.clone());
        agent.step(added("beta"));
        agent.steps(before.iter().map(|(key, value)| remote_report("beta", 2, key, value.as_ref())));
        agent.step(synced("beta"));

        let mut kvstore: BTreeMap<&ServiceKey, &ClusterService> = BTreeMap::new();
        for (key, value) in before.iter().chain(&lost) {
            match value {
                Some(value) => kvstore.insert(key, value),
                None => kvstore.remove(key),
            };
        }
        if starts_over {
            // A new reader knows nothing of what the old one had reported.
            agent.step(added("beta"));
        } else {
            // The same reader reports by itself what vanished.
            let reported: BTreeSet<&ServiceKey> = before.iter().map(|(key, _)| key).collect();
            let vanished = reported.into_iter().filter(|key| !kvstore.contains_key(*key));
            agent.steps(vanished.map(|key| remote_report("beta", 2, key, None)));
        }
        agent.steps(kvstore.iter().map(|(key, value)| remote_report("beta", 2, key, Some(value))));
        agent.step(synced("beta"));

        let mut fresh = Agent::running();
        fresh.steps(local);
        fresh.step(added("beta"));
        fresh.steps(kvstore.iter().map(|(key, value)| remote_report("beta", 2, key, Some(value))));
        prop_assert_eq!(agent.maps, fresh.maps);
        prop_assert_eq!(agent.state.remote_services(&cluster("beta")), kvstore.len());
    }
}
