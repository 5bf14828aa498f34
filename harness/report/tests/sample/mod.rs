//! Hand-made records: a small deterministic world that sends requests, loses backends and gets them back.

use std::collections::BTreeMap;

use meshbed_events::{
    Answer, DifferenceKind, ErrorKind, Event, Hop, HopStage, MapDifference, MapFrontend, MapState, Micros, Outcome,
    Request, RunInfo, RunRecord, SourcePlace, Stamped, StepOutcome, Stopwatch, Verdict,
};

const CLUSTERS: [&str; 2] = ["alpha", "beta"];
const MILLI: u64 = 1000;
/// How long a killed backend stays in the maps of the nodes: its own cluster's and the other one's.
const LAG: [u64; 2] = [1_900, 3_600];

/// A record in the making.
pub(crate) struct Sample {
    events: Vec<Stamped>,
    now: u64,
    random: u64,
    rate: u64,
    sequence: u64,
    steps: Vec<&'static str>,
    step: usize,
    /// By client cluster: clusters with backends in its nodes' maps.
    reach: [Vec<usize>; 2],
    /// Clusters whose backends are alive.
    alive: [bool; 2],
    faults: u32,
    changes: u64,
    /// Expectations of the step so far.
    expected: usize,
}

impl Sample {
    /// The events up to a mesh that is ready. `rate` is requests a second for each of the two clients.
    pub(crate) fn new(steps: &[&'static str], rate: u32) -> Self {
        let mut sample = Self {
            events: Vec::new(),
            now: 0,
            random: 7,
            rate: u64::from(rate),
            sequence: 0,
            steps: steps.to_vec(),
            step: 0,
            reach: [vec![0], vec![1]],
            alive: [true, true],
            faults: 0,
            changes: 0,
            expected: 0,
        };
        sample.push(Event::RunStarted(info(steps, rate)));
        for (took, what) in [(96, "namespaces"), (214, "etcd"), (310, "apiserver"), (402, "agents")] {
            sample.now = took * MILLI;
            sample.push(Event::MeshProgress { what: what.into() });
        }
        sample.now = 812 * MILLI;
        sample.push(Event::MeshReady);
        sample
    }

    /// Adds an event at the present time.
    pub(crate) fn push(&mut self, event: Event) {
        self.push_at(self.now, event);
    }

    fn push_at(&mut self, at: u64, event: Event) {
        self.events.push(Stamped { at: Micros(at), event });
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    /// Begins the next step.
    pub(crate) fn start(&mut self) -> &mut Self {
        self.now += 150;
        let name = self.steps[self.step].to_owned();
        self.push(Event::StepStarted { step: self.step, name, place: Some(place(self.step, 0)) });
        self
    }

    /// Both services become what `reach` says: clusters whose backends each cluster's nodes have.
    pub(crate) fn reach(&mut self, alpha: &[usize], beta: &[usize]) -> &mut Self {
        self.reach = [alpha.to_vec(), beta.to_vec()];
        for cluster in CLUSTERS {
            self.push(Event::ObjectChanged {
                cluster: cluster.into(),
                kind: "Service".into(),
                name: "default/rebel-base".into(),
                change: format!("applied, at {}", service_ip(cluster)),
            });
        }
        self.maps(0);
        self.hops();
        self
    }

    /// A change of alpha's service on its way to the maps of all nodes.
    fn hops(&mut self) {
        let change = self.changes;
        self.changes += 1;
        let hop = |stage, cluster: &str, node: Option<String>| {
            let service = "default/rebel-base".to_owned();
            Event::Hop(Hop { origin: "alpha".into(), service, change, stage, cluster: cluster.into(), node })
        };
        let start = self.now;
        self.push_at(start + 40, hop(HopStage::Api, "alpha", None));
        self.push_at(start + 410 + 10 * change, hop(HopStage::Exporter, "alpha", None));
        self.push_at(start + 980 + 20 * change, hop(HopStage::Etcd, "alpha", None));
        for (lag, name) in LAG.into_iter().zip(CLUSTERS) {
            for node in 1..=2 {
                let node_name = format!("{name}-{node}");
                self.push_at(start + lag - 700 + 30 * node, hop(HopStage::Agent, name, Some(node_name.clone())));
                self.push_at(start + lag - 100 * node, hop(HopStage::Map, name, Some(node_name)));
            }
        }
        let log = |process: &str, cluster: &str, level: &str, text: &str| Event::Log {
            process: process.into(),
            cluster: cluster.into(),
            level: level.into(),
            text: text.into(),
        };
        self.push_at(start + 500, log("exporter-alpha", "alpha", "info", "exported default/rebel-base"));
        self.push_at(
            start + 3_000,
            log("agent-beta-1", "beta", "warn", "service default/rebel-base: 2 backends <changed>"),
        );
    }

    /// Every node's maps follow; `stale` adds a disagreement until then.
    fn maps(&mut self, stale: u64) {
        for (cluster, name) in CLUSTERS.iter().enumerate() {
            for node in 1..=2 {
                let node_name = format!("{name}-{node}");
                let wrong_from = self.now + 300;
                let right = self.now + LAG[cluster] * stale.max(1) - 200 * node;
                let state = self.state(cluster);
                if stale > 0 {
                    let differences = vec![dead(cluster)];
                    let event = Event::MapWrong { cluster: (*name).into(), node: node_name.clone(), differences };
                    self.push_at(wrong_from, event);
                    let event = Event::MapEntryAged {
                        cluster: (*name).into(),
                        node: node_name.clone(),
                        difference: dead(cluster),
                        since: Micros(wrong_from),
                        to_the_end: false,
                    };
                    self.push_at(right + 40, event);
                }
                let event = Event::MapChanged { cluster: (*name).into(), node: node_name.clone(), state };
                self.push_at(right, event);
                self.push_at(right + 40, Event::MapRight { cluster: (*name).into(), node: node_name });
            }
        }
    }

    fn state(&self, cluster: usize) -> MapState {
        let mut active: Vec<String> = Vec::new();
        for home in self.reach[cluster].iter().filter(|home| self.alive[**home]) {
            active.extend((1..=2).map(|node| format!("10.{}.{node}.2:80/TCP", home + 1)));
        }
        let frontend = MapFrontend { active, ..MapFrontend::default() };
        let frontends = BTreeMap::from([(format!("{}:80/TCP", service_ip(CLUSTERS[cluster])), frontend)]);
        MapState { frontends, defects: Vec::new() }
    }

    /// Both clients send requests for so many milliseconds.
    pub(crate) fn traffic(&mut self, millis: u64) -> &mut Self {
        let end = self.now + millis * MILLI;
        let gap = 1_000_000 / self.rate;
        let mut sent = self.now + 400;
        while sent < end {
            for client in 0..2 {
                let outcome = self.outcome(client);
                let took = 350 + self.random(500) + if self.random(100) == 0 { 4_000 } else { 0 };
                self.request(client, sent + 60 * client as u64, took, outcome);
            }
            sent += gap;
        }
        self.now = end;
        self
    }

    fn outcome(&mut self, client: usize) -> Outcome {
        let homes: Vec<usize> = self.reach[client].iter().copied().filter(|home| self.alive[*home]).collect();
        if homes.is_empty() {
            return Outcome::Failed(ErrorKind::Unreachable);
        }
        let home = homes[self.random(homes.len() as u64) as usize];
        let node = 1 + self.random(2);
        answer(home, node)
    }

    /// Adds one request, sent at `sent`.
    pub(crate) fn request(&mut self, client: usize, sent: u64, took: u64, outcome: Outcome) {
        let request = Request {
            cluster: CLUSTERS[client].into(),
            client: format!("x-wing-6d8f9c7b5-{}", ["4xkzp", "q7wjn"][client]),
            node: format!("{}-1", CLUSTERS[client]),
            service: "default/rebel-base".into(),
            sequence: self.sequence / 2,
            sent: Micros(sent),
            done: Micros(sent + took),
            opened: None,
            outcome,
        };
        self.sequence += 1;
        self.push_at(sent + took, Event::Request(request));
    }

    /// Kills all backends of `cluster`, with witness (if wanted), stale maps, lost requests and a stopwatch.
    pub(crate) fn kill(&mut self, cluster: usize, witnessed: bool) -> &mut Self {
        let name = CLUSTERS[cluster];
        let fault = self.faults;
        self.faults += 1;
        let pods = (1..=2).map(|node| pod(cluster, node));
        let target = format!("{name}: 2 pods of rebel-base");
        let injected = self.now;
        self.push(Event::FaultInjected {
            fault,
            name: format!("{name}-dies"),
            kind: "pod-kill".into(),
            target: target.clone(),
            pods: pods.map(|pod| format!("{name}/{pod}")).collect(),
        });
        if witnessed {
            for pid in [4711, 4712] {
                self.push_at(injected + 240, Event::FaultWitnessed { fault, witness: format!("pid {pid} is gone") });
            }
        }
        self.alive[cluster] = false;
        self.maps(1);
        let mut lost = 0;
        for client in 0..2 {
            if self.reach[client].contains(&cluster) {
                self.request(client, injected - 300, 150, answer(cluster, 1));
                self.request(client, injected + 500, 90, Outcome::Failed(ErrorKind::Refused));
                lost += 1;
            }
        }
        let survivor = self.alive.iter().any(|alive| *alive);
        self.push_at(
            injected + 9_000,
            Event::Stopwatch(Stopwatch {
                fault,
                step: self.step,
                target,
                injected: Micros(injected),
                last_answer_of_dead: Some(Micros(injected - 150)),
                first_answer_after: survivor.then_some(Micros(injected + 1_310)),
                requests_lost: lost,
                detected: Some(Micros(injected + 1_200)),
                last_error: (lost > 0).then_some(Micros(injected + 590)),
                last_map_right: Some(Micros(injected + LAG[1] - 160)),
                last_map_node: Some("beta/beta-1".into()),
            }),
        );
        self.now += 10 * MILLI;
        self
    }

    /// Brings the backends of a killed cluster back.
    pub(crate) fn heal(&mut self, cluster: usize, fault: u32) -> &mut Self {
        self.push(Event::FaultHealed { fault, witness: "2 pods are ready".into() });
        self.alive[cluster] = true;
        self.maps(0);
        self
    }

    /// The mesh has settled after so many milliseconds.
    pub(crate) fn settle(&mut self, millis: u64) -> &mut Self {
        self.traffic(millis);
        self.push(Event::StepSettled { step: self.step });
        self
    }

    /// An expectation was looked at.
    pub(crate) fn expect(&mut self, expectation: &str, findings: &[&str]) -> &mut Self {
        self.expected += 1;
        self.push(Event::Expectation {
            step: self.step,
            expectation: expectation.into(),
            place: Some(place(self.step, self.expected)),
            findings: findings.iter().map(|finding| (*finding).to_owned()).collect(),
        });
        self
    }

    /// Ends the step.
    pub(crate) fn finish(&mut self, outcome: StepOutcome) -> &mut Self {
        self.push(Event::StepFinished { step: self.step, outcome });
        self.step += 1;
        self.expected = 0;
        self
    }

    /// Ends the run.
    pub(crate) fn end(&mut self, verdict: Verdict, exit_code: u8) -> RunRecord {
        self.now += 80 * MILLI;
        self.push(Event::RunFinished { verdict, exit_code });
        self.cut()
    }

    /// The record as it is, without an end.
    pub(crate) fn cut(&mut self) -> RunRecord {
        let mut events = std::mem::take(&mut self.events);
        events.sort_by_key(|stamped| stamped.at);
        RunRecord { events }
    }
}

fn info(steps: &[&str], rate: u32) -> RunInfo {
    RunInfo {
        run: "k3f9x2".into(),
        scenario: "failover".into(),
        question: "When every rebel-base of a cluster dies, who answers, how soon, and what is lost?".into(),
        scenario_file: "scenarios/failover.yaml".into(),
        topology: "two-clusters".into(),
        environment: "netns".into(),
        kernel: "6.18.5-cloud-amd64".into(),
        version: "0.1.0".into(),
        started: "2026-11-22T09:41:07Z".into(),
        clusters: CLUSTERS
            .iter()
            .map(|name| ((*name).into(), (1..=2).map(|node| format!("{name}-{node}")).collect()))
            .collect(),
        rate_per_second: rate,
        grace_us: 1_000_000,
        steps: steps.iter().map(|step| (*step).to_owned()).collect(),
        agent: "mesh-agent".into(),
        seed: 4711,
        repeat: 0,
        reproduce: "just e2e failover --seed 4711".into(),
        links: vec!["alpha -> beta: delay 40ms".into(), "beta -> alpha: delay 40ms, loss 1%".into()],
    }
}

/// Where a step, or its expectation number `line`, stands in the scenario file.
fn place(step: usize, line: usize) -> SourcePlace {
    SourcePlace {
        file: "scenarios/failover.yaml".into(),
        line: 10 * step + line + 12,
        column: if line > 0 { 9 } else { 5 },
    }
}

/// A backend of alpha that is dead, in the maps of a node of a cluster.
fn dead(cluster: usize) -> MapDifference {
    let frontend = format!("{}:80/TCP", service_ip(CLUSTERS[cluster]));
    MapDifference {
        kind: DifferenceKind::StaleBackend,
        service: Some("default/rebel-base".into()),
        message: format!("{frontend}: backend 10.1.1.2:80/TCP is dead but active"),
        frontend,
        backend: Some("10.1.1.2:80/TCP".into()),
        cluster: Some("alpha".into()),
    }
}

fn service_ip(cluster: &str) -> &'static str {
    if cluster == "alpha" { "10.101.0.10" } else { "10.102.0.10" }
}

fn pod(cluster: usize, node: u64) -> String {
    format!("rebel-base-5f7b8-{}", [["h2x9k", "m4tqv"], ["c8zdl", "w6rps"]][cluster][node as usize - 1])
}

/// An answer of the backend on a node.
pub(crate) fn answer(cluster: usize, node: u64) -> Outcome {
    Outcome::Answered(Answer {
        cluster: CLUSTERS[cluster].into(),
        pod: pod(cluster, node),
        ip: format!("10.{}.{node}.2", cluster + 1),
        status: 200,
    })
}

const SHORT: [&str; 3] =
    ["plain services stay at home", "both services become global", "alpha's rebel-bases are killed"];

/// Three steps that pass.
pub(crate) fn passed(rate: u32) -> RunRecord {
    let mut sample = two_steps(rate);
    killed(&mut sample, true);
    sample.expect("answers in alpha from beta", &[]).expect("at most 0 errors", &[]).finish(StepOutcome::Passed);
    sample.end(Verdict::Passed, 0)
}

fn two_steps(rate: u32) -> Sample {
    let mut sample = Sample::new(&SHORT, rate);
    sample.start().reach(&[0], &[1]).settle(200).traffic(800);
    sample
        .expect("answers in alpha from alpha", &[])
        .expect("answers in beta from beta", &[])
        .finish(StepOutcome::Passed);
    sample.start().reach(&[0, 1], &[0, 1]).settle(60).traffic(900);
    sample.expect("answers in alpha from alpha, beta", &[]).finish(StepOutcome::Passed);
    sample
}

fn killed(sample: &mut Sample, witnessed: bool) {
    sample.start().traffic(20).kill(0, witnessed).settle(90).traffic(900);
}

/// The third step fails: a dead backend is still in the maps.
pub(crate) fn failed(rate: u32) -> RunRecord {
    let mut sample = two_steps(rate);
    killed(&mut sample, true);
    let message = "alpha/alpha-2: default/rebel-base answered from 10.1.1.2 (rebel-base-5f7b8-h2x9k), which is dead";
    for _ in 0..7 {
        sample.push(Event::Violation { step: Some(2), message: message.into() });
    }
    let at = sample.now - 100;
    sample.request(0, at, 80, Outcome::Failed(ErrorKind::Refused));
    let findings = [
        "alpha/alpha-2: default/rebel-base: 1 request was refused",
        "scenarios/failover.yaml:41:5: 10.1.1.2 <dead> & \"kept\"",
    ];
    sample.expect("answers in alpha from beta", &[]).expect("at most 0 errors", &findings).finish(StepOutcome::Failed);
    sample.end(Verdict::Failed, 1)
}

/// The third step never settles.
pub(crate) fn timed_out(rate: u32) -> RunRecord {
    let mut sample = two_steps(rate);
    sample.start().traffic(20);
    let differences = vec![dead(0)];
    sample.push(Event::MapWrong { cluster: "alpha".into(), node: "alpha-2".into(), differences });
    sample.traffic(1500).finish(StepOutcome::TimedOut);
    sample.end(Verdict::TimedOut, 5)
}

/// A person stops the run in its second step.
pub(crate) fn interrupted(rate: u32) -> RunRecord {
    let mut sample = Sample::new(&SHORT, rate);
    sample.start().reach(&[0], &[1]).settle(200).traffic(800).finish(StepOutcome::Passed);
    sample.start().traffic(300);
    sample.push(Event::Note { text: "stopped by SIGINT".into() });
    sample.end(Verdict::Interrupted, 130)
}

/// The fault of the third step has no witness.
pub(crate) fn invalid(rate: u32) -> RunRecord {
    let mut sample = two_steps(rate);
    killed(&mut sample, false);
    sample.finish(StepOutcome::Invalid);
    sample.end(Verdict::Invalid, 4)
}

/// The mesh never comes up.
pub(crate) fn environment() -> RunRecord {
    let mut sample = Sample::new(&SHORT, 200);
    sample.events.truncate(2);
    sample.now = 130 * MILLI;
    sample.push(Event::Note { text: "etcd is not installed: apt-get install etcd-server".into() });
    sample.end(Verdict::Environment, 3)
}

/// Fourteen steps, as the failover scenario has them.
pub(crate) fn failover(rate: u32, steady_millis: u64) -> RunRecord {
    let names = [
        "plain services stay at home",
        "both services become global",
        "alpha's rebel-bases are killed",
        "they come back",
        "all backends in both clusters are gone",
        "all is well again",
        "beta shares no longer",
        "beta shares again",
        "affinity local",
        "affinity local, own backends killed",
        "affinity remote",
        "legacy annotation names",
        "legacy: alpha's rebel-bases are killed",
        "back to plain services",
    ];
    let mut sample = Sample::new(&names, rate);
    let good = StepOutcome::Passed;
    sample.start().reach(&[0], &[1]).settle(240).traffic(steady_millis);
    sample.expect("answers in alpha from alpha", &[]).expect("answers in beta from beta", &[]).finish(good);
    sample.start().reach(&[0, 1], &[0, 1]).settle(40).traffic(steady_millis);
    sample.expect("answers in alpha from alpha, beta", &[]).expect("answers in beta from alpha, beta", &[]);
    sample.expect("endpoints of rebel-base in alpha from alpha", &[]).finish(good);
    sample.start().traffic(20).kill(0, true).settle(130).traffic(steady_millis);
    sample.expect("answers in alpha from beta", &[]).expect("at most 0 errors", &[]).finish(good);
    sample
        .start()
        .heal(0, 0)
        .settle(210)
        .traffic(steady_millis)
        .expect("answers in alpha from alpha, beta", &[])
        .finish(good);
    sample.start().traffic(20).kill(0, true).traffic(20).kill(1, true).settle(120).traffic(steady_millis);
    sample.expect("requests in alpha fail within 100ms as unreachable, refused or not-permitted", &[]).finish(good);
    sample.start().heal(0, 1).traffic(30).heal(1, 2).settle(220).traffic(steady_millis).finish(good);
    sample
        .start()
        .reach(&[0], &[0, 1])
        .settle(30)
        .traffic(steady_millis)
        .expect("answers in alpha from alpha", &[])
        .finish(good);
    sample.start().reach(&[0, 1], &[0, 1]).settle(30).traffic(steady_millis).finish(good);
    sample
        .start()
        .reach(&[0], &[1])
        .settle(35)
        .traffic(steady_millis)
        .expect("answers in alpha from alpha", &[])
        .finish(good);
    sample.start().reach(&[0, 1], &[1]).traffic(15).kill(0, true).settle(120).traffic(steady_millis).finish(good);
    sample.start().heal(0, 3).reach(&[1], &[0]).settle(200).traffic(steady_millis).finish(good);
    sample.start().reach(&[0, 1], &[0, 1]).settle(30).traffic(steady_millis).finish(good);
    sample.start().traffic(20).kill(0, true).settle(110).traffic(steady_millis).finish(good);
    sample.start().heal(0, 4).reach(&[0], &[1]).settle(230).traffic(steady_millis).finish(good);
    sample.end(Verdict::Passed, 0)
}
