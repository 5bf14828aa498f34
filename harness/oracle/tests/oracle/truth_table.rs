//! The annotations against the backends: who may answer clients of `alpha`.
//!
//! The snapshots were checked line by line against the rules of Cilium's documentation and code (4.1 to 4.4 of the
//! project's reference): they are the specification in a form that one can read.

use std::{fmt::Write, time::Duration};

use crate::mesh::{Annotations, allowed, oracle, ready, service, slice, tell, terminating};
use serde_json::Value;

/// State of both backends of one side.
#[derive(Clone, Copy)]
enum Side {
    None,
    Ready,
    Terminating,
    /// The first is terminating, the second ready.
    Mixed,
}

impl Side {
    fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Ready => "ready",
            Self::Terminating => "terminating",
            Self::Mixed => "mixed",
        }
    }

    fn endpoints(self, network: &str) -> Vec<Value> {
        let [first, second] = [format!("10.{network}.1.1"), format!("10.{network}.1.2")];
        match self {
            Self::None => Vec::new(),
            Self::Ready => vec![ready(&first), ready(&second)],
            Self::Terminating => vec![terminating(&first), terminating(&second)],
            Self::Mixed => vec![terminating(&first), ready(&second)],
        }
    }
}

/// Who may answer clients of alpha, as `A1 A2 B1 B2`; beta's service is plainly global and shared.
fn answer(alpha: Annotations<'_>, beta: Annotations<'_>, local: Side, remote: Side) -> String {
    let mut oracle = oracle(Duration::ZERO);
    tell(&mut oracle, 0, "alpha", &service(alpha));
    tell(&mut oracle, 0, "beta", &service(beta));
    tell(&mut oracle, 0, "alpha", &slice(&local.endpoints("1")));
    tell(&mut oracle, 0, "beta", &slice(&remote.endpoints("2")));
    let names: Vec<String> = allowed(&oracle, 0, "alpha")
        .iter()
        .map(|backend| match backend.split_once(' ').expect("address and cluster") {
            ("10.1.1.1", "alpha") => "A1".to_owned(),
            ("10.1.1.2", "alpha") => "A2".to_owned(),
            ("10.2.1.1", "beta") => "B1".to_owned(),
            ("10.2.1.2", "beta") => "B2".to_owned(),
            other => panic!("unexpected backend {other:?}"),
        })
        .collect();
    if names.is_empty() { "-".to_owned() } else { names.join(" ") }
}

const GLOBAL: (&str, &str) = ("service.cilium.io/global", "true");
const NOT_GLOBAL: (&str, &str) = ("service.cilium.io/global", "false");
const SHARED: (&str, &str) = ("service.cilium.io/shared", "true");
const NOT_SHARED: (&str, &str) = ("service.cilium.io/shared", "false");
const LEGACY_GLOBAL: (&str, &str) = ("io.cilium/global-service", "true");
const LEGACY_NOT_GLOBAL: (&str, &str) = ("io.cilium/global-service", "false");
const LEGACY_SHARED: (&str, &str) = ("io.cilium/shared-service", "true");
const LEGACY_NOT_SHARED: (&str, &str) = ("io.cilium/shared-service", "false");

const fn affinity(value: &'static str) -> (&'static str, &'static str) {
    ("service.cilium.io/affinity", value)
}

const fn legacy_affinity(value: &'static str) -> (&'static str, &'static str) {
    ("io.cilium/service-affinity", value)
}

/// Rows: affinity and local state. Columns: remote state.
#[test]
fn affinity_by_state() {
    let sides = [Side::None, Side::Ready, Side::Terminating, Side::Mixed];
    let mut table = format!("{:<10} {:<12}", "affinity", "local");
    for remote in sides {
        write!(table, " {:<24}", format!("remote {}", remote.word())).expect("a String takes every write");
    }
    for value in ["absent", "none", "local", "remote", "nonsense"] {
        for local in sides {
            write!(table, "\n{value:<10} {:<12}", local.word()).expect("a String takes every write");
            for remote in sides {
                let chosen = affinity(value);
                let annotations: &[_] = if value == "absent" { &[GLOBAL] } else { &[GLOBAL, chosen] };
                let answer = answer(annotations, &[GLOBAL], local, remote);
                write!(table, " {answer:<24}").expect("a String takes every write");
            }
        }
    }
    let table: Vec<&str> = table.lines().map(str::trim_end).collect();
    insta::assert_snapshot!(table.join("\n"));
}

/// What alpha says and what beta says, both sides ready.
#[test]
fn global_and_shared() {
    let says: [(&str, Annotations<'_>); 12] = [
        ("nothing", &[]),
        ("global", &[GLOBAL]),
        ("not global", &[NOT_GLOBAL]),
        ("shared without global", &[SHARED]),
        ("global, shared", &[GLOBAL, SHARED]),
        ("global, not shared", &[GLOBAL, NOT_SHARED]),
        ("legacy global", &[LEGACY_GLOBAL]),
        ("legacy global, legacy not shared", &[LEGACY_GLOBAL, LEGACY_NOT_SHARED]),
        ("not global, legacy global", &[NOT_GLOBAL, LEGACY_GLOBAL]),
        ("global, legacy not global", &[GLOBAL, LEGACY_NOT_GLOBAL]),
        ("global, not shared, legacy shared", &[GLOBAL, NOT_SHARED, LEGACY_SHARED]),
        ("global: True", &[("service.cilium.io/global", "True")]),
    ];
    let mut table = String::new();
    for (alpha, alpha_says) in says {
        let answer = |beta_says| answer(alpha_says, beta_says, Side::Ready, Side::Ready);
        let (with, without): (Vec<_>, Vec<_>) =
            says.iter().map(|(beta, beta_says)| (*beta, answer(beta_says))).partition(|(_, who)| who.contains('B'));
        assert!(with.iter().all(|(_, who)| who == "A1 A2 B1 B2"), "all or nothing of each side: {with:?}");
        assert!(without.iter().all(|(_, who)| who == "A1 A2"), "its own always answer: {without:?}");
        let words = |side: Vec<(&str, String)>| {
            let words: Vec<&str> = side.iter().map(|(beta, _)| *beta).collect();
            if words.is_empty() { "(never)".to_owned() } else { words.join(" | ") }
        };
        writeln!(table, "alpha says: {alpha}").expect("a String takes every write");
        writeln!(table, "  beta answers, saying: {}", words(with)).expect("a String takes every write");
        writeln!(table, "  beta does not, saying: {}", words(without)).expect("a String takes every write");
    }
    insta::assert_snapshot!(table);
}

/// Values of the affinity and its legacy name, both sides ready.
#[test]
fn affinity_names() {
    let says: [(&str, Annotations<'_>); 9] = [
        ("local", &[GLOBAL, affinity("local")]),
        ("Local", &[GLOBAL, affinity("Local")]),
        ("remote", &[GLOBAL, affinity("remote")]),
        ("legacy local", &[GLOBAL, legacy_affinity("local")]),
        ("legacy remote", &[LEGACY_GLOBAL, legacy_affinity("remote")]),
        ("local, legacy remote", &[GLOBAL, affinity("local"), legacy_affinity("remote")]),
        ("none, legacy local", &[GLOBAL, affinity("none"), legacy_affinity("local")]),
        ("remote without global", &[affinity("remote")]),
        ("remote, not shared", &[GLOBAL, NOT_SHARED, affinity("remote")]),
    ];
    let mut table = String::new();
    for (words, annotations) in says {
        let answer = answer(annotations, &[GLOBAL], Side::Ready, Side::Ready);
        writeln!(table, "{words:<24} {answer}").expect("a String takes every write");
    }
    insta::assert_snapshot!(table, @"
    local                    A1 A2
    Local                    A1 A2
    remote                   B1 B2
    legacy local             A1 A2
    legacy remote            B1 B2
    local, legacy remote     A1 A2
    none, legacy local       A1 A2 B1 B2
    remote without global    A1 A2
    remote, not shared       B1 B2
    ");
}
