//! How a record is folded.

use std::time::Duration;

use meshbed_events::{
    DifferenceKind, ErrorKind, Event, MapDifference, Micros, Outcome, Request, RunRecord, Stamped, StepOutcome, Verdict,
};
use meshbed_report::{Ending, Summary};

use crate::sample;

fn request(sent: u64, done: u64, outcome: Outcome) -> Stamped {
    let request = Request {
        cluster: "alpha".into(),
        client: "x-wing".into(),
        node: "alpha-1".into(),
        service: "default/rebel-base".into(),
        sequence: 0,
        sent: Micros(sent),
        done: Micros(done),
        opened: None,
        outcome,
    };
    Stamped { at: Micros(done), event: Event::Request(request) }
}

fn at(at: u64, event: Event) -> Stamped {
    Stamped { at: Micros(at), event }
}

/// Two steps: 100 to 200 (settled at 150) and 210 onwards (settled at 250).
fn two_steps(mut requests: Vec<Stamped>) -> RunRecord {
    let mut events = vec![
        at(100, Event::StepStarted { step: 0, name: "first".into(), place: None }),
        at(150, Event::StepSettled { step: 0 }),
        at(200, Event::StepFinished { step: 0, outcome: StepOutcome::Passed }),
        at(210, Event::StepStarted { step: 1, name: "second".into(), place: None }),
        at(250, Event::StepSettled { step: 1 }),
    ];
    // As the harness learns of them: after the events of the steps in which they were sent.
    events.append(&mut requests);
    RunRecord { events }
}

#[test]
fn a_request_belongs_to_the_step_in_which_it_was_sent() {
    let record = two_steps(vec![
        request(50, 60, sample::answer(0, 1)),
        request(120, 130, sample::answer(0, 1)),
        request(190, 198, sample::answer(0, 1)),
        request(195, 260, sample::answer(0, 1)),
        request(205, 206, Outcome::Failed(ErrorKind::Reset)),
        request(255, 256, sample::answer(1, 1)),
    ]);
    let summary = Summary::of(&record);
    assert_eq!(summary.total.requests, 6, "the request before the first step is counted");
    let first = summary.steps[0].clients.values().next().expect("one client");
    assert_eq!(
        (first.transition.requests, first.steady.requests),
        (3, 1),
        "what is not done at the step's end is not steady"
    );
    assert_eq!(first.steady.errors.len(), 0, "what was sent after the step's end is not steady");
    let second = summary.steps[1].clients.values().next().expect("one client");
    assert_eq!((second.transition.requests, second.steady.requests), (0, 1));
    assert_eq!(second.steady.answers.get("beta"), Some(&1));
    assert_eq!(first.steady.answer_latency.max(), Some(Duration::from_micros(8)));
}

#[test]
fn steps_have_their_times() {
    let summary = Summary::of(&two_steps(Vec::new()));
    assert_eq!(summary.steps[0].duration(), Some(Duration::from_micros(100)));
    assert_eq!(summary.steps[0].settle_time(), Some(Duration::from_micros(50)));
    assert_eq!(summary.steps[1].outcome, None, "the record ends in the midst of it");
    assert_eq!(summary.ending, Ending::CutOff);
}

#[test]
fn steps_that_never_began_are_skipped() {
    let summary = Summary::of(&sample::interrupted(20));
    let outcomes: Vec<_> = summary.steps.iter().map(|step| step.outcome).collect();
    assert_eq!(outcomes, [Some(StepOutcome::Passed), None, Some(StepOutcome::Skipped)]);
    assert_eq!(summary.verdict(), Some(Verdict::Interrupted));
}

#[test]
fn disagreement_lasts_from_the_first_wrong_to_the_next_right() {
    let wrong = |difference: &str| Event::MapWrong {
        cluster: "alpha".into(),
        node: "alpha-1".into(),
        differences: vec![MapDifference {
            kind: DifferenceKind::StaleBackend,
            service: None,
            frontend: String::new(),
            backend: None,
            cluster: None,
            message: difference.into(),
        }],
    };
    let right = || Event::MapRight { cluster: "alpha".into(), node: "alpha-1".into() };
    let events = vec![at(5, right()), at(10, wrong("a")), at(20, wrong("b")), at(30, right()), at(40, wrong("c"))];
    let summary = Summary::of(&RunRecord { events });
    let maps = summary.nodes.values().next().expect("one node");
    let intervals: Vec<_> =
        maps.wrong.iter().map(|one| (one.from.0, one.until.map(|until| until.0), one.text())).collect();
    assert_eq!(intervals, [(10, Some(30), "b".to_owned()), (40, None, "c".to_owned())]);
    assert_eq!(maps.longest_wrong(Micros(90)), Some(Duration::from_micros(50)));
}

#[test]
fn a_fault_knows_its_step_witnesses_and_end() {
    let summary = Summary::of(&sample::failover(20, 300));
    let fault = &summary.faults[0];
    assert_eq!((fault.step, fault.witnesses.len(), fault.healed.is_some()), (Some(2), 2, true));
    assert_eq!(summary.stopwatches.len(), 5);
    assert_eq!(summary.steps_with(StepOutcome::Passed), 14);
}

#[test]
fn stale_entries_have_node_service_backend_and_age() {
    let summary = Summary::of(&sample::passed(20));
    assert_eq!(summary.stale.len(), 4, "one for each node");
    let entry = &summary.oldest_stale(1)[0];
    assert_eq!(entry.node.to_string(), "beta/beta-1");
    assert_eq!(entry.difference.service.as_deref(), Some("default/rebel-base"));
    assert_eq!(entry.difference.backend.as_deref(), Some("10.1.1.2:80/TCP"));
    assert_eq!(entry.age, Duration::from_micros(3_140));
    assert_eq!(summary.stale_max(), Some(entry.age));
    assert_eq!(summary.missing_max(), None, "a dead backend that is still there is not missing");
}

#[test]
fn a_record_that_stops_keeps_what_was_wrong_in_it() {
    let summary = Summary::of(&sample::timed_out(20));
    let open: Vec<_> = summary.stale.iter().filter(|entry| entry.until.is_none()).collect();
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].age, summary.duration.since(open[0].since));
}
