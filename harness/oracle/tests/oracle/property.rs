//! Random stories, told to the oracle and to a brute-force reading of the rules: they must agree.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    time::Duration,
};

use mesh_types::{BackendAddress, ClusterName, FrontendAddress, Protocol, Scope, ServiceKey};
use meshbed_events::{ErrorKind, MapFrontend, MapState, Micros};
use meshbed_oracle::{
    Acceptable, Asked, COMBINATIONS_MAX, Cut, CutId, Fate, Judgement, MapTruth, Observers, Oracle, Outcome,
};
use proptest::{
    collection::vec,
    option,
    prelude::{Just, Strategy, any},
    prop_assert, prop_assert_eq, prop_assume, prop_oneof, proptest,
    sample::select,
    test_runner::{Config, TestCaseError, TestCaseResult},
};
use serde_json::{Value, json};

use crate::brute_force::{self as brute, CLUSTERS, Happening, NODES, SERVICES, SLICES, Sides, Story, Who};

/// Stories begin here, so that there is a time before them.
const BEGINNING: i64 = 100;

const NAMES: [&str; CLUSTERS] = ["alpha", "beta", "gamma"];

// ---- stories ----

fn protocol() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just("TCP"), 1 => Just("UDP")]
}

fn annotations() -> impl Strategy<Value = BTreeMap<&'static str, &'static str>> {
    let truth = || option::weighted(0.7, select(vec!["true", "true", "True", "false", "yes"]));
    let rarely = || option::weighted(0.2, select(vec!["true", "false"]));
    let side = || select(vec!["local", "remote", "none", "Local", "nonsense"]);
    (truth(), rarely(), rarely(), rarely(), option::weighted(0.5, side()), option::weighted(0.1, side())).prop_map(
        |(global, legacy_global, shared, legacy_shared, affinity, legacy_affinity)| {
            let all = [
                ("service.cilium.io/global", global),
                ("io.cilium/global-service", legacy_global),
                ("service.cilium.io/shared", shared),
                ("io.cilium/shared-service", legacy_shared),
                ("service.cilium.io/affinity", affinity),
                ("io.cilium/service-affinity", legacy_affinity),
            ];
            all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
        },
    )
}

fn service(cluster: usize, number: usize) -> impl Strategy<Value = brute::Service> {
    let ip = Ipv4Addr::new(10, 101, byte(cluster), byte(number));
    let ip = prop_oneof![8 => Just(Some(ip)), 1 => Just(None)];
    let ports = prop_oneof![
        3 => protocol().prop_map(|protocol| vec![(String::new(), 80, protocol)]),
        2 => protocol().prop_map(|protocol| vec![("http".to_owned(), 80, protocol), ("web".to_owned(), 81, "TCP")]),
    ];
    (annotations(), prop_oneof![15 => Just(false), 1 => Just(true)], ip, ports)
        .prop_map(|(annotations, external_name, ip, ports)| brute::Service { annotations, external_name, ip, ports })
}

fn slice(cluster: usize, service: usize, index: usize) -> impl Strategy<Value = brute::Slice> {
    let condition = || option::weighted(0.7, any::<bool>());
    let endpoint = move |last: u8| {
        let ip = Ipv4Addr::new(10, byte(cluster + 1), byte(service * SLICES + index), last);
        (condition(), condition(), condition()).prop_map(move |(ready, serving, terminating)| brute::Endpoint {
            ip,
            ready,
            serving,
            terminating,
        })
    };
    let ports = prop_oneof![
        3 => protocol().prop_map(|protocol| vec![(String::new(), 8080, protocol)]),
        1 => protocol().prop_map(|protocol| vec![("http".to_owned(), 8080, protocol), ("web".to_owned(), 9090, "TCP")]),
        1 => Just(vec![("http".to_owned(), 8080, "TCP"), ("web".to_owned(), 8080, "TCP")]),
        1 => Just(vec![("other".to_owned(), 80, "TCP")]),
    ];
    let endpoints = (option::weighted(0.7, endpoint(1)), option::weighted(0.4, endpoint(2)));
    (ports, endpoints)
        .prop_map(|(ports, (one, two))| brute::Slice { ports, endpoints: one.into_iter().chain(two).collect() })
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![
        1 => (0..CLUSTERS, 0..NODES).prop_map(|(cluster, node)| Who::Node(cluster, node)),
        1 => (0..CLUSTERS).prop_map(Who::Nodes),
        2 => Just(Who::Others),
        2 => Just(Who::All),
    ]
}

/// Mostly the same one, so that things meet.
fn often_first(count: usize) -> impl Strategy<Value = usize> {
    prop_oneof![2 => Just(0), 1 => 0..count]
}

/// Times are counted from the cut here.
fn fate() -> impl Strategy<Value = brute::Fate> {
    prop_oneof![
        2 => Just(brute::Fate::Kept),
        1 => (0..20_i64).prop_map(brute::Fate::May),
        1 => (0..10_i64, 0..10_i64).prop_map(|(from, by)| brute::Fate::Must(from, from + by)),
    ]
}

fn cut() -> impl Strategy<Value = brute::Cut> {
    prop_oneof![
        6 => (who(), often_first(CLUSTERS), fate()).prop_map(|(who, about, fate)| brute::Cut::Knowledge(who, about, fate)),
        1 => (0..CLUSTERS, 0..NODES).prop_map(|(cluster, node)| brute::Cut::Maps(cluster, node)),
    ]
}

fn object() -> impl Strategy<Value = Happening> {
    let services = (often_first(CLUSTERS), often_first(SERVICES)).prop_flat_map(|(cluster, number)| {
        let spec = option::weighted(0.9, service(cluster, number));
        spec.prop_map(move |spec| Happening::Service(cluster, number, spec))
    });
    let slices = (often_first(CLUSTERS), often_first(SERVICES), 0..SLICES).prop_flat_map(|(cluster, number, index)| {
        let spec = option::weighted(0.9, slice(cluster, number, index));
        spec.prop_map(move |spec| Happening::Slice(cluster, number, index, spec))
    });
    prop_oneof![1 => services, 2 => slices]
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        8 => object(),
        3 => cut().prop_map(Happening::Cut),
        3 => (0..3_usize).prop_map(Happening::Mend),
        1 => (0..CLUSTERS, 0..NODES).prop_map(|(cluster, node)| Happening::Right(cluster, node)),
    ]
}

/// Everybody has a service at first; then things happen.
fn story(length: usize) -> impl Strategy<Value = Story> {
    let services: Vec<_> = (0..CLUSTERS)
        .flat_map(|cluster| (0..SERVICES).map(move |number| (cluster, number)))
        .map(|(cluster, number)| {
            service(cluster, number).prop_map(move |spec| Happening::Service(cluster, number, Some(spec)))
        })
        .collect();
    (services, vec(object(), 6), vec((1..4_i64, happening()), 0..length), 0..3_i64, 0..15_i64).prop_map(
        |(services, objects, rest, lag, reconvergence)| {
            let first = services.into_iter().chain(objects).map(|happening| (1, happening));
            let mut at = BEGINNING;
            let mut happenings = Vec::new();
            for (pause, happening) in first.chain(rest) {
                at += pause;
                happenings.push((at, from_now(happening, at)));
            }
            Story { happenings, lag, reconvergence }
        },
    )
}

/// The times of a fate, counted from the cut, as times of the story.
fn from_now(happening: Happening, at: i64) -> Happening {
    let Happening::Cut(brute::Cut::Knowledge(who, about, fate)) = happening else { return happening };
    let fate = match fate {
        brute::Fate::Kept => brute::Fate::Kept,
        brute::Fate::May(from) => brute::Fate::May(at + from),
        brute::Fate::Must(from, by) => brute::Fate::Must(at + from, at + by),
    };
    Happening::Cut(brute::Cut::Knowledge(who, about, fate))
}

// ---- telling them to the oracle ----

fn byte(number: usize) -> u8 {
    u8::try_from(number).expect("the numbers here are small")
}

fn micros(at: i64) -> Micros {
    Micros(u64::try_from(at).expect("stories begin late enough"))
}

fn cluster(index: usize) -> ClusterName {
    ClusterName::new(NAMES[index]).expect("a valid name")
}

fn node(cluster: usize, index: usize) -> String {
    format!("{}-{index}", NAMES[cluster])
}

fn key(service: usize) -> ServiceKey {
    ServiceKey::new("default", format!("service-{service}"))
}

fn ports(ports: &[brute::Port]) -> Value {
    ports.iter().map(|(name, number, protocol)| json!({"name": name, "port": number, "protocol": protocol})).collect()
}

fn service_object(number: usize, spec: Option<&brute::Service>) -> Value {
    let mut object = json!({"kind": "Service", "metadata": {"namespace": "default", "name": key(number).name}});
    if let Some(spec) = spec {
        object["metadata"]["annotations"] = json!(spec.annotations);
        object["spec"] = json!({
            "type": if spec.external_name { "ExternalName" } else { "ClusterIP" },
            "clusterIP": spec.ip.map_or_else(|| "None".to_owned(), |ip| ip.to_string()),
            "ports": ports(&spec.ports),
        });
    }
    object
}

fn slice_object(number: usize, index: usize, spec: Option<&brute::Slice>) -> Value {
    let name = key(number).name;
    let mut object = json!({"kind": "EndpointSlice", "addressType": "IPv4", "metadata": {
        "namespace": "default", "name": format!("{name}-{index}"), "labels": {"kubernetes.io/service-name": name}}});
    if let Some(spec) = spec {
        let endpoint = |endpoint: &brute::Endpoint| {
            let conditions =
                json!({"ready": endpoint.ready, "serving": endpoint.serving, "terminating": endpoint.terminating});
            json!({"addresses": [endpoint.ip], "conditions": conditions})
        };
        object["endpoints"] = spec.endpoints.iter().map(endpoint).collect();
        object["ports"] = ports(&spec.ports);
    }
    object
}

fn cut_of(cut: brute::Cut) -> Cut {
    match cut {
        brute::Cut::Maps(of, index) => Cut::NodeMaps { cluster: cluster(of), node: node(of, index) },
        brute::Cut::Knowledge(who, about, fate) => Cut::Knowledge {
            observers: match who {
                Who::Node(of, index) => Observers::Node(cluster(of), node(of, index)),
                Who::Nodes(of) => Observers::ClusterNodes(cluster(of)),
                Who::Others => Observers::OtherClusters,
                Who::All => Observers::All,
            },
            about: cluster(about),
            fate: match fate {
                brute::Fate::Kept => Fate::Kept,
                brute::Fate::May(from) => Fate::MayVanish { from: micros(from) },
                brute::Fate::Must(from, by) => Fate::MustVanish { from: micros(from), by: micros(by) },
            },
        },
    }
}

struct Teller {
    oracle: Oracle,
    cuts: Vec<CutId>,
}

impl Teller {
    fn new(story: &Story, grace: i64) -> Self {
        let topology = (0..CLUSTERS).map(|of| (cluster(of), (0..NODES).map(|index| node(of, index)).collect()));
        let duration = |micros: i64| Duration::from_micros(u64::try_from(micros).expect("not negative"));
        let oracle = Oracle::new(topology, duration(grace))
            .with_observation_lag(duration(story.lag))
            .with_reconvergence_max(duration(story.reconvergence));
        Self { oracle, cuts: Vec::new() }
    }

    fn tell(&mut self, at: i64, happening: &Happening) {
        let at = micros(at);
        let told = match happening {
            Happening::Service(of, number, spec) => {
                let object = service_object(*number, spec.as_ref());
                self.oracle.service(at, &cluster(*of), &object, spec.is_none())
            }
            Happening::Slice(of, number, index, spec) => {
                let object = slice_object(*number, *index, spec.as_ref());
                self.oracle.slice(at, &cluster(*of), &object, spec.is_none())
            }
            Happening::Cut(cut) => {
                self.cuts.push(self.oracle.cut(at, cut_of(*cut)));
                Ok(())
            }
            Happening::Mend(index) => {
                self.cuts.get(*index).into_iter().for_each(|id| self.oracle.mend(at, *id));
                Ok(())
            }
            Happening::Right(of, index) => {
                self.oracle.node_right(at, &cluster(*of), &node(*of, *index));
                Ok(())
            }
        };
        told.expect("the objects here are readable");
    }

    fn told(story: &Story, grace: i64) -> Oracle {
        let mut teller = Self::new(story, grace);
        for (at, happening) in &story.happenings {
            teller.tell(*at, happening);
        }
        teller.oracle
    }
}

// ---- comparing ----

fn protocol_of(name: &str) -> Protocol {
    name.parse().expect("TCP or UDP")
}

fn addresses(side: &BTreeSet<brute::Backend>) -> BTreeSet<BackendAddress> {
    side.iter().map(|&(_, ip, port, protocol)| BackendAddress { ip, port, protocol: protocol_of(protocol) }).collect()
}

fn frontend((ip, port, protocol): brute::Frontend) -> FrontendAddress {
    FrontendAddress { ip, port, protocol: protocol_of(protocol), scope: Scope::External }
}

/// Active, inactive, tolerated.
type Possibility = [BTreeSet<BackendAddress>; 3];

/// What may be behind each frontend by brute force, and in how many worlds of how many it is.
type Possibilities = BTreeMap<FrontendAddress, (usize, usize, BTreeSet<Possibility>)>;

fn possibilities(story: &Story, me: (usize, usize), at: i64) -> Possibilities {
    let mut found = Possibilities::new();
    for service in 0..SERVICES {
        let worlds = story.worlds(me, service, at, true);
        for world in &worlds {
            for (address, Sides { active, inactive, tolerated }) in brute::frontends(world, me.0) {
                let entry = found.entry(frontend(address)).or_insert((0, worlds.len(), BTreeSet::new()));
                entry.0 += 1;
                entry.2.insert([addresses(&active), addresses(&inactive), addresses(&tolerated)]);
            }
        }
    }
    found
}

/// What the oracle says is what brute force says; where it is coarse, it is so on the safe side.
fn agree(truth: &MapTruth, expected: &Possibilities) -> TestCaseResult {
    prop_assert!(truth.frontends.keys().eq(expected.keys()), "{:?} and {:?}", truth.frontends.keys(), expected.keys());
    for (address, choice) in &truth.frontends {
        let (count, worlds, possibilities) = &expected[address];
        match &choice.acceptable {
            Acceptable::OneOf(truths) => {
                prop_assert_eq!(choice.may_be_absent, count < worlds);
                let said: BTreeSet<Possibility> = truths
                    .iter()
                    .map(|truth| [truth.active.clone(), truth.inactive.clone(), truth.tolerated.clone()])
                    .collect();
                prop_assert_eq!(&said, possibilities);
            }
            Acceptable::Within(bounds) => {
                prop_assert!(*worlds > COMBINATIONS_MAX, "only {} worlds", worlds);
                prop_assert!(choice.may_be_absent || count == worlds);
                for [active, inactive, tolerated] in possibilities {
                    prop_assert!(active.is_subset(&bounds.widest.active));
                    prop_assert!(inactive.is_subset(&bounds.widest.inactive));
                    prop_assert!(tolerated.is_subset(&bounds.widest.tolerated));
                    prop_assert!(bounds.required.iter().all(|must| active.contains(must) || inactive.contains(must)));
                    prop_assert!(bounds.may_be_empty || !active.is_empty());
                }
            }
        }
    }
    Ok(())
}

/// Maps that hold exactly a possibility are right; with one entry more or less they are, only if that is possible too.
fn differences_agree(truth: &MapTruth, expected: &Possibilities) -> TestCaseResult {
    let texts = |side: &BTreeSet<BackendAddress>| side.iter().map(ToString::to_string).collect::<Vec<_>>();
    let maps = |of: &FrontendAddress, sides: &Possibility| {
        let others = expected.iter().filter(|(address, _)| *address != of);
        let others = others.map(|(address, (_, _, sides))| (address, sides.first().expect("seen in a world").clone()));
        let all = others.chain([(of, sides.clone())]);
        let all = all.map(|(address, [active, inactive, _])| {
            (
                address.to_string(),
                MapFrontend { active: texts(&active), inactive: texts(&inactive), ..MapFrontend::default() },
            )
        });
        MapState { frontends: all.collect(), ..MapState::default() }
    };
    for (address, (_, worlds, possibilities)) in expected {
        for sides in possibilities {
            let wrong = truth.differences(&maps(address, sides));
            prop_assert!(wrong.is_empty(), "{:?}", wrong);
            for backend in &sides[0] {
                let mut less = sides.clone();
                less[0].remove(backend);
                let is_right = |[active, inactive, tolerated]: &Possibility| {
                    less[0] == *active
                        && less[1].is_superset(inactive)
                        && less[1].iter().all(|b| inactive.contains(b) || tolerated.contains(b))
                };
                let found = truth.differences(&maps(address, &less));
                let right = possibilities.iter().any(is_right);
                prop_assert!(*worlds > COMBINATIONS_MAX || found.is_empty() == right, "{:?} in {:?}", found, less);
            }
        }
    }
    Ok(())
}

fn check_truth(story: &Story, oracle: &Oracle, me: (usize, usize), at: i64) -> TestCaseResult {
    let truth = oracle.truth_at(micros(at), &cluster(me.0), &node(me.0, me.1));
    let unknown = story.maps_unknown(me, at, true);
    prop_assert_eq!(truth.unknown, unknown);
    if unknown {
        return Ok(());
    }
    let expected = possibilities(story, me, at);
    agree(&truth, &expected)?;
    differences_agree(&truth, &expected)
}

fn config(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

proptest! {
    #![proptest_config(config(1200))]

    /// At every moment of a story, told up to then or to its end.
    #[test]
    fn truths_agree(story in story(20), me in (0..CLUSTERS, 0..NODES)) {
        let whole = Teller::told(&story, 0);
        let mut teller = Teller::new(&story, 0);
        let mut part = Story { happenings: Vec::new(), ..story };
        for (at, happening) in &story.happenings {
            teller.tell(*at, happening);
            part.happenings.push((*at, happening.clone()));
            check_truth(&part, &teller.oracle, me, *at)?;
            check_truth(&story, &whole, me, *at)?;
            check_truth(&story, &whole, me, at + 7)?;
        }
    }

    /// An answer is right exactly when brute force allows it at some moment of the interval.
    #[test]
    fn judgements_agree(
        story in story(14), me in (0..CLUSTERS, 0..NODES), service in often_first(SERVICES), port in often_first(2),
        sent in 0..40_i64, took in 0..6_i64, opened in option::of(0..10_i64), grace in 0..5_i64,
        heard in 0..20_i64,
    ) {
        let oracle = Teller::told(&story, grace);
        let port = 80 + u16::from(byte(port));
        let sent = BEGINNING + 10 + sent;
        let start = sent - opened.unwrap_or(0) - grace;
        let heard = sent + heard;
        let end = heard.max(sent + took + story.lag);
        let asked = |outcome| Asked {
            cluster: cluster(me.0), node: node(me.0, me.1), service: key(service), port,
            sent: micros(sent), done: micros(sent + took), opened: opened.map(|before| micros(sent - before)), outcome,
        };
        let mut allowed = BTreeSet::new();
        let mut nobody = false;
        for at in start..=end {
            for world in story.worlds(me, service, at, false) {
                let frontends = brute::frontends(&world, me.0);
                let asked: Vec<_> = frontends.iter().filter(|((_, p, protocol), _)| *p == port && *protocol == "TCP").collect();
                nobody |= asked.iter().all(|(_, sides)| sides.active.is_empty());
                allowed.extend(asked.iter().flat_map(|(_, sides)| &sides.active).map(|(of, ip, _, _)| (*of, *ip)));
            }
        }
        let excused = (start..=end).any(|at| story.maps_unknown(me, at, false));
        for (of, third, last) in (0..CLUSTERS).flat_map(|of| (0..4).flat_map(move |third| (1..=3).map(move |last| (of, third, last)))) {
            let ip = Ipv4Addr::new(10, byte(of + 1), third, last);
            let judged = oracle.judge(&asked(Outcome::Answered { ip, cluster: cluster(of) }), micros(heard));
            match judged {
                Judgement::Right => prop_assert!(allowed.contains(&(of, ip)), "{} may not answer", ip),
                Judgement::Excused { why } => prop_assert!(excused && !allowed.contains(&(of, ip)), "{}", why),
                Judgement::Wrong { message } => prop_assert!(!excused && !allowed.contains(&(of, ip)), "{}", message),
            }
        }
        let failed = oracle.judge(&asked(Outcome::Failed(ErrorKind::Unreachable)), micros(heard));
        let faultless = !story.happenings.iter().any(|(_, happening)| matches!(happening, Happening::Cut(_)));
        prop_assert!(!nobody || failed == Judgement::Right, "nobody may be there: {:?}", failed);
        let wrong = matches!(failed, Judgement::Wrong { .. });
        prop_assert!(nobody || !faultless || wrong, "somebody is always there: {:?}", failed);
    }

    /// The same instant by the strict reading of the API, and through the eyes of a node.
    #[test]
    fn allowed_agrees(story in story(12), me in (0..CLUSTERS, 0..NODES), service in often_first(SERVICES), port in often_first(2)) {
        let oracle = Teller::told(&story, 0);
        let port = 80 + u16::from(byte(port));
        let uncut = Story { happenings: story.happenings.iter().filter(|(_, it)| !matches!(it, Happening::Cut(_))).cloned().collect(), ..story };
        for (at, _) in &story.happenings {
            let by_force = |story: &Story| -> BTreeSet<(ClusterName, BackendAddress)> {
                let worlds = story.worlds(me, service, *at, false);
                let sides = worlds.iter().flat_map(|world| brute::frontends(world, me.0));
                let asked = sides.filter(|((_, p, protocol), _)| *p == port && *protocol == "TCP");
                let active = asked.flat_map(|(_, sides)| sides.active);
                active.map(|(of, ip, port, protocol)| (cluster(of), BackendAddress { ip, port, protocol: protocol_of(protocol) })).collect()
            };
            let (here, there) = (cluster(me.0), node(me.0, me.1));
            let strict = oracle.allowed(micros(*at), &here, &key(service), port);
            let strict: BTreeSet<_> = strict.into_iter().map(|backend| (backend.cluster, backend.address)).collect();
            prop_assert_eq!(strict, by_force(&uncut));
            let possible = oracle.possible(micros(*at), &here, &there, &key(service), port);
            let possible: BTreeSet<_> = possible.into_iter().map(|backend| (backend.cluster, backend.address)).collect();
            prop_assert_eq!(possible, by_force(&story));
        }
    }
}

/// Many versions of many objects under one cut: more worlds than are looked at one by one.
fn long_story() -> impl Strategy<Value = Story> {
    // Mostly of the same ports: else no two versions have anything in common.
    let versions = |cluster: usize, index: usize| {
        (vec(slice(cluster, 0, index), 5), prop_oneof![4 => Just(true), 1 => Just(false)]).prop_map(
            move |(mut specs, same)| {
                for later in 1..specs.len() {
                    if same {
                        specs[later].ports = specs[0].ports.clone();
                    }
                }
                specs.into_iter().map(|spec| Happening::Slice(cluster, 0, index, Some(spec))).collect::<Vec<_>>()
            },
        )
    };
    // Mostly services that are merged and prefer a side: there the worlds differ most.
    let merged = |cluster| {
        let annotations = select(vec!["local", "remote", "none"]).prop_map(|side| {
            BTreeMap::from([("service.cilium.io/global", "true"), ("service.cilium.io/affinity", side)])
        });
        (service(cluster, 0), option::weighted(0.8, annotations)).prop_map(|(service, annotations)| brute::Service {
            annotations: annotations.unwrap_or_else(|| service.annotations.clone()),
            ..service
        })
    };
    let services = (merged(0), merged(1), merged(2), merged(0));
    let slices = (versions(0, 0), versions(0, 1), versions(1, 0), versions(2, 0));
    (services, slices).prop_map(|((a, b, c, d), (w, x, y, z))| {
        let services = [(0, a), (1, b), (2, c)].map(|(of, spec)| Happening::Service(of, 0, Some(spec)));
        let cuts = (0..CLUSTERS).map(|about| Happening::Cut(brute::Cut::Knowledge(Who::All, about, brute::Fate::Kept)));
        let slices = [w, x, y, z];
        let first = slices.iter().map(|versions| versions[0].clone());
        let rest = slices.iter().flat_map(|versions| versions[1..].to_vec());
        let all = services.into_iter().chain(first).chain(cuts).chain(rest);
        let all = all.chain([Happening::Service(0, 0, Some(d))]);
        let happenings = (BEGINNING..).zip(all).collect();
        Story { happenings, lag: 0, reconvergence: 0 }
    })
}

proptest! {
    #![proptest_config(config(160))]

    /// The coarse rule never forbids what is possible and never demands what is not necessary.
    #[test]
    fn bounds_are_on_the_safe_side(story in long_story(), cluster_of_node in 0..CLUSTERS) {
        let oracle = Teller::told(&story, 0);
        let at = story.happenings.last().map_or(BEGINNING, |(at, _)| *at);
        let me = (cluster_of_node, 0);
        let truth = oracle.truth_at(micros(at), &cluster(me.0), &node(me.0, me.1));
        let expected = possibilities(&story, me, at);
        let coarse = truth.frontends.values().any(|choice| matches!(choice.acceptable, Acceptable::Within(_)));
        prop_assume!(coarse);
        agree(&truth, &expected)?;
        differences_agree(&truth, &expected)?;
    }
}

/// A mesh without objects.
#[test]
fn an_empty_story() -> Result<(), TestCaseError> {
    let story = Story::default();
    check_truth(&story, &Teller::told(&story, 0), (0, 0), BEGINNING)
}
