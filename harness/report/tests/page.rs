//! The HTML page: complete, self-contained, well-formed, small, and nothing in a record can break out of it.

use meshbed_events::{Event, Outcome, RunRecord, Verdict};
use meshbed_report::conformance::{self, CaseReport, CaseResult, ConformanceReport, ProfileReport, ProfileResult};
use meshbed_report::{Summary, html};

use crate::sample;

/// The largest page that is still pleasant to attach to a ticket.
const PAGE_MAX: usize = 1_000_000;

fn page(record: &RunRecord) -> String {
    html::report(record).expect("a sample is rendered")
}

fn samples() -> Vec<RunRecord> {
    vec![
        sample::passed(50),
        sample::failed(50),
        sample::timed_out(50),
        sample::interrupted(50),
        sample::invalid(50),
        sample::environment(),
        sample::failover(50, 300),
        RunRecord::default(),
    ]
}

/// Checks that every element is closed by its own end tag, in order; scripts and styles are skipped.
fn assert_well_formed(page: &str) {
    const VOID: [&str; 3] = ["meta", "input", "br"];
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        let tag = &rest[start + 1..];
        let end = tag.find('>').expect("a tag ends");
        let (inner, after) = (&tag[..end], &tag[end + 1..]);
        assert!(!inner.contains('<'), "a bare < in {inner}");
        rest = after;
        if inner.starts_with('!') {
            continue;
        }
        if let Some(name) = inner.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closed in the wrong order");
            continue;
        }
        let name = inner.split([' ', '/', '\n']).next().expect("a name");
        assert_eq!(inner.matches('"').count() % 2, 0, "an open quote in {inner}");
        if inner.ends_with('/') || VOID.contains(&name) {
            continue;
        }
        if name == "script" || name == "style" {
            let close = format!("</{name}>");
            rest = &rest[rest.find(&close).expect("closed") + close.len()..];
            continue;
        }
        open.push(name);
    }
    assert!(open.is_empty(), "never closed: {open:?}");
}

/// The data of the page's program.
fn data(page: &str) -> serde_json::Value {
    let (_, rest) = page.split_once("id=\"data\">").expect("a page has data");
    let (text, _) = rest.split_once("</script>").expect("closed");
    serde_json::from_str(text).expect("data is JSON")
}

#[test]
fn pages_are_well_formed() {
    for record in samples() {
        assert_well_formed(&page(&record));
    }
}

#[test]
fn pages_need_no_network() {
    for record in samples() {
        let page = page(&record);
        // The name of the SVG namespace is no address that anything is fetched from.
        let rest = page.replace("http://www.w3.org/2000/svg", "");
        for word in ["http://", "https://", "src=", "@import", "<link", "fetch("] {
            assert!(!rest.contains(word), "{word}");
        }
        assert_eq!(rest.matches("url(").count(), rest.matches("url(#").count(), "only patterns of the page itself");
    }
}

#[test]
fn anything_in_a_record_is_escaped() {
    let evil = "</script><script>alert(1)</script><b a=\"'&\u{1b}";
    let mut record = sample::failed(50);
    for stamped in &mut record.events {
        match &mut stamped.event {
            Event::RunStarted(info) => {
                info.scenario = evil.into();
                info.question = evil.into();
                info.kernel = evil.into();
                info.scenario_file = evil.into();
                info.agent = evil.into();
                info.reproduce = evil.into();
                info.links.push(evil.into());
                info.clusters.insert(evil.into(), vec![evil.into()]);
            }
            Event::StepStarted { name, .. } => *name = evil.into(),
            Event::Request(request) => {
                request.cluster = evil.into();
                request.client = evil.into();
                if let Outcome::Answered(answer) = &mut request.outcome {
                    answer.cluster = evil.into();
                    answer.pod = evil.into();
                }
            }
            Event::MapWrong { differences, node, .. } => {
                differences.iter_mut().for_each(|difference| difference.message = evil.into());
                *node = evil.into();
            }
            Event::MapEntryAged { difference, node, .. } => {
                *node = evil.into();
                difference.message = evil.into();
                difference.service = Some(evil.into());
                difference.backend = Some(evil.into());
            }
            Event::Hop(hop) => hop.service = evil.into(),
            Event::Log { process, cluster, level, text } => {
                for field in [process, cluster, level, text] {
                    *field = evil.into();
                }
            }
            Event::ObjectChanged { kind, name, change, .. } => {
                for field in [kind, name, change] {
                    *field = evil.into();
                }
            }
            Event::Note { text } => *text = evil.into(),
            Event::FaultHealed { witness, .. } => *witness = evil.into(),
            Event::FaultInjected { name, kind, target, pods, .. } => {
                *name = evil.into();
                *kind = evil.into();
                *target = evil.into();
                pods.push(evil.into());
            }
            Event::FaultWitnessed { witness, .. } => *witness = evil.into(),
            Event::Stopwatch(stopwatch) => stopwatch.target = evil.into(),
            Event::Violation { message, .. } => *message = evil.into(),
            Event::Expectation { expectation, findings, .. } => {
                *expectation = evil.into();
                findings.push(evil.into());
            }
            _ => {}
        }
    }
    let page = page(&record);
    assert_eq!(page.matches("<script").count(), 2, "only the page's data and its program");
    assert_eq!(page.matches("</script>").count(), 2, "only the page's data and its program");
    assert!(data(&page)["who"].to_string().contains("alert(1)"), "the data holds what it was given, escaped");
    assert!(!page.contains("<b a="));
    assert!(!page.contains('\u{1b}'));
    assert_well_formed(&page);
}

#[test]
fn a_large_record_gives_a_small_page() {
    let record = sample::failover(2_000, 2_000);
    let requests = Summary::of(&record).total.requests;
    assert!(requests > 100_000, "{requests} requests");
    let page = page(&record);
    assert!(page.len() < PAGE_MAX, "{} bytes", page.len());
}

#[test]
fn many_violations_and_map_changes_give_a_small_page() {
    let mut record = sample::failed(200);
    let end = record.events.pop().expect("a sample has an end");
    let map = record
        .events
        .iter()
        .find(|stamped| matches!(stamped.event, Event::MapChanged { .. }))
        .expect("a change")
        .clone();
    let wrong = record
        .events
        .iter()
        .find(|stamped| matches!(stamped.event, Event::MapWrong { .. }))
        .expect("a difference")
        .clone();
    for index in 0..20_000 {
        let mut change = map.clone();
        change.at.0 = index * 150;
        record.events.push(change);
        let mut disagreement = wrong.clone();
        disagreement.at.0 = index * 150 + 20;
        record.events.push(disagreement);
        let message = format!("alpha/alpha-1: default/rebel-base answered from 10.1.1.{index}, which is dead");
        let violation = Event::Violation { step: Some(2), message };
        record.events.push(meshbed_events::Stamped { at: end.at, event: violation });
    }
    record.events.push(end);
    let page = page(&record);
    assert!(page.len() < PAGE_MAX, "{} bytes", page.len());
    assert_well_formed(&page);
    assert!(page.contains("Left out here: "), "the page says that it does not show all");
}

#[test]
fn the_page_tells_what_matters() {
    let page = page(&sample::failed(50));
    let wanted = [
        "When every rebel-base of a cluster dies",
        "just e2e failover",
        "10.1.1.2 &#60;dead&#62; &#38; &#34;kept&#34;",
        "which is dead (7 times)",
        "id=\"step-3\"",
        "class=\"wrong\"",
        "class=\"error-tick\"",
        "6.18.5-cloud-amd64",
        "prefers-color-scheme",
    ];
    for word in wanted {
        assert!(page.contains(word), "{word}");
    }
}

#[test]
fn a_passed_run_has_no_section_on_failures() {
    assert!(!page(&sample::passed(50)).contains("What went wrong"));
    let mut record = sample::passed(50);
    if let Some(last) = record.events.last_mut() {
        last.event = Event::RunFinished { verdict: Verdict::Invalid, exit_code: 4 };
    }
    assert!(page(&record).contains("What went wrong"));
}

#[test]
fn a_conformance_page_folds_long_reasons_and_escapes_them() {
    let evil = "</script><b a=\"'&";
    let case = CaseReport {
        id: "GS-001".into(),
        title: evil.into(),
        required: true,
        result: CaseResult::NonConformant,
        reason: (0..20).map(|line| format!("{line} {evil}\n")).collect(),
        ..CaseReport::default()
    };
    let profile =
        ProfileReport { name: evil.into(), result: ProfileResult::of(std::slice::from_ref(&case)), cases: vec![case] };
    let report = ConformanceReport { agent: evil.into(), profiles: vec![profile], ..ConformanceReport::default() };
    let page = conformance::html(&report).expect("a report is rendered");
    assert_well_formed(&page);
    assert!(!page.contains("<b a="));
    assert!(page.contains("<summary>17 more lines</summary>"), "three lines are open");
}
