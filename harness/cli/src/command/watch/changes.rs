//! What changed between two views, one line each: for logs and pipes.

use std::collections::{BTreeMap, BTreeSet};

use meshbed_engine::{AnswersView, MeshView, NodeView, ServiceView};

/// One line for each change. Numbers that change all the time, such as answers a second and ages, are none.
pub(super) fn changes(before: &MeshView, now: &MeshView) -> Vec<String> {
    let mut lines = Vec::new();
    compare(&nodes(before), &nodes(now), &mut lines);
    compare(&services(before), &services(now), &mut lines);
    compare(&answers(before), &answers(now), &mut lines);
    compare(&wrong(before), &wrong(now), &mut lines);
    compare(&faults(before), &faults(now), &mut lines);
    lines
}

/// What there is, by what it is called; the value says how it is, and how it is called when it is gone.
type States = BTreeMap<String, (String, &'static str)>;

fn compare(before: &States, now: &States, lines: &mut Vec<String>) {
    for (what, (how, _)) in now {
        if before.get(what).is_none_or(|(then, _)| then != how) {
            lines.push(format!("{what}: {how}"));
        }
    }
    for (what, (_, gone)) in before {
        if !now.contains_key(what) {
            lines.push(format!("{what}: {gone}"));
        }
    }
}

fn nodes(view: &MeshView) -> States {
    let of = |node: &NodeView| {
        let ready = if node.is_ready { "ready" } else { "not ready" };
        let maps = if node.backends.is_some() { "" } else { ", no maps" };
        (format!("node {}", node.name), (format!("{ready}{maps}"), "gone"))
    };
    view.clusters.iter().flat_map(|cluster| &cluster.nodes).map(of).collect()
}

fn services(view: &MeshView) -> States {
    let of = |service: &ServiceView| {
        let counts = service.endpoints.iter().map(|(cluster, count)| {
            let global = if service.global_in.contains(cluster) { " (global)" } else { "" };
            format!("{cluster} {count}{global}")
        });
        let words = format!("ready endpoints: {}", counts.collect::<Vec<_>>().join(", "));
        (format!("service {}", service.name), (words, "deleted"))
    };
    view.services.iter().map(of).collect()
}

fn answers(view: &MeshView) -> States {
    let of = |answers: &AnswersView| {
        let from: Vec<&str> = answers.from.keys().map(String::as_str).collect();
        let words = match (from.is_empty(), answers.errors > 0) {
            (false, false) => format!("answers from {}", from.join(", ")),
            (false, true) => format!("answers from {}, and errors", from.join(", ")),
            (true, _) => "errors, no answers".to_owned(),
        };
        (format!("clients in {}", answers.asking), (words, "nobody answers"))
    };
    // Who has only begun to ask has no answers yet.
    let told = view.answers.iter().filter(|answers| !answers.from.is_empty() || answers.errors > 0);
    told.map(of).collect()
}

fn wrong(view: &MeshView) -> States {
    let all: BTreeSet<(&str, &str, bool)> =
        view.wrong.iter().map(|wrong| (wrong.node.as_str(), wrong.what.as_str(), wrong.is_missing)).collect();
    let of = |(node, what, is_missing): (&str, &str, bool)| {
        let words = if is_missing { "missing" } else { "stale" };
        (format!("map of {node}, {what}"), (words.to_owned(), "right again"))
    };
    all.into_iter().map(of).collect()
}

fn faults(view: &MeshView) -> States {
    let of = |fault: &meshbed_engine::FaultFile| {
        let mut words = format!("{}, {}", fault.words, fault.state_words());
        if !fault.witnesses.is_empty() {
            words.push_str(&format!(" (witness: {})", fault.witnesses.join("; ")));
        }
        (format!("fault {}", fault.name), (words, "healed"))
    };
    view.faults.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use meshbed_engine::WrongView;

    use super::*;
    use crate::command::watch::screen::tests::view;

    #[test]
    fn only_what_changes_is_told() {
        let before = view();
        assert_eq!(changes(&before, &before), Vec::<String>::new());
        let mut now = view();
        now.clusters[0].nodes[1].is_ready = true;
        now.services[0].endpoints.insert("alpha".to_owned(), 0);
        now.answers[0].from.insert("alpha".to_owned(), 12);
        now.answers[1].from.insert("alpha".to_owned(), 1);
        now.wrong[0].age = Duration::from_secs(90);
        assert_eq!(
            changes(&before, &now),
            [
                "node alpha-2: ready, no maps",
                "service default/rebel-base: ready endpoints: alpha 0 (global), beta 2",
                "clients in beta: answers from alpha, beta, and errors",
            ]
        );
        now.wrong = vec![WrongView { node: "beta/beta-1".to_owned(), what: "x".to_owned(), ..WrongView::default() }];
        let lines = changes(&before, &now);
        assert!(lines.contains(&"map of beta/beta-1, x: stale".to_owned()), "{lines:?}");
        assert!(lines.iter().any(|line| line.ends_with("right again")), "{lines:?}");
    }
}
