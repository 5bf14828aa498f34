//! What each text report says about hand-made runs: read a changed snapshot before accepting it.

use meshbed_events::{Event, Micros, RunRecord, Stamped};
use meshbed_report::terminal::{Colour, Detail, Live, coloured_table, status_line, table};
use meshbed_report::{junit, maps, yaml};

use crate::sample;

fn live(record: &RunRecord, colour: Colour, detail: Detail) -> String {
    let mut live = Live::new(colour, detail);
    let lines: Vec<String> = record.events.iter().flat_map(|event| live.lines(event)).collect();
    format!("{}\n\n{}", lines.join("\n"), status_line(live.state()))
}

fn terminal(record: &RunRecord) -> String {
    format!("{}\n\n{}", live(record, Colour::No, Detail::Outcomes), table(record))
}

#[test]
fn terminal_of_a_passed_run() {
    insta::assert_snapshot!(terminal(&sample::passed(20)));
}

#[test]
fn terminal_of_a_failed_run() {
    insta::assert_snapshot!(terminal(&sample::failed(20)));
}

#[test]
fn terminal_of_a_run_that_timed_out() {
    insta::assert_snapshot!(terminal(&sample::timed_out(20)));
}

#[test]
fn terminal_of_an_interrupted_run() {
    insta::assert_snapshot!(terminal(&sample::interrupted(20)));
}

#[test]
fn terminal_of_an_invalid_run() {
    insta::assert_snapshot!(terminal(&sample::invalid(20)));
}

#[test]
fn terminal_of_a_mesh_that_did_not_come_up() {
    insta::assert_snapshot!(terminal(&sample::environment()));
}

#[test]
fn terminal_with_everything() {
    insta::assert_snapshot!(live(&sample::timed_out(20), Colour::No, Detail::Everything));
}

#[test]
fn colours_are_all_that_colour_adds() {
    let record = sample::failed(20);
    let coloured = live(&record, Colour::Yes, Detail::Outcomes) + &coloured_table(&record, Colour::Yes);
    assert!(coloured.contains("\u{1b}["), "something must be coloured");
    let plain = live(&record, Colour::No, Detail::Outcomes) + &table(&record);
    assert!(!plain.contains('\u{1b}'), "plain text has no escape sequence");
    assert_eq!(without_escapes(&coloured), plain);
}

fn without_escapes(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    plain
}

#[test]
fn names_cannot_steer_the_terminal() {
    let name = "evil \u{1b}]0;title\u{7} step\r".to_owned();
    let events = [
        Event::StepStarted { step: 0, name, place: None },
        Event::Violation { step: Some(0), message: "bad\u{1b}[2J".into() },
        Event::StepFinished { step: 0, outcome: meshbed_events::StepOutcome::Failed },
    ];
    let events = events.into_iter().map(|event| Stamped { at: Micros(1), event }).collect();
    let text = terminal(&RunRecord { events });
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
}

#[test]
fn equal_violations_are_printed_once_and_counted() {
    let text = live(&sample::failed(20), Colour::No, Detail::Outcomes);
    assert_eq!(text.matches("       WRONG [").count(), 1, "{text}");
    assert!(text.contains("7 wrong answers or errors in this step"), "{text}");
}

#[test]
fn report_yaml() {
    insta::assert_snapshot!(yaml::report(&sample::failed(20)).expect("a sample is written"));
}

#[test]
fn normalised_report() {
    insta::assert_snapshot!(yaml::normalised(&sample::passed(40)).expect("a sample is written"));
}

#[test]
fn good_runs_have_the_same_normalised_report() {
    let slow = yaml::normalised(&sample::passed(40)).expect("a sample is written");
    let mut other = sample::passed(150);
    for stamped in &mut other.events {
        stamped.at.0 += 7;
        match &mut stamped.event {
            Event::RunStarted(info) => {
                info.run = "zzzzzz".into();
                info.kernel = "5.10.0".into();
                info.started = "2031-01-01T00:00:00Z".into();
            }
            Event::Request(request) => request.client.push_str("-again"),
            Event::FaultWitnessed { witness, .. } => *witness = "pid 9 is gone".into(),
            _ => {}
        }
    }
    assert_eq!(yaml::normalised(&other).expect("a sample is written"), slow);
}

#[test]
fn drift_changes_the_normalised_report() {
    let good = yaml::normalised(&sample::passed(40)).expect("a sample is written");
    let mut drifted = Vec::new();
    drifted.push(sample::failed(40));
    drifted.push(sample::invalid(40));
    let mut dropped = sample::passed(40);
    for stamped in &mut dropped.events {
        if let Event::MapChanged { state, .. } = &mut stamped.event {
            state.frontends.values_mut().for_each(|frontend| frontend.active.truncate(1));
        }
    }
    drifted.push(dropped);
    let mut unproven = sample::passed(40);
    unproven.events.retain(|stamped| !matches!(stamped.event, Event::FaultWitnessed { .. }));
    drifted.push(unproven);
    for record in &drifted {
        assert_ne!(yaml::normalised(record).expect("a sample is written"), good);
    }
}

#[test]
fn junit_of_a_failed_run() {
    insta::assert_snapshot!(junit::report(&sample::failed(20)).expect("a sample is written"));
}

#[test]
fn junit_of_a_run_that_timed_out() {
    insta::assert_snapshot!(junit::report(&sample::timed_out(20)).expect("a sample is written"));
}

#[test]
fn junit_of_an_interrupted_run() {
    insta::assert_snapshot!(junit::report(&sample::interrupted(20)).expect("a sample is written"));
}

#[test]
fn junit_of_a_mesh_that_did_not_come_up() {
    insta::assert_snapshot!(junit::report(&sample::environment()).expect("a sample is written"));
}

#[test]
fn a_passed_run_has_no_failure_in_junit() {
    let text = junit::report(&sample::passed(20)).expect("a sample is written");
    assert!(text.contains(r#"tests="3" skipped="0" failures="0" errors="0""#), "{text}");
}

#[test]
fn map_text_of_a_node() {
    let texts = maps::texts(&sample::passed(20));
    assert_eq!(
        texts.keys().collect::<Vec<_>>(),
        ["alpha/alpha-1.txt", "alpha/alpha-2.txt", "beta/beta-1.txt", "beta/beta-2.txt"]
    );
    insta::assert_snapshot!(texts["beta/beta-1.txt"]);
}

#[test]
fn map_texts_stay_in_their_folder() {
    let state = meshbed_events::MapState::default();
    let event = Event::MapChanged { cluster: "..".into(), node: "../../etc/passwd".into(), state };
    let texts = maps::texts(&RunRecord { events: vec![Stamped { at: Micros(1), event }] });
    for path in texts.keys() {
        assert!(!path.contains("..") && path.matches('/').count() == 1, "{path}");
    }
}

#[test]
fn a_record_without_events_has_every_report() {
    let empty = RunRecord::default();
    assert!(table(&empty).contains("0 steps run"));
    assert!(yaml::report(&empty).expect("nothing to fail on").contains("verdict: cut-off"));
    assert!(yaml::normalised(&empty).expect("nothing to fail on").contains("verdict: cut-off"));
    assert!(junit::report(&empty).expect("nothing to fail on").contains("mesh comes up"));
    assert!(maps::texts(&empty).is_empty());
}
