//! The truth table that is checked in, against the one that the oracle computes now.

use std::collections::BTreeSet;

use meshbed_oracle::{LocalState, RemoteState, Who, truth_table, truth_table_markdown};

/// Where the table is checked in.
const CHECKED_IN: &str = "../../reports/truth-table.md";

/// With the environment variable `INSTA_UPDATE=always`, as for all other snapshots, the file is written.
#[test]
fn the_checked_in_table_is_the_computed_one() {
    let computed = truth_table_markdown();
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(CHECKED_IN, &computed).expect("the reports folder is there");
    }
    let checked_in = std::fs::read_to_string(CHECKED_IN).unwrap_or_default();
    for (number, (is, should)) in checked_in.lines().zip(computed.lines()).enumerate() {
        assert_eq!(is, should, "line {} of reports/truth-table.md; INSTA_UPDATE=always accepts", number + 1);
    }
    assert_eq!(checked_in.lines().count(), computed.lines().count(), "lines; INSTA_UPDATE=always accepts");
}

#[test]
fn the_table_is_whole() {
    let cells = truth_table();
    let places: BTreeSet<_> = cells.iter().map(|cell| (cell.annotations.name, cell.local, cell.remote)).collect();
    let names: BTreeSet<_> = cells.iter().map(|cell| cell.annotations.name).collect();
    assert_eq!(places.len(), cells.len(), "no cell is there twice");
    assert_eq!(cells.len(), names.len() * LocalState::ALL.len() * RemoteState::ALL.len(), "none is missing");
}

/// Sentences of the reference that hold for whole regions of the table.
#[test]
fn what_holds_everywhere() {
    for cell in truth_table() {
        let expected = cell.expected;
        let what = format!("{}: {} here, {} there", cell.annotations.name, cell.local, cell.remote);
        assert_eq!(
            expected.lost,
            cell.remote == RemoteState::ClusterDead && reaches_remote(expected.slots.active),
            "{what}"
        );
        if cell.remote == RemoteState::ClusterDead {
            assert!(!reaches_remote(expected.answers), "the dead do not answer: {what}");
        } else {
            assert_eq!(expected.answers, expected.slots.active, "who is selectable answers: {what}");
        }
        assert!(!reaches_remote(expected.slots.inactive), "remote backends have no states: {what}");
        if matches!(cell.remote, RemoteState::None | RemoteState::NotReady) {
            assert!(!reaches_remote(expected.slots.active), "what is not ready is not exported: {what}");
        }
        if cell.local == LocalState::Ready && cell.annotations.name.starts_with("affinity local") {
            assert_eq!(expected.answers, Who::Local, "one ready backend holds all traffic at home: {what}");
        }
    }
}

fn reaches_remote(who: Who) -> bool {
    matches!(who, Who::Remote | Who::Both)
}
