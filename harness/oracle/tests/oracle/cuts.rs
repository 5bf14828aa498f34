//! Faults as the oracle is told of them: what is right while something is cut, and what is excused.

use std::{net::Ipv4Addr, time::Duration};

use mesh_types::ClusterName;
use meshbed_events::{ErrorKind, Micros};
use meshbed_oracle::{Asked, Cut, Fate, Judgement, Observers, Oracle, Outcome, Place};
use test_case::test_case;

use crate::mesh::{Annotations, cluster, lines, maps, oracle, ready, rebel_base, service, slice, tell, terminating};
use serde_json::{Value, json};

const GLOBAL: Annotations<'static> = &[("service.cilium.io/global", "true")];
const FRONTEND: &str = "10.101.0.10:80/TCP";
const GRACE: Duration = Duration::from_micros(100);
/// How long after a cut old knowledge is tolerated here.
const TOLERANCE: Duration = Duration::from_micros(5000);

/// Since 1000 alpha has A and beta has B1.
fn mesh() -> Oracle {
    let mut oracle = oracle(GRACE).with_reconvergence_max(TOLERANCE);
    for (name, ip) in [("alpha", "10.1.1.1"), ("beta", "10.2.1.1")] {
        tell(&mut oracle, 1000, name, &service(GLOBAL));
        tell(&mut oracle, 1000, name, &slice(&[on(name, ip)]));
    }
    oracle
}

/// A ready endpoint on the first node of its cluster.
fn on(name: &str, ip: &str) -> Value {
    let mut endpoint = ready(ip);
    endpoint["nodeName"] = json!(format!("{name}-1"));
    endpoint
}

fn no_news_of_beta(fate: Fate) -> Cut {
    Cut::Knowledge { observers: Observers::OtherClusters, about: cluster("beta"), fate }
}

/// Beta's backend becomes B2 at 3000, then B3 at 3500.
fn beta_goes_on(oracle: &mut Oracle) {
    tell(oracle, 3000, "beta", &slice(&[on("beta", "10.2.1.2")]));
    tell(oracle, 3500, "beta", &slice(&[on("beta", "10.2.1.3")]));
}

/// What is wrong at `at` with alpha's maps when they hold A and these.
fn wrong(oracle: &Oracle, at: u64, remote: &[&str]) -> String {
    wrong_at(oracle, at, ("alpha", "alpha-1"), &[&["10.1.1.1:8080/TCP"], remote].concat())
}

fn wrong_at(oracle: &Oracle, at: u64, (name, node): (&str, &str), active: &[&str]) -> String {
    lines(&oracle.truth_at(Micros(at), &cluster(name), node).differences(&maps(&[(FRONTEND, active, &[])])))
}

const B1: &str = "10.2.1.1:8080/TCP";
const B2: &str = "10.2.1.2:8080/TCP";
const B3: &str = "10.2.1.3:8080/TCP";

#[test_case(&[B1] => true ; "what was known before")]
#[test_case(&[B2] => true ; "what was known in between")]
#[test_case(&[B3] => true ; "the newest")]
#[test_case(&[] => false ; "nothing")]
#[test_case(&[B1, B2] => false ; "two versions at once")]
#[test_case(&["10.2.1.9:8080/TCP"] => false ; "what never was")]
fn kept_knowledge(remote: &[&str]) -> bool {
    let mut oracle = mesh();
    oracle.cut(Micros(2000), no_news_of_beta(Fate::Kept));
    beta_goes_on(&mut oracle);
    wrong(&oracle, 4000, remote).is_empty()
}

#[test]
fn the_nearest_possibility_counts() {
    let mut oracle = mesh();
    oracle.cut(Micros(2000), no_news_of_beta(Fate::Kept));
    beta_goes_on(&mut oracle);
    insta::assert_snapshot!(wrong(&oracle, 4000, &[B1, "10.9.9.9:1/TCP"]), @"
    ForeignBackend: service default/rebel-base (10.101.0.10:80/TCP): active backend 10.9.9.9:1/TCP should not be there
    ");
    insta::assert_snapshot!(wrong(&oracle, 4000, &[]), @"
    MissingBackend: service default/rebel-base (10.101.0.10:80/TCP): active backend 10.2.1.3:8080/TCP of beta is missing
    ");
}

/// The cluster itself, and everybody who was not named, must have the newest news.
#[test]
fn others_are_not_excused() {
    let mut oracle = mesh();
    let observers = Observers::Node(cluster("alpha"), "alpha-1".to_owned());
    oracle.cut(Micros(2000), Cut::Knowledge { observers, about: cluster("beta"), fate: Fate::Kept });
    beta_goes_on(&mut oracle);
    let old = ["10.1.1.1:8080/TCP", B1];
    assert_eq!(wrong_at(&oracle, 4000, ("alpha", "alpha-1"), &old), "");
    assert_ne!(wrong_at(&oracle, 4000, ("alpha", "alpha-2"), &old), "", "the other node of alpha");
    assert_ne!(wrong_at(&oracle, 4000, ("beta", "beta-1"), &old), "", "beta's own node");
}

/// Only what changed while nobody could hear it is open: before the cut the news were there.
#[test]
fn knowledge_starts_just_before_the_cut() {
    let mut oracle = mesh();
    beta_goes_on(&mut oracle);
    oracle.cut(Micros(3500), no_news_of_beta(Fate::Kept));
    assert_eq!(wrong(&oracle, 4000, &[B3]), "");
    assert_eq!(wrong(&oracle, 4000, &[B2]), "", "the newest news came in the moment of the cut");
    assert_ne!(wrong(&oracle, 4000, &[B1]), "");
    let lazy = mesh().with_observation_lag(Duration::from_micros(600));
    let mut oracle = lazy;
    beta_goes_on(&mut oracle);
    oracle.cut(Micros(3500), no_news_of_beta(Fate::Kept));
    assert_eq!(wrong(&oracle, 4000, &[B1]), "", "within the lag");
}

#[test_case(2400, &[B1] => true ; "not yet, kept")]
#[test_case(2499, &[] => false ; "not yet, gone")]
#[test_case(2500, &[] => true ; "may be gone")]
#[test_case(9000, &[B1] => true ; "may be there for ever")]
fn knowledge_that_may_vanish(at: u64, remote: &[&str]) -> bool {
    let mut oracle = mesh();
    oracle.cut(Micros(2000), no_news_of_beta(Fate::MayVanish { from: Micros(2500) }));
    wrong(&oracle, at, remote).is_empty()
}

#[test_case(2400, &[] => false ; "not yet")]
#[test_case(2600, &[] => true ; "may be gone")]
#[test_case(2999, &[B1] => true ; "may still be there")]
#[test_case(3000, &[B1] => false ; "must be gone")]
#[test_case(3000, &[] => true ; "is gone")]
fn knowledge_that_must_vanish(at: u64, remote: &[&str]) -> bool {
    let mut oracle = mesh();
    let fate = Fate::MustVanish { from: Micros(2500), by: Micros(3000) };
    oracle.cut(Micros(2000), no_news_of_beta(fate));
    wrong(&oracle, at, remote).is_empty()
}

#[test]
fn the_future_is_announced() {
    let mut oracle = mesh();
    let cut = oracle.cut(Micros(2000), no_news_of_beta(Fate::MustVanish { from: Micros(2500), by: Micros(3000) }));
    assert_eq!(oracle.truth_changes_after(Micros(2000)), Some(Micros(2500)));
    assert_eq!(oracle.truth_changes_after(Micros(2500)), Some(Micros(3000)));
    assert_eq!(oracle.truth_changes_after(Micros(3000)), None);
    oracle.mend(Micros(2100), cut);
    assert_eq!(oracle.truth_changes_after(Micros(2100)), None, "what is mended does not happen");
}

#[test]
fn mended_means_strict() {
    let mut oracle = mesh();
    let cut = oracle.cut(Micros(2000), no_news_of_beta(Fate::Kept));
    beta_goes_on(&mut oracle);
    oracle.mend(Micros(5000), cut);
    assert_eq!(wrong(&oracle, 4999, &[B1]), "");
    assert_ne!(wrong(&oracle, 5000, &[B1]), "");
    assert_eq!(oracle.truth(&cluster("alpha"), "alpha-1"), oracle.truth_at(Micros(5000), &cluster("alpha"), "alpha-1"));
}

/// The own Kubernetes API is gone, and its objects change in another order than they were heard.
#[test]
fn each_object_has_its_own_version() {
    let mut oracle = mesh();
    let observers = Observers::ClusterNodes(cluster("alpha"));
    oracle.cut(Micros(2000), Cut::Knowledge { observers, about: cluster("alpha"), fate: Fate::Kept });
    tell(&mut oracle, 3000, "alpha", &service(&[]));
    tell(&mut oracle, 3100, "alpha", &slice(&[ready("10.1.1.2")]));
    let holds = |active: &[&str]| wrong_at(&oracle, 4000, ("alpha", "alpha-1"), active).is_empty();
    assert!(holds(&["10.1.1.1:8080/TCP", B1]), "both old");
    assert!(holds(&["10.1.1.2:8080/TCP"]), "both new");
    assert!(holds(&["10.1.1.1:8080/TCP"]), "the service is new, the slice is not");
    assert!(holds(&["10.1.1.2:8080/TCP", B1]), "the other way round");
    assert!(!holds(&[B1]), "no slice at all");
}

#[test]
fn a_frontend_may_be_absent_or_stay() {
    let mut oracle = mesh();
    let observers = Observers::ClusterNodes(cluster("alpha"));
    oracle.cut(Micros(2000), Cut::Knowledge { observers, about: cluster("alpha"), fate: Fate::Kept });
    oracle.service(Micros(3000), &cluster("alpha"), &service(GLOBAL), true).expect("readable");
    let truth = oracle.truth(&cluster("alpha"), "alpha-1");
    assert_eq!(truth.differences(&maps(&[])), []);
    assert_eq!(wrong(&oracle, 3000, &[B1]), "");
    assert_ne!(wrong(&oracle, 3000, &[]), "");
}

#[test]
fn maps_that_we_changed_are_not_looked_at() {
    let mut oracle = mesh();
    let cut = oracle.cut(Micros(2000), Cut::NodeMaps { cluster: cluster("alpha"), node: "alpha-1".to_owned() });
    let nonsense = ["10.9.9.9:1/TCP"];
    assert_eq!(wrong_at(&oracle, 2000, ("alpha", "alpha-1"), &nonsense), "");
    assert_ne!(wrong_at(&oracle, 2000, ("alpha", "alpha-2"), &nonsense), "", "the other node's were not changed");
    oracle.mend(Micros(3000), cut);
    assert_ne!(wrong_at(&oracle, 3000, ("alpha", "alpha-1"), &nonsense), "");
}

// ---- judgements ----

fn judge(oracle: &Oracle, sent: u64, took: u64, outcome: Outcome) -> &'static str {
    judge_on(oracle, "alpha-1", sent, took, None, outcome)
}

fn judge_on(oracle: &Oracle, node: &str, sent: u64, took: u64, opened: Option<u64>, outcome: Outcome) -> &'static str {
    let asked = Asked {
        cluster: cluster("alpha"),
        node: node.to_owned(),
        service: rebel_base(),
        port: 80,
        sent: Micros(sent),
        done: Micros(sent + took),
        opened: opened.map(Micros),
        outcome,
    };
    match oracle.judge(&asked, asked.done) {
        Judgement::Right => "right",
        Judgement::Excused { .. } => "excused",
        Judgement::Wrong { .. } => "wrong",
    }
}

fn answered(name: &str, ip: &str) -> Outcome {
    Outcome::Answered { ip: ip.parse().expect("an address"), cluster: cluster(name) }
}

fn failed(kind: ErrorKind) -> Outcome {
    Outcome::Failed(kind)
}

/// News of beta are cut from 2000 to 5000; beta becomes B2, then B3 meanwhile.
fn mended(right: Option<u64>) -> Oracle {
    let mut oracle = mesh();
    let cut = oracle.cut(Micros(2000), no_news_of_beta(Fate::Kept));
    beta_goes_on(&mut oracle);
    oracle.mend(Micros(5000), cut);
    if let Some(right) = right {
        oracle.node_right(Micros(right), &cluster("alpha"), "alpha-1");
    }
    oracle
}

#[test_case(None, 4000, "10.2.1.1" => "right" ; "old while cut")]
#[test_case(None, 4000, "10.2.1.3" => "right" ; "new while cut")]
#[test_case(None, 2000, "10.2.1.2" => "wrong" ; "not there yet")]
#[test_case(None, 9999, "10.2.1.1" => "right" ; "old while reconverging")]
#[test_case(None, 10_100, "10.2.1.1" => "right" ; "old within the grace after that")]
#[test_case(None, 10_101, "10.2.1.1" => "wrong" ; "old for too long")]
#[test_case(Some(6000), 6100, "10.2.1.1" => "right" ; "old within the grace after the node was right")]
#[test_case(Some(6000), 6101, "10.2.1.1" => "wrong" ; "old after the node was right")]
#[test_case(Some(6000), 7000, "10.2.1.3" => "right" ; "new after the node was right")]
#[test_case(Some(4500), 9000, "10.2.1.1" => "right" ; "right while cut means nothing")]
fn old_knowledge(right: Option<u64>, sent: u64, ip: &str) -> &'static str {
    judge(&mended(right), sent, 0, answered("beta", ip))
}

/// The tolerance ends for the node that was right, not for the others.
#[test]
fn nodes_recover_one_by_one() {
    let oracle = mended(Some(6000));
    assert_eq!(judge_on(&oracle, "alpha-1", 7000, 0, None, answered("beta", "10.2.1.1")), "wrong");
    assert_eq!(judge_on(&oracle, "alpha-2", 7000, 0, None, answered("beta", "10.2.1.1")), "right");
}

/// A second cut begins before the node has recovered from the first: what was possible stays possible.
#[test]
fn cuts_that_overlap_are_one() {
    let mut oracle = mended(None);
    oracle.cut(Micros(6000), no_news_of_beta(Fate::Kept));
    oracle.node_right(Micros(7000), &cluster("alpha"), "alpha-1");
    assert_eq!(wrong(&oracle, 60_000, &[B1]), "");
    assert_eq!(judge(&oracle, 60_000, 0, answered("beta", "10.2.1.1")), "right");
    let mut oracle = mended(Some(5500));
    oracle.cut(Micros(6000), no_news_of_beta(Fate::Kept));
    assert_ne!(wrong(&oracle, 60_000, &[B1]), "", "the node had heard the news in between");
}

/// Knowledge that had to go and comes back is new.
#[test]
fn what_had_to_go_does_not_come_back() {
    let mut oracle = mesh();
    let cut = oracle.cut(Micros(2000), no_news_of_beta(Fate::MustVanish { from: Micros(2000), by: Micros(2500) }));
    beta_goes_on(&mut oracle);
    oracle.mend(Micros(5000), cut);
    assert_eq!(judge(&oracle, 3000, 0, answered("beta", "10.2.1.1")), "wrong");
    assert_eq!(judge(&oracle, 5200, 0, answered("beta", "10.2.1.1")), "wrong");
    assert_eq!(judge(&oracle, 5200, 0, answered("beta", "10.2.1.3")), "right");
}

/// B1 is gone from its cluster (no process was killed by us) and alpha cannot know.
#[test_case(ErrorKind::Unreachable => "excused")]
#[test_case(ErrorKind::TimedOut => "excused")]
#[test_case(ErrorKind::Malformed => "wrong")]
fn a_backend_that_is_gone_elsewhere(kind: ErrorKind) -> &'static str {
    judge(&mended(None), 4000, 10, failed(kind))
}

/// B1 is on its way out of its cluster and alpha cannot know: it may end at any moment.
#[test]
fn a_backend_that_terminates_elsewhere() {
    let mut oracle = mesh();
    oracle.cut(Micros(2000), no_news_of_beta(Fate::Kept));
    assert_eq!(judge(&oracle, 2900, 0, failed(ErrorKind::Refused)), "wrong");
    tell(&mut oracle, 3000, "beta", &slice(&[terminating("10.2.1.1")]));
    assert_eq!(judge(&oracle, 4000, 0, failed(ErrorKind::Refused)), "excused");
    assert_eq!(judge(&oracle, 4000, 0, answered("beta", "10.2.1.1")), "right");
}

/// Without a cut the same is nobody's excuse, long after.
#[test]
fn gone_without_a_cut() {
    let mut oracle = mesh();
    beta_goes_on(&mut oracle);
    assert_eq!(judge(&oracle, 9000, 10, failed(ErrorKind::Unreachable)), "wrong");
}

/// From 2000 to 3000 nothing passes between alpha and the node beta-1, where B1 is.
fn partitioned(cut: fn(Place, Place) -> Cut, from: Place, to: Place) -> Oracle {
    let mut oracle = mesh();
    let cut = oracle.cut(Micros(2000), cut(from, to));
    oracle.mend(Micros(3000), cut);
    oracle
}

fn path(from: Place, to: Place) -> Cut {
    Cut::Path { from, to }
}

fn slow(from: Place, to: Place) -> Cut {
    Cut::Slow { from, to }
}

fn whole(name: &str) -> Place {
    Place::Cluster(cluster(name))
}

fn one(name: &str, node: &str) -> Place {
    Place::Node(cluster(name), node.to_owned())
}

#[test_case(whole("alpha"), whole("beta"), 2500, ErrorKind::TimedOut => "excused" ; "between clusters")]
#[test_case(whole("beta"), whole("alpha"), 2500, ErrorKind::TimedOut => "excused" ; "replies count too")]
#[test_case(whole("alpha"), one("beta", "beta-1"), 2500, ErrorKind::Unreachable => "excused" ; "the backend's node")]
#[test_case(whole("alpha"), one("beta", "beta-2"), 2500, ErrorKind::TimedOut => "wrong" ; "another node there")]
#[test_case(one("alpha", "alpha-1"), Place::Anywhere, 2500, ErrorKind::Reset => "excused" ; "the client's node")]
#[test_case(one("alpha", "alpha-2"), Place::Anywhere, 2500, ErrorKind::Reset => "wrong" ; "another node here")]
#[test_case(whole("alpha"), whole("beta"), 2500, ErrorKind::Malformed => "wrong" ; "a partition invents no answers")]
#[test_case(whole("alpha"), whole("beta"), 1900, ErrorKind::TimedOut => "wrong" ; "before")]
#[test_case(whole("alpha"), whole("beta"), 3099, ErrorKind::TimedOut => "excused" ; "within the grace")]
#[test_case(whole("alpha"), whole("beta"), 3100, ErrorKind::TimedOut => "wrong" ; "after")]
fn partitions(from: Place, to: Place, sent: u64, kind: ErrorKind) -> &'static str {
    judge(&partitioned(path, from, to), sent, 10, failed(kind))
}

#[test_case(ErrorKind::TimedOut => "excused")]
#[test_case(ErrorKind::Reset => "excused")]
#[test_case(ErrorKind::Refused => "wrong")]
#[test_case(ErrorKind::Unreachable => "wrong")]
fn slow_links(kind: ErrorKind) -> &'static str {
    judge(&partitioned(slow, whole("alpha"), whole("beta")), 2500, 10, failed(kind))
}

/// Nothing of a partition makes a wrong backend right.
#[test]
fn answers_are_judged_as_ever() {
    for cut in [path, slow] {
        let oracle = partitioned(cut, Place::Anywhere, Place::Anywhere);
        assert_eq!(judge(&oracle, 2500, 10, answered("beta", "10.2.1.1")), "right");
        assert_eq!(judge(&oracle, 2500, 10, answered("beta", "10.2.1.2")), "wrong");
    }
}

/// A partition between clusters is no excuse for a request that can only go to the own cluster.
#[test]
fn paths_that_no_request_takes() {
    let mut oracle = oracle(GRACE);
    tell(&mut oracle, 1000, "alpha", &service(&[]));
    tell(&mut oracle, 1000, "alpha", &slice(&[on("alpha", "10.1.1.1")]));
    oracle.cut(Micros(2000), path(whole("alpha"), whole("beta")));
    assert_eq!(judge(&oracle, 2500, 10, failed(ErrorKind::TimedOut)), "wrong");
}

#[test_case(2500, ErrorKind::TimedOut => "excused" ; "it hangs")]
#[test_case(2500, ErrorKind::Refused => "wrong" ; "it is there")]
#[test_case(1950, ErrorKind::TimedOut => "excused" ; "it was stopped while the request was on its way")]
#[test_case(3200, ErrorKind::TimedOut => "wrong" ; "it runs again")]
fn hung_pods(sent: u64, kind: ErrorKind) -> &'static str {
    let mut oracle = mesh();
    let b1 = Ipv4Addr::new(10, 2, 1, 1);
    oracle.pod_hung(Micros(2000), &cluster("beta"), b1);
    oracle.pod_woken(Micros(3000), &cluster("beta"), b1);
    judge(&oracle, sent, 60, failed(kind))
}

/// A stopped pod that may not be asked is no excuse.
#[test]
fn hung_and_not_listed() {
    let mut oracle = mesh();
    oracle.pod_hung(Micros(2000), &cluster("beta"), Ipv4Addr::new(10, 2, 1, 1));
    tell(&mut oracle, 2500, "beta", &slice(&[]));
    assert_eq!(judge(&oracle, 2700, 10, failed(ErrorKind::TimedOut)), "wrong");
}

#[test]
fn clients_of_a_node_without_maps() {
    let mut oracle = mesh();
    let cut = oracle.cut(Micros(2000), Cut::NodeMaps { cluster: cluster("alpha"), node: "alpha-1".to_owned() });
    oracle.mend(Micros(3000), cut);
    oracle.node_right(Micros(4000), &cluster("alpha"), "alpha-1");
    for outcome in [answered("beta", "10.2.1.9"), failed(ErrorKind::TimedOut), failed(ErrorKind::Malformed)] {
        assert_eq!(judge_on(&oracle, "alpha-1", 2500, 10, None, outcome.clone()), "excused");
        assert_eq!(judge_on(&oracle, "alpha-1", 3900, 10, None, outcome.clone()), "excused", "not right yet");
        assert_eq!(judge_on(&oracle, "alpha-1", 4101, 10, None, outcome.clone()), "wrong", "right again");
        assert_eq!(judge_on(&oracle, "alpha-2", 2500, 10, None, outcome), "wrong", "another node");
    }
}

/// A connection stays with its backend, whatever happens to the service.
#[test_case(Some(2500) => "right" ; "opened while it was allowed")]
#[test_case(Some(3099) => "right" ; "opened within the grace")]
#[test_case(Some(3100) => "wrong" ; "opened too late")]
#[test_case(None => "wrong" ; "a connection of its own")]
fn reused_connections(opened: Option<u64>) -> &'static str {
    let mut oracle = mesh();
    beta_goes_on(&mut oracle);
    judge_on(&oracle, "alpha-1", 9000, 10, opened, answered("beta", "10.2.1.1"))
}

#[test]
fn excuses_in_words() {
    let mut oracle = mesh();
    oracle.cut(Micros(2000), path(whole("alpha"), whole("beta")));
    oracle.cut(Micros(2000), Cut::NodeMaps { cluster: cluster("alpha"), node: "alpha-2".to_owned() });
    oracle.pod_hung(Micros(2000), &cluster("alpha"), Ipv4Addr::new(10, 1, 1, 1));
    let why = |oracle: &Oracle, of: ClusterName, node: &str, kind| {
        let (sent, done) = (Micros(4000), Micros(4010));
        let (service, outcome) = (rebel_base(), failed(kind));
        let asked = Asked { cluster: of, node: node.to_owned(), service, port: 80, sent, done, opened: None, outcome };
        match oracle.judge(&asked, asked.done) {
            Judgement::Excused { why } => why,
            other => panic!("there is an excuse: {other:?}"),
        }
    };
    let alpha = || cluster("alpha");
    let mut words =
        vec![why(&oracle, alpha(), "alpha-1", ErrorKind::Reset), why(&oracle, alpha(), "alpha-2", ErrorKind::Reset)];
    words.push(why(&mended(None), alpha(), "alpha-1", ErrorKind::Reset));
    let mut oracle = mesh();
    oracle.pod_hung(Micros(2000), &alpha(), Ipv4Addr::new(10, 1, 1, 1));
    words.push(why(&oracle, alpha(), "alpha-1", ErrorKind::TimedOut));
    words.push(why(
        &{
            let mut oracle = mesh();
            oracle.cut(Micros(2000), slow(whole("alpha"), whole("beta")));
            oracle
        },
        alpha(),
        "alpha-1",
        ErrorKind::TimedOut,
    ));
    insta::assert_snapshot!(words.join("\n"), @"
    packets to or from 10.2.1.1:8080/TCP of beta may not have arrived
    the maps of node alpha-2 were not what its agent made them
    10.2.1.1:8080/TCP of beta was gone and node alpha-1 may not have heard of it
    10.1.1.1:8080/TCP of alpha was stopped and still listed
    packets to or from 10.2.1.1:8080/TCP of beta may have been late or lost
    ");
}
