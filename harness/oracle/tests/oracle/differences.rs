//! Maps against the truth: every kind of difference, and its sentence.

use std::time::Duration;

use meshbed_events::{MapState, Micros};
use meshbed_oracle::Oracle;
use test_case::test_case;

use crate::mesh::{
    Annotations, cluster, lines, maps, oracle, ready, service, slice, tell, terminating, terminating_not_serving,
};

const GLOBAL: Annotations<'static> = &[("service.cilium.io/global", "true")];
const FRONTEND: &str = "10.101.0.10:80/TCP";

/// At 0 alpha has A1, A2 and beta has B; at 10 A2 is gone.
fn mesh() -> Oracle {
    let mut oracle = oracle(Duration::ZERO);
    for name in ["alpha", "beta"] {
        tell(&mut oracle, 0, name, &service(GLOBAL));
    }
    tell(&mut oracle, 0, "alpha", &slice(&[ready("10.1.1.1"), ready("10.1.1.2"), terminating("10.1.1.3")]));
    tell(&mut oracle, 0, "beta", &slice(&[ready("10.2.1.1")]));
    tell(&mut oracle, 10, "alpha", &slice(&[ready("10.1.1.1"), terminating("10.1.1.3")]));
    oracle
}

fn found(maps: &MapState) -> String {
    lines(&mesh().truth(&cluster("alpha"), "alpha-1").differences(maps))
}

#[test]
fn right_maps_have_none() {
    let right = maps(&[(FRONTEND, &["10.1.1.1:8080/TCP", "10.2.1.1:8080/TCP"], &["10.1.1.3:8080/TCP"])]);
    assert_eq!(found(&right), "");
}

#[test]
fn frontends() {
    insta::assert_snapshot!(found(&maps(&[("10.101.0.99:80/TCP", &[], &[])])), @"
    MissingFrontend: service default/rebel-base (10.101.0.10:80/TCP): frontend is missing
    StrayFrontend: frontend 10.101.0.99:80/TCP belongs to no service
    ");
}

#[test]
fn backends() {
    let wrong = maps(&[(
        FRONTEND,
        &["10.1.1.1:8080/TCP", "10.1.1.1:8080/TCP", "10.1.1.2:8080/TCP", "10.1.1.3:8080/TCP", "10.9.9.9:1/UDP", "?"],
        &[],
    )]);
    insta::assert_snapshot!(found(&wrong), @"
    MissingBackend: service default/rebel-base (10.101.0.10:80/TCP): active backend 10.2.1.1:8080/TCP of beta is missing
    WrongSide: service default/rebel-base (10.101.0.10:80/TCP): backend 10.1.1.3:8080/TCP of alpha is active and should not be selectable
    StaleBackend: service default/rebel-base (10.101.0.10:80/TCP): active backend 10.1.1.2:8080/TCP of alpha should not be there
    ForeignBackend: service default/rebel-base (10.101.0.10:80/TCP): active backend 10.9.9.9:1/UDP should not be there
    Duplicate: service default/rebel-base (10.101.0.10:80/TCP): backend 10.1.1.1:8080/TCP of alpha is there more than once
    ForeignBackend: service default/rebel-base (10.101.0.10:80/TCP): `?` is no address of a backend
    ");
}

#[test]
fn sides() {
    let wrong = maps(&[(FRONTEND, &["10.2.1.1:8080/TCP"], &["10.1.1.1:8080/TCP", "10.1.1.2:8080/TCP"])]);
    insta::assert_snapshot!(found(&wrong), @"
    WrongSide: service default/rebel-base (10.101.0.10:80/TCP): backend 10.1.1.1:8080/TCP of alpha is inactive and should be selectable
    MissingBackend: service default/rebel-base (10.101.0.10:80/TCP): inactive backend 10.1.1.3:8080/TCP of alpha is missing
    StaleBackend: service default/rebel-base (10.101.0.10:80/TCP): inactive backend 10.1.1.2:8080/TCP of alpha should not be there
    ");
}

#[test]
fn structure() {
    let mut maps = maps(&[(FRONTEND, &["10.1.1.1:8080/TCP", "10.2.1.1:8080/TCP"], &["10.1.1.3:8080/TCP"])]);
    maps.defects = vec!["backend 7 is in no slot".to_owned()];
    insta::assert_snapshot!(found(&maps), @"Structure: backend 7 is in no slot");
}

#[test]
fn parts_are_named() {
    let truth = mesh().truth(&cluster("alpha"), "alpha-1");
    let found = truth.differences(&maps(&[(FRONTEND, &["10.1.1.1:8080/TCP"], &["10.1.1.3:8080/TCP"])]));
    let [missing] = found.as_slice() else { panic!("one backend is missing: {found:?}") };
    let json = serde_json::to_string(missing).expect("it is plain data");
    insta::assert_snapshot!(json, @r#"
    {"kind":"missing-backend","service":"default/rebel-base","frontend":"10.101.0.10:80/TCP","backend":"10.2.1.1:8080/TCP","cluster":"beta","message":"service default/rebel-base (10.101.0.10:80/TCP): active backend 10.2.1.1:8080/TCP of beta is missing"}
    "#);
}

/// A backend that terminates without serving may keep its slot or not; it may not be selectable.
#[test_case(&[], &[] => "" ; "gone")]
#[test_case(&[], &["10.1.1.3:8080/TCP"] => "" ; "kept")]
#[test_case(&["10.1.1.3:8080/TCP"], &[] => "WrongSide: service default/rebel-base (10.101.0.10:80/TCP): backend 10.1.1.3:8080/TCP of alpha is active and should not be selectable" ; "selectable")]
fn terminating_and_not_serving(active: &[&str], inactive: &[&str]) -> String {
    let mut oracle = oracle(Duration::ZERO);
    tell(&mut oracle, 0, "alpha", &service(&[]));
    tell(&mut oracle, 0, "alpha", &slice(&[terminating_not_serving("10.1.1.3")]));
    lines(&oracle.truth(&cluster("alpha"), "alpha-1").differences(&maps(&[(FRONTEND, active, inactive)])))
}

/// What is not exported is foreign even while its own cluster lists it.
#[test]
fn a_backend_of_an_unshared_service_is_foreign() {
    let mut oracle = oracle(Duration::ZERO);
    tell(&mut oracle, 0, "alpha", &service(GLOBAL));
    tell(&mut oracle, 0, "beta", &service(&[GLOBAL[0], ("service.cilium.io/shared", "false")]));
    tell(&mut oracle, 0, "beta", &slice(&[ready("10.2.1.1")]));
    let truth = oracle.truth(&cluster("alpha"), "alpha-1");
    let found = lines(&truth.differences(&maps(&[(FRONTEND, &["10.2.1.1:8080/TCP"], &[])])));
    insta::assert_snapshot!(found, @"
    ForeignBackend: service default/rebel-base (10.101.0.10:80/TCP): active backend 10.2.1.1:8080/TCP of beta should not be there
    ");
}

/// Two services of one address, one after the other: the newer one counts.
#[test]
fn an_address_changes_hands() {
    let mut oracle = mesh();
    let mut heir = service(&[]);
    heir["metadata"]["name"] = "heir".into();
    oracle.service(Micros(20), &cluster("alpha"), &service(GLOBAL), true).expect("readable");
    tell(&mut oracle, 30, "alpha", &heir);
    let truth = oracle.truth(&cluster("alpha"), "alpha-1");
    let found = lines(&truth.differences(&maps(&[(FRONTEND, &["10.1.1.1:8080/TCP"], &[])])));
    insta::assert_snapshot!(found, @"
    StaleBackend: service default/heir (10.101.0.10:80/TCP): active backend 10.1.1.1:8080/TCP of alpha should not be there
    ");
}
