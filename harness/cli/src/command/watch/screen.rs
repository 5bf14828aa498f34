//! The live view as lines of text: a pure function of what was seen and the size of the terminal.

use std::time::Duration;

use meshbed_engine::{MeshView, WrongView};

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const PLAIN: &str = "\x1b[0m";

/// Widest bar of answers.
const BAR: u64 = 40;
/// Columns of the longest names that are lined up.
const NAME: usize = 28;

/// The lines of a screen of this size. When there is not room for all, wrong map entries are counted instead of shown.
pub(super) fn screen(view: &MeshView, width: usize, height: usize) -> Vec<String> {
    let mut lines = vec![format!("{BOLD}run {} ({}){PLAIN}  {DIM}q ends this{PLAIN}", view.run, view.topology)];
    clusters(view, &mut lines);
    services(view, &mut lines);
    answers(view, &mut lines);
    faults(view, &mut lines);
    let room = height.saturating_sub(lines.len() + HEADING_LINES);
    wrong(&view.wrong, room, &mut lines);
    lines.truncate(height);
    lines.iter().map(|line| cut(line, width)).collect()
}

/// An empty line and a heading.
const HEADING_LINES: usize = 2;

fn heading(text: &str, lines: &mut Vec<String>) {
    lines.push(String::new());
    lines.push(format!("{BOLD}{text}{PLAIN}"));
}

fn clusters(view: &MeshView, lines: &mut Vec<String>) {
    heading("clusters", lines);
    for cluster in &view.clusters {
        let nodes = cluster.nodes.iter().map(|node| {
            let (colour, ready) = if node.is_ready { (GREEN, "ready") } else { (RED, "not ready") };
            let maps = match node.backends {
                Some(backends) => format!("{backends} backends"),
                None => "no maps".to_owned(),
            };
            format!("{} {colour}{ready}{PLAIN} {DIM}{maps}{PLAIN}", node.name)
        });
        lines.push(format!("  {:<10} {}", cluster.name, nodes.collect::<Vec<_>>().join("   ")));
    }
}

fn services(view: &MeshView, lines: &mut Vec<String>) {
    heading("services: ready endpoints", lines);
    for service in &view.services {
        let counts = service.endpoints.iter().map(|(cluster, count)| {
            let colour = if *count == 0 { RED } else { "" };
            let global = if service.global_in.contains(cluster) { " global" } else { "" };
            format!("{cluster} {colour}{count}{PLAIN}{DIM}{global}{PLAIN}")
        });
        lines.push(format!("  {:<NAME$} {}", service.name, counts.collect::<Vec<_>>().join("   ")));
    }
    if view.services.is_empty() {
        lines.push(format!("  {DIM}none chooses pods{PLAIN}"));
    }
}

fn answers(view: &MeshView, lines: &mut Vec<String>) {
    if view.answers.is_empty() && view.note.is_none() {
        return;
    }
    heading("answers a second", lines);
    let most = view.answers.iter().flat_map(|answers| answers.from.values()).copied().max().unwrap_or(0).max(BAR);
    for answers in &view.answers {
        lines.push(format!("  clients in {}", answers.asking));
        for (cluster, count) in &answers.from {
            let bar = "█".repeat(usize::try_from(count * BAR / most).unwrap_or(0));
            lines.push(format!("    from {cluster:<10} {count:>5} {GREEN}{bar}{PLAIN}"));
        }
        if answers.errors > 0 {
            lines.push(format!("    {RED}errors          {:>5}{PLAIN}", answers.errors));
        }
        if answers.from.is_empty() && answers.errors == 0 {
            lines.push(format!("    {DIM}nobody answers{PLAIN}"));
        }
    }
    if let Some(note) = &view.note {
        lines.push(format!("  {DIM}{note}{PLAIN}"));
    }
}

fn faults(view: &MeshView, lines: &mut Vec<String>) {
    if view.faults.is_empty() {
        return;
    }
    heading("faults", lines);
    for fault in &view.faults {
        let age = humantime::format_duration(Duration::from_secs(fault.age().as_secs()));
        lines.push(format!("  {YELLOW}{}{PLAIN} {}, {} for {age}", fault.name, fault.words, fault.state_words()));
    }
}

fn wrong(wrong: &[WrongView], room: usize, lines: &mut Vec<String>) {
    heading("map entries", lines);
    if wrong.is_empty() {
        lines.push(format!("  {GREEN}all right{PLAIN}"));
        return;
    }
    let shown = if wrong.len() > room { room.saturating_sub(1) } else { wrong.len() };
    for entry in wrong.iter().take(shown) {
        let kind = if entry.is_missing { "missing" } else { "stale" };
        lines.push(format!("  {RED}{kind:<7}{PLAIN} {:>8} {}: {}", seconds(entry.age), entry.node, entry.what));
    }
    if shown < wrong.len() {
        lines.push(format!("  {RED}and {} more{PLAIN}", wrong.len() - shown));
    }
}

/// `12.3 s`.
fn seconds(age: Duration) -> String {
    format!("{:.1} s", age.as_secs_f64())
}

/// The beginning of a line that has room in `width` columns; control sequences take none.
fn cut(line: &str, width: usize) -> String {
    let mut kept = String::with_capacity(line.len());
    let (mut columns, mut in_sequence) = (0, false);
    for character in line.chars() {
        if in_sequence {
            in_sequence = !character.is_ascii_alphabetic();
        } else if character == '\x1b' {
            in_sequence = true;
        } else if columns == width {
            continue;
        } else {
            columns += 1;
        }
        kept.push(character);
    }
    kept
}

#[cfg(test)]
pub(super) mod tests {
    use meshbed_engine::{AnswersView, ClusterView, NodeView, ServiceView};

    use super::*;

    /// A mesh with a bit of everything.
    pub(crate) fn view() -> MeshView {
        let node = |name: &str, is_ready, backends| NodeView { name: name.to_owned(), is_ready, backends };
        let cluster = |name: &str, nodes| ClusterView { name: name.to_owned(), nodes };
        let answers = |asking: &str, from: &[(&str, u64)], errors| AnswersView {
            asking: asking.to_owned(),
            from: from.iter().map(|(cluster, count)| ((*cluster).to_owned(), *count)).collect(),
            errors,
        };
        MeshView {
            run: "k3f9x2".to_owned(),
            topology: "two-clusters".to_owned(),
            clusters: vec![
                cluster("alpha", vec![node("alpha-1", true, Some(8)), node("alpha-2", false, None)]),
                cluster("beta", vec![node("beta-1", true, Some(8))]),
            ],
            services: vec![ServiceView {
                name: "default/rebel-base".to_owned(),
                global_in: ["alpha".to_owned()].into(),
                endpoints: [("alpha".to_owned(), 2), ("beta".to_owned(), 2)].into(),
            }],
            answers: vec![answers("alpha", &[("alpha", 50), ("beta", 100)], 0), answers("beta", &[("beta", 99)], 3)],
            note: None,
            wrong: vec![WrongView {
                node: "alpha/alpha-1".to_owned(),
                what: "backend 10.2.1.2:80/TCP should not be there".to_owned(),
                is_missing: false,
                age: Duration::from_millis(12_340),
            }],
            faults: Vec::new(),
        }
    }

    fn plain(lines: &[String]) -> String {
        let mut text = lines.join("\n");
        for sequence in [BOLD, DIM, RED, GREEN, YELLOW, PLAIN] {
            text = text.replace(sequence, "");
        }
        text
    }

    #[test]
    fn everything_is_on_the_screen() {
        let expected = "\
run k3f9x2 (two-clusters)  q ends this

clusters
  alpha      alpha-1 ready 8 backends   alpha-2 not ready no maps
  beta       beta-1 ready 8 backends

services: ready endpoints
  default/rebel-base           alpha 2 global   beta 2

answers a second
  clients in alpha
    from alpha         50 ████████████████████
    from beta         100 ████████████████████████████████████████
  clients in beta
    from beta          99 ███████████████████████████████████████
    errors              3

map entries
  stale     12.3 s alpha/alpha-1: backend 10.2.1.2:80/TCP should not be there";
        assert_eq!(plain(&screen(&view(), 100, 40)), expected);
    }

    #[test]
    fn a_small_terminal_is_not_left() {
        let mut view = view();
        view.wrong = vec![view.wrong[0].clone(); 10];
        let lines = screen(&view, 20, 22);
        assert_eq!(lines.len(), 22);
        assert!(plain(&lines).lines().all(|line| line.chars().count() <= 20), "{lines:?}");
        assert!(plain(&lines).ends_with("  and 7 more"), "{lines:?}");
        assert_eq!(screen(&view, 20, 3).len(), 3);
    }
}
