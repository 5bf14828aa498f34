//! Misbehaviour on order: who is hit, who is spared, and that nothing is left of it.

use std::pin::Pin;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt as _};
use meshbed_apiserver::Limits;
use meshbed_apiserver::admin::{
    Chance, ClientError, Connections, Effect, RefusedStatus, Rule, RuleReport, Target, Verb,
};
use serde_json::json;

use super::server::{DEADLINE, TestServer, next, object};

const AGENT: &str = "mesh-agent/0.1";
const HARNESS: &str = "meshbed-harness/0.1 engine";

type Events = Pin<Box<dyn Stream<Item = kube::Result<WatchEvent<ConfigMap>>> + Send>>;

/// A server, the agent's view of its config maps, and the harness's.
async fn server() -> (TestServer, Api<ConfigMap>, Api<ConfigMap>) {
    let server = TestServer::start().await;
    let agent = Api::default_namespaced(server.client_as(AGENT).await);
    let harness = Api::default_namespaced(server.client_as(HARNESS).await);
    (server, agent, harness)
}

async fn write(api: &Api<ConfigMap>, name: &str) {
    let patch = Patch::Apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}}));
    api.patch(name, &PatchParams::apply("test"), &patch).await.unwrap();
}

/// A watch that has told what was there: nothing.
async fn watch(api: &Api<ConfigMap>) -> Events {
    let revision = api.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    api.watch(&WatchParams::default(), &revision).await.unwrap().boxed()
}

async fn name_of_next(events: &mut Events) -> String {
    match next(events).await.unwrap() {
        WatchEvent::Added(map) | WatchEvent::Modified(map) => map.name_any(),
        other => panic!("{other:?}"),
    }
}

async fn ends(events: &mut Events) {
    let end = tokio::time::timeout(DEADLINE, events.next()).await.expect("the watch ends");
    assert!(end.is_none(), "{end:?}");
}

fn code<T: std::fmt::Debug>(result: kube::Result<T>) -> u16 {
    match result.unwrap_err() {
        kube::Error::Api(status) => status.code,
        other => panic!("{other:?}"),
    }
}

/// What the only rule has done.
async fn witness(server: &TestServer) -> RuleReport {
    let reports = server.admin().await.report().await.unwrap();
    assert_eq!(reports.len(), 1);
    reports[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_refused_and_the_harness_is_spared() {
    let (server, agent, harness) = server().await;
    write(&harness, "a").await;
    let mut admin = server.admin().await;
    // kube-rs repeats requests that are refused with 429 and 503, so this is the one that it passes on.
    let refuse = Effect::Refuse { status: RefusedStatus::InternalError, retry_after_seconds: None };
    for _ in 0..2 {
        admin.add(Rule::new("refuse", refuse)).await.unwrap();
        assert_eq!(code(agent.get("a").await), 500);
        harness.get("a").await.unwrap();
    }
    let report = admin.remove("refuse").await.unwrap().unwrap();
    assert_eq!((report.seen, report.hits), (1, 1), "the harness was no opportunity, and replacing starts anew");
    assert_eq!(report.hits_by_user_agent.into_iter().collect::<Vec<_>>(), [(AGENT.to_owned(), 1)]);
    agent.get("a").await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_the_words_of_kubernetes() {
    if !TestServer::has_kubectl() {
        return;
    }
    let (server, ..) = server().await;
    let target = Target { resources: vec!["configmaps".to_owned()], ..Target::default() };
    for (status, words) in [
        (RefusedStatus::TooManyRequests, "(TooManyRequests): too many requests, please try again later"),
        (RefusedStatus::InternalError, "(InternalError): Internal error occurred"),
        (RefusedStatus::ServiceUnavailable, "the server is currently unable to handle the request"),
    ] {
        let refuse = Effect::Refuse { status, retry_after_seconds: None };
        server.admin().await.add(Rule { target: target.clone(), ..Rule::new("refuse", refuse) }).await.unwrap();
        let error = server.kubectl_fails(&["get", "cm"], "").await;
        assert!(error.contains(words), "no `{words}` in\n{error}");
    }
    server.kubectl(&["get", "pods"]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_when_to_come_back() {
    if !TestServer::has_kubectl() {
        return;
    }
    let (server, ..) = server().await;
    let effect = Effect::Refuse { status: RefusedStatus::TooManyRequests, retry_after_seconds: Some(1) };
    let target = Target { resources: vec!["configmaps".to_owned()], ..Target::default() };
    let rule = Rule { target, chance: Chance::EveryNth { n: 2 }, ..Rule::new("refuse", effect) };
    server.admin().await.add(rule).await.unwrap();
    // client-go waits for as long as the header says, and asks again: the refused request is repeated.
    server.kubectl(&["get", "cm"]).await;
    let began = Instant::now();
    server.kubectl(&["get", "cm"]).await;
    assert!(began.elapsed() >= Duration::from_secs(1), "kubectl waited for {:?} only", began.elapsed());
    let report = witness(&server).await;
    assert_eq!((report.seen, report.hits), (3, 1));
    assert!(report.hits_by_user_agent.keys().all(|agent| agent.starts_with("kubectl/")), "{report:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_and_chances_are_kept_to() {
    let (server, agent, harness) = server().await;
    write(&harness, "a").await;
    let effect = Effect::Refuse { status: RefusedStatus::InternalError, retry_after_seconds: None };
    let target = Target { verbs: vec![Verb::Get], resources: vec!["configmaps".to_owned()], ..Target::default() };
    let rule = Rule { target, chance: Chance::EveryNth { n: 3 }, ..Rule::new("third", effect) };
    server.admin().await.add(rule).await.unwrap();
    let mut outcomes = Vec::new();
    for _ in 0..6 {
        outcomes.push(agent.get("a").await.is_ok());
        agent.list(&ListParams::default()).await.unwrap();
    }
    assert_eq!(outcomes, [true, true, false, true, true, false]);
    let report = witness(&server).await;
    assert_eq!((report.seen, report.hits), (6, 2));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_come_late_until_the_rule_is_gone() {
    let (server, agent, harness) = server().await;
    write(&harness, "a").await;
    let mut admin = server.admin().await;
    let by = Duration::from_millis(300);
    admin.add(Rule::new("slow", Effect::Delay { by })).await.unwrap();
    let began = Instant::now();
    write(&agent, "b").await;
    assert!(began.elapsed() >= by, "{:?}", began.elapsed());

    // What is held back when the rule goes is let go at once. The delay is longer than any test may take.
    admin.add(Rule::new("slow", Effect::Delay { by: Duration::from_secs(300) })).await.unwrap();
    let late = tokio::spawn({
        let agent = agent.clone();
        async move { write(&agent, "c").await }
    });
    let mut events = harness.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    while name_of_next(&mut events).await != "c" {}
    assert!(!late.is_finished(), "it is done, and the answer is still to come");
    admin.clear().await.unwrap();
    tokio::time::timeout(DEADLINE, late).await.expect("the answer is let go").unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_watches_are_closed_once_or_again_and_again() {
    let (server, agent, harness) = server().await;
    let (mut hit, mut spared) = (watch(&agent).await, watch(&harness).await);
    let mut admin = server.admin().await;
    admin.add(Rule::new("close", Effect::CloseWatches { every: None })).await.unwrap();
    ends(&mut hit).await;
    let mut again = watch(&agent).await;
    write(&harness, "a").await;
    assert_eq!(name_of_next(&mut again).await, "a", "a watch that is opened later stays");
    assert_eq!(name_of_next(&mut spared).await, "a");
    assert_eq!(witness(&server).await.hits, 1);

    let every = Some(Duration::from_millis(50));
    admin.add(Rule::new("close", Effect::CloseWatches { every })).await.unwrap();
    ends(&mut again).await;
    for _ in 0..3 {
        ends(&mut watch(&agent).await).await;
    }
    assert_eq!(witness(&server).await.hits, 4);
    admin.clear().await.unwrap();
    let mut last = watch(&agent).await;
    write(&harness, "b").await;
    assert_eq!(name_of_next(&mut last).await, "b");
    assert_eq!(name_of_next(&mut spared).await, "b");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_expire_and_informers_list_again() {
    let (server, agent, harness) = server().await;
    write(&harness, "a").await;
    let mut informer = Box::pin(watcher(agent.clone(), watcher::Config::default()));
    assert!(matches!(next(&mut informer).await, Ok(Event::Init)));
    assert!(matches!(next(&mut informer).await, Ok(Event::InitApply(_))));
    assert!(matches!(next(&mut informer).await, Ok(Event::InitDone)));
    // Its watch is open when it has told of a change.
    write(&harness, "b").await;
    assert!(matches!(next(&mut informer).await, Ok(Event::Apply(map)) if map.name_any() == "b"));
    let mut admin = server.admin().await;
    let once = Chance::EveryNth { n: 1 };
    admin.add(Rule { chance: once, ..Rule::new("expire", Effect::ExpireWatches) }).await.unwrap();
    assert!(next(&mut informer).await.is_err(), "the informer is told");
    let reports = admin.clear().await.unwrap();
    assert_eq!(reports[0].hits_by_user_agent.keys().collect::<Vec<_>>(), [AGENT]);
    assert!(matches!(next(&mut informer).await, Ok(Event::Init)), "and lists again");

    admin.add(Rule::new("expire", Effect::ExpireWatches)).await.unwrap();
    for (api, expired) in [(&agent, true), (&harness, false)] {
        let mut events = watch(api).await;
        write(&harness, if expired { "c" } else { "d" }).await;
        match next(&mut events).await.unwrap() {
            WatchEvent::Error(status) => assert!(expired && status.code == 410, "{status:?}"),
            other => assert!(!expired, "{other:?}"),
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forgotten_history_cannot_be_continued_from() {
    let (server, agent, harness) = server().await;
    write(&harness, "a").await;
    let before = agent.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let mut open = watch(&agent).await;
    write(&harness, "b").await;
    assert_eq!(name_of_next(&mut open).await, "b");
    let newest = server.admin().await.compact().await.unwrap();
    write(&harness, "c").await;
    assert_eq!(name_of_next(&mut open).await, "c", "watches that are open go on");
    for (api, revision, expired) in
        [(&agent, &before, true), (&harness, &before, true), (&agent, &newest.to_string(), false)]
    {
        let mut events = api.watch(&WatchParams::default(), revision).await.unwrap().boxed();
        match next(&mut events).await.unwrap() {
            WatchEvent::Error(status) => assert!(expired && status.code == 410, "{status:?}"),
            WatchEvent::Added(map) => assert!(!expired && map.name_any() == "c", "{map:?}"),
            other => panic!("{other:?}"),
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_watches_say_nothing_and_then_everything() {
    let (server, agent, harness) = server().await;
    let (mut frozen, mut spared) = (watch(&agent).await, watch(&harness).await);
    let mut admin = server.admin().await;
    admin.add(Rule::new("freeze", Effect::FreezeWatches)).await.unwrap();
    for name in ["a", "b", "c"] {
        write(&harness, name).await;
        assert_eq!(name_of_next(&mut spared).await, name);
    }
    // Opened under the rule: it gets its answer, and no event.
    let mut late = agent.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    let report = witness(&server).await;
    assert_eq!((report.hits, report.hits_by_user_agent.get(AGENT)), (2, Some(&2)));
    for events in [&mut frozen, &mut late] {
        assert!(futures::poll!(events.next()).is_pending());
    }
    admin.clear().await.unwrap();
    for events in [&mut frozen, &mut late] {
        for name in ["a", "b", "c"] {
            assert_eq!(name_of_next(events).await, name);
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_watch_that_missed_too_much_must_list_again() {
    let server = TestServer::with(Limits { watch_backlog: 2, ..Limits::default() }).await;
    let agent: Api<ConfigMap> = Api::default_namespaced(server.client_as(AGENT).await);
    let mut frozen = watch(&agent).await;
    let mut admin = server.admin().await;
    admin.add(Rule::new("freeze", Effect::FreezeWatches)).await.unwrap();
    for number in 0..5 {
        write(&agent, &format!("c{number}")).await;
    }
    admin.clear().await.unwrap();
    assert!(matches!(next(&mut frozen).await, Ok(WatchEvent::Error(status)) if status.code == 410));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_twice_and_late_and_in_order() {
    let (server, agent, harness) = server().await;
    let mut events = watch(&agent).await;
    let mut admin = server.admin().await;
    let by = Duration::from_millis(200);
    admin.add(Rule::new("late", Effect::DelayEvents { by })).await.unwrap();
    let every = Chance::EveryNth { n: 2 };
    admin.add(Rule { chance: every, ..Rule::new("twice", Effect::DuplicateEvents) }).await.unwrap();
    let began = Instant::now();
    for name in ["a", "b", "c"] {
        write(&harness, name).await;
    }
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(name_of_next(&mut events).await);
    }
    assert_eq!(seen, ["a", "b", "b", "c"]);
    assert!(began.elapsed() >= by, "{:?}", began.elapsed());
    let reports = admin.clear().await.unwrap();
    let hits: Vec<_> = reports.iter().map(|report| (report.rule.name.as_str(), report.seen, report.hits)).collect();
    assert_eq!(hits, [("late", 3, 3), ("twice", 3, 1)]);

    // What is late when the rule goes comes at once.
    admin.add(Rule::new("late", Effect::DelayEvents { by: Duration::from_secs(300) })).await.unwrap();
    write(&harness, "d").await;
    assert!(futures::poll!(events.next()).is_pending());
    admin.clear().await.unwrap();
    assert_eq!(name_of_next(&mut events).await, "d");
    write(&harness, "e").await;
    assert_eq!(name_of_next(&mut events).await, "e");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bookmarks_are_dropped() {
    let (server, agent, harness) = server().await;
    server.admin().await.add(Rule::new("drop", Effect::DropBookmarks)).await.unwrap();
    for (api, bookmarks) in [(&agent, 0), (&harness, 1)] {
        let revision = api.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
        // A watch whose time is up ends with a bookmark.
        let events = api.watch(&WatchParams::default().timeout(1), &revision).await.unwrap();
        let all: Vec<_> = tokio::time::timeout(DEADLINE, events.collect()).await.unwrap();
        assert_eq!(all.len(), bookmarks, "{all:?}");
    }
    assert_eq!(witness(&server).await.hits, 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_connections_are_refused_and_old_ones_cut_if_so_ordered() {
    let (server, agent, harness) = server().await;
    let (mut old, mut spared) = (watch(&agent).await, watch(&harness).await);
    // The watch has a connection to itself; this makes another one, which the client keeps for its next request.
    agent.list(&ListParams::default()).await.unwrap();
    let mut admin = server.admin().await;
    admin.add(Rule::new("refuse", Effect::RefuseConnections { existing: Connections::Keep })).await.unwrap();
    agent.list(&ListParams::default()).await.expect("the connection is there already");
    let newcomer: Api<ConfigMap> = Api::default_namespaced(server.client_as("newcomer").await);
    let error = newcomer.list(&ListParams::default()).await.unwrap_err();
    assert!(!matches!(error, kube::Error::Api(_)), "{error:?}");
    let friend: Api<ConfigMap> = Api::default_namespaced(server.client_as(HARNESS).await);
    friend.list(&ListParams::default()).await.unwrap();
    assert!(witness(&server).await.hits_by_user_agent.contains_key("newcomer"));

    admin.add(Rule::new("refuse", Effect::RefuseConnections { existing: Connections::Cut })).await.unwrap();
    let cut = tokio::time::timeout(DEADLINE, old.next()).await.expect("the watch breaks");
    assert!(cut.as_ref().is_none_or(Result::is_err), "{cut:?}");
    assert!(agent.list(&ListParams::default()).await.is_err(), "there is no way back in");
    write(&harness, "a").await;
    assert_eq!(name_of_next(&mut spared).await, "a");
    let report = witness(&server).await;
    assert!(report.hits_by_user_agent[AGENT] >= 2, "{report:?}");
    admin.clear().await.unwrap();
    agent.list(&ListParams::default()).await.unwrap();
    newcomer.create(&PostParams::default(), &object(json!({"metadata": {"name": "b"}}))).await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_refused_with_reasons() {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    let (server, ..) = server().await;
    let mut admin = server.admin().await;
    let rule = Rule { chance: Chance::Probability { of: 2.0 }, ..Rule::new("odd", Effect::FreezeWatches) };
    let error = admin.add(rule).await.unwrap_err();
    let expected = "rule `odd`: a probability is between 0 and 1, not 2";
    assert!(matches!(&error, ClientError::Refused { problem, .. } if problem == expected), "{error}");
    let error = admin.remove("nobody").await.unwrap_err().to_string();
    assert!(error.ends_with("refused: no rule `nobody` is in force"), "{error}");
    for number in 0..64 {
        admin.add(Rule::new(format!("r{number}"), Effect::DropBookmarks)).await.unwrap();
    }
    assert!(admin.add(Rule::new("one more", Effect::DropBookmarks)).await.is_err());
    admin.add(Rule::new("r0", Effect::DuplicateEvents)).await.expect("one of the same name is replaced");
    assert_eq!(admin.clear().await.unwrap().len(), 64);
    assert!(admin.report().await.unwrap().is_empty());

    // By hand, as with socat.
    let stream = tokio::net::UnixStream::connect(server.path("admin.sock")).await.unwrap();
    let mut stream = BufReader::new(stream);
    for (line, reply) in [
        ("{\"command\":\"report\"}", "{\"outcome\":\"done\",\"reports\":[]}"),
        ("{\"command\":\"dance\"}", "{\"outcome\":\"refused\",\"problem\":\"no request: unknown variant `dance`"),
        ("{\"command\":\"report\"}", "{\"outcome\":\"done\",\"reports\":[]}"),
    ] {
        stream.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(DEADLINE, stream.read_line(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with(reply), "{answer}");
    }
    server.stop().await;
}
