//! Judgements on a timeline that is exact to the microsecond.

use std::{net::Ipv4Addr, time::Duration};

use crate::mesh::{Annotations, cluster, oracle, ready, rebel_base, service, slice, tell};
use meshbed_events::{ErrorKind, Micros};
use meshbed_oracle::{Asked, HISTORY_MAX, Judgement, Oracle, Outcome};
use test_case::test_case;

const GLOBAL: Annotations<'static> = &[("service.cilium.io/global", "true")];
/// How far the oracle looks back here, in microseconds.
const GRACE: u64 = 100;

/// At 1000 alpha has A; at 2000 A is killed and still listed; at 2500 it is gone from the API and beta's B is there.
/// At 3000 B is gone too: nobody. At 4000 A is back.
fn history() -> Oracle {
    let mut oracle = oracle(Duration::from_micros(GRACE));
    let a = Ipv4Addr::new(10, 1, 1, 1);
    tell(&mut oracle, 1000, "alpha", &service(GLOBAL));
    tell(&mut oracle, 1000, "beta", &service(GLOBAL));
    tell(&mut oracle, 1000, "alpha", &slice(&[ready("10.1.1.1")]));
    oracle.pod_dead(Micros(2000), &cluster("alpha"), a);
    tell(&mut oracle, 2500, "alpha", &slice(&[]));
    tell(&mut oracle, 2500, "beta", &slice(&[ready("10.2.1.1")]));
    tell(&mut oracle, 3000, "beta", &slice(&[]));
    oracle.pod_alive(Micros(3900), &cluster("alpha"), a);
    tell(&mut oracle, 4000, "alpha", &slice(&[ready("10.1.1.1")]));
    oracle
}

fn judge(oracle: &Oracle, sent: u64, done: u64, outcome: Outcome) -> &'static str {
    judge_heard(oracle, (sent, done, done), outcome)
}

fn judge_heard(oracle: &Oracle, (sent, done, heard): (u64, u64, u64), outcome: Outcome) -> &'static str {
    let asked = Asked {
        cluster: cluster("alpha"),
        node: "alpha-1".to_owned(),
        service: rebel_base(),
        port: 80,
        sent: Micros(sent),
        done: Micros(done),
        opened: None,
        outcome,
    };
    match oracle.judge(&asked, Micros(heard)) {
        Judgement::Right => "right",
        Judgement::Excused { .. } => "excused",
        Judgement::Wrong { .. } => "wrong",
    }
}

#[test_case(900, 999, "10.1.1.1 alpha" => "wrong" ; "before A was there")]
#[test_case(900, 1000, "10.1.1.1 alpha" => "right" ; "A came in the last moment")]
#[test_case(2400, 2450, "10.2.1.1 beta" => "wrong" ; "before B was there")]
#[test_case(2400, 2500, "10.2.1.1 beta" => "right" ; "B came in the last moment")]
#[test_case(2599, 2650, "10.1.1.1 alpha" => "right" ; "A was there within the grace")]
#[test_case(2600, 2650, "10.1.1.1 alpha" => "wrong" ; "A left exactly the grace before")]
#[test_case(3099, 3200, "10.2.1.1 beta" => "right" ; "B was there within the grace")]
#[test_case(3100, 3200, "10.2.1.1 beta" => "wrong" ; "a stale B")]
#[test_case(1500, 1600, "10.1.1.1 beta" => "wrong" ; "right address, wrong cluster")]
#[test_case(1500, 9000, "10.2.1.1 beta" => "right" ; "allowed for a while in the middle")]
fn answers(sent: u64, done: u64, by: &str) -> &'static str {
    let (ip, name) = by.split_once(' ').expect("address and cluster");
    let outcome = Outcome::Answered { ip: ip.parse().expect("an address"), cluster: cluster(name) };
    judge(&history(), sent, done, outcome)
}

#[test_case(500, 600, ErrorKind::Unreachable => "right" ; "nothing was there yet")]
#[test_case(1099, 1150, ErrorKind::Unreachable => "right" ; "nothing was there within the grace")]
#[test_case(1100, 1150, ErrorKind::Unreachable => "wrong" ; "A is there and alive")]
#[test_case(1100, 1150, ErrorKind::Refused => "wrong" ; "A is there and alive, refused")]
#[test_case(1900, 1999, ErrorKind::Reset => "wrong" ; "just before the kill")]
#[test_case(1900, 2000, ErrorKind::Reset => "excused" ; "A was killed in the last moment")]
#[test_case(2200, 2300, ErrorKind::Unreachable => "excused" ; "A is dead and listed")]
#[test_case(2599, 2700, ErrorKind::Refused => "excused" ; "A was dead and listed within the grace")]
#[test_case(2600, 2700, ErrorKind::Refused => "wrong" ; "the maps should know by now")]
#[test_case(2950, 3000, ErrorKind::NotPermitted => "right" ; "nobody in the last moment")]
#[test_case(3500, 3600, ErrorKind::Other => "right" ; "nobody")]
#[test_case(4099, 4150, ErrorKind::Unreachable => "right" ; "nobody within the grace")]
#[test_case(4100, 4150, ErrorKind::Unreachable => "wrong" ; "A is back for longer than the grace")]
#[test_case(3500, 3600, ErrorKind::TimedOut => "wrong" ; "nobody may hang, even with nobody there")]
#[test_case(2200, 2300, ErrorKind::TimedOut => "wrong" ; "nor with a dead backend")]
#[test_case(3500, 3600, ErrorKind::Malformed => "wrong" ; "somebody answered")]
fn failures(sent: u64, done: u64, kind: ErrorKind) -> &'static str {
    judge(&history(), sent, done, Outcome::Failed(kind))
}

/// A backend is taken out in good order at 2000 while another one stays.
#[test_case(1950, 1999, ErrorKind::Reset => "wrong" ; "before it was taken out")]
#[test_case(1950, 2000, ErrorKind::Reset => "excused" ; "as it was taken out")]
#[test_case(2050, 2060, ErrorKind::Refused => "excused" ; "just after")]
#[test_case(2050, 2060, ErrorKind::Unreachable => "wrong" ; "no reason to be unreachable")]
#[test_case(2099, 2200, ErrorKind::Refused => "excused" ; "within the grace")]
#[test_case(2100, 2200, ErrorKind::Refused => "wrong" ; "exactly the grace after")]
#[test_case(3000, 3050, ErrorKind::Reset => "wrong" ; "a new backend is no excuse")]
fn closing(sent: u64, done: u64, kind: ErrorKind) -> &'static str {
    let mut oracle = oracle(Duration::from_micros(GRACE));
    tell(&mut oracle, 1000, "alpha", &service(&[]));
    tell(&mut oracle, 1000, "alpha", &slice(&[ready("10.1.1.1"), ready("10.1.1.2")]));
    tell(&mut oracle, 2000, "alpha", &slice(&[ready("10.1.1.1")]));
    tell(&mut oracle, 3000, "alpha", &slice(&[ready("10.1.1.1"), ready("10.1.1.3")]));
    judge(&oracle, sent, done, Outcome::Failed(kind))
}

/// Plain services: what happens in the other cluster is no excuse.
#[test]
fn the_other_clusters_dead_are_no_excuse_when_they_may_not_answer() {
    let mut oracle = oracle(Duration::from_micros(GRACE));
    for (name, ip) in [("alpha", "10.1.1.1"), ("beta", "10.2.1.1")] {
        tell(&mut oracle, 0, name, &service(&[]));
        tell(&mut oracle, 0, name, &slice(&[ready(ip)]));
    }
    oracle.pod_dead(Micros(1000), &cluster("beta"), Ipv4Addr::new(10, 2, 1, 1));
    assert_eq!(judge(&oracle, 1100, 1200, Outcome::Failed(ErrorKind::Refused)), "wrong");
}

/// The harness may learn of a new backend a little later than the agents.
#[test_case(949 => "wrong" ; "too long before")]
#[test_case(950 => "right" ; "within the lag")]
fn observation_lag(done: u64) -> &'static str {
    let oracle = history().with_observation_lag(Duration::from_micros(50));
    let ip = Ipv4Addr::new(10, 1, 1, 1);
    judge(&oracle, 900, done, Outcome::Answered { ip, cluster: cluster("alpha") })
}

/// However late the harness learns of it.
#[test_case(999 => "wrong" ; "heard before the backend was there")]
#[test_case(1000 => "right" ; "heard with the backend")]
#[test_case(2200 => "right" ; "heard long after")]
fn heard_later(heard: u64) -> &'static str {
    let ip = Ipv4Addr::new(10, 1, 1, 1);
    judge_heard(&history(), (900, 910, heard), Outcome::Answered { ip, cluster: cluster("alpha") })
}

#[test]
fn sentences() {
    let asked = |sent: u64, outcome| Asked {
        cluster: cluster("alpha"),
        node: "alpha-1".to_owned(),
        service: rebel_base(),
        port: 80,
        sent: Micros(sent),
        done: Micros(sent + 10),
        opened: None,
        outcome,
    };
    let stale = Outcome::Answered { ip: Ipv4Addr::new(10, 2, 1, 1), cluster: cluster("beta") };
    let judged = [
        history().judge(&asked(3500, stale.clone()), Micros(3500)),
        history().judge(&asked(4500, stale), Micros(4500)),
        history().judge(&asked(4500, Outcome::Failed(ErrorKind::Unreachable)), Micros(4500)),
        history().judge(&asked(4500, Outcome::Failed(ErrorKind::TimedOut)), Micros(4500)),
        history().judge(&asked(2200, Outcome::Failed(ErrorKind::Refused)), Micros(2200)),
    ];
    let text: Vec<String> = judged
        .into_iter()
        .map(|judgement| match judgement {
            Judgement::Right => "right".to_owned(),
            Judgement::Excused { why } => format!("excused: {why}"),
            Judgement::Wrong { message } => message,
        })
        .collect();
    insta::assert_snapshot!(text.join("\n"), @"
    service default/rebel-base:80 asked from alpha/alpha-1 at 0.003500 s: 10.2.1.1 of beta answered; allowed since 0.003400 s: nobody
    service default/rebel-base:80 asked from alpha/alpha-1 at 0.004500 s: 10.2.1.1 of beta answered; allowed since 0.004400 s: 10.1.1.1:8080/TCP of alpha
    service default/rebel-base:80 asked from alpha/alpha-1 at 0.004500 s: a request failed (unreachable); allowed since 0.004400 s: 10.1.1.1:8080/TCP of alpha
    service default/rebel-base:80 asked from alpha/alpha-1 at 0.004500 s: a client got no answer and no error in time; allowed since 0.004400 s: 10.1.1.1:8080/TCP of alpha
    excused: 10.1.1.1:8080/TCP of alpha was dead and still listed
    ");
}

#[test]
fn a_full_history_says_so() {
    let mut oracle = history();
    let ip = Ipv4Addr::new(10, 1, 1, 9);
    let changes = u64::try_from(HISTORY_MAX).expect("the limit is small");
    for at in 0..changes {
        match at % 2 {
            0 => oracle.pod_dead(Micros(5000 + at), &cluster("alpha"), ip),
            _ => oracle.pod_alive(Micros(5000 + at), &cluster("alpha"), ip),
        }
    }
    assert!(oracle.is_full());
    let right = Outcome::Answered { ip: Ipv4Addr::new(10, 1, 1, 1), cluster: cluster("alpha") };
    assert_eq!(judge(&oracle, 4500, 4600, right), "wrong", "no judgement on half of the facts");
}
