//! The mesh as a drawing: clusters with their nodes, the links between them, and what was asked of each link.

use meshbed_events::RunInfo;

use super::svg::{escape, look, put, title};
use crate::{Node, Summary, words};

/// Width of the drawing.
const WIDTH: f64 = 1160.0;
/// Width of a cluster's box.
const BOX: f64 = 190.0;
/// Height of a cluster's box without its nodes.
const HEAD: f64 = 30.0;
/// Height of a node within it.
const NODE: f64 = 19.0;
/// Nodes of one cluster that are drawn.
const NODES_MAX: usize = 8;
/// Clusters that stand in a row; more stand in a ring.
const ROW_MAX: usize = 2;
/// Clusters that are drawn; a ring of more could not be read.
const CLUSTERS_MAX: usize = 24;
/// Conditions of links that are listed.
const LINKS_MAX: usize = 24;
/// Characters of a condition beside its line.
const CONDITION_MAX: usize = 44;

/// A cluster and where its box is.
struct Placed<'s> {
    name: &'s str,
    nodes: &'s [String],
    x: f64,
    y: f64,
    height: f64,
}

/// A link with conditions, read from words such as `alpha -> beta: delay 40ms`.
struct Link<'s> {
    from: &'s str,
    to: &'s str,
    condition: &'s str,
}

/// The drawing; empty when the record names no cluster.
pub(super) fn draw(summary: &Summary, clusters: &[String]) -> String {
    let placed = place(summary);
    if placed.is_empty() {
        return String::new();
    }
    let height = placed.iter().map(|one| one.y + one.height).fold(0.0, f64::max) + 14.0;
    let mut svg = String::new();
    put(
        &mut svg,
        format_args!(
            "<svg class=\"chart topology\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"Clusters, \
             nodes and links\">"
        ),
    );
    lines(&placed, &mut svg);
    conditions(summary, &placed, &mut svg);
    for one in &placed {
        cluster(summary, one, clusters, &mut svg);
    }
    svg.push_str("</svg>");
    svg
}

fn place(summary: &Summary) -> Vec<Placed<'_>> {
    let all = &summary.info.clusters;
    let shown = all.len().min(CLUSTERS_MAX);
    let tallest = all.values().map(|nodes| nodes.len().min(NODES_MAX)).max().unwrap_or(0);
    let height = HEAD + tallest as f64 * NODE + 8.0;
    let radius = if shown <= ROW_MAX { 0.0 } else { (shown as f64 * (height + 14.0) / 5.0).max(height * 0.9) };
    let mut placed = Vec::new();
    for (index, (name, nodes)) in all.iter().take(CLUSTERS_MAX).enumerate() {
        let (x, y) = if shown <= ROW_MAX {
            let gap = WIDTH - shown as f64 * BOX;
            (index as f64 * (BOX + gap / 2.0) + gap / 4.0, 14.0)
        } else {
            let angle = (index as f64 / shown as f64 - 0.25) * std::f64::consts::TAU;
            (
                WIDTH / 2.0 - BOX / 2.0 + angle.cos() * (WIDTH / 2.0 - BOX / 2.0 - 10.0),
                14.0 + radius + angle.sin() * radius,
            )
        };
        placed.push(Placed { name, nodes, x, y, height });
    }
    placed
}

fn middle(one: &Placed<'_>) -> (f64, f64) {
    (one.x + BOX / 2.0, one.y + one.height / 2.0)
}

/// Every pair of clusters is meshed.
fn lines(placed: &[Placed<'_>], svg: &mut String) {
    for (index, one) in placed.iter().enumerate() {
        for other in placed.iter().skip(index + 1) {
            let ((x, y), (to_x, to_y)) = (middle(one), middle(other));
            put(svg, format_args!("<path class=\"link\" d=\"M{x:.1} {y:.1}L{to_x:.1} {to_y:.1}\"/>"));
        }
    }
}

/// Words of a link that are not of that shape are shown as they are, without a line.
fn link(words: &str) -> Option<Link<'_>> {
    let (ends, condition) = words.split_once(':')?;
    let (from, to) = ends.split_once("->")?;
    Some(Link { from: from.trim(), to: to.trim(), condition: condition.trim() })
}

/// The line of a link with conditions, and the words beside it: a third of the way from where it begins, so that both
/// directions of a pair have their own place.
fn conditions(summary: &Summary, placed: &[Placed<'_>], svg: &mut String) {
    for text in summary.info.links.iter().take(LINKS_MAX) {
        let Some(link) = link(text) else { continue };
        let find = |name: &str| placed.iter().find(|one| one.name == name);
        let (Some(from), Some(to)) = (find(link.from), find(link.to)) else { continue };
        let ((x, y), (to_x, to_y)) = (middle(from), middle(to));
        let length = ((to_x - x).powi(2) + (to_y - y).powi(2)).sqrt().max(1.0);
        // Both directions of a pair are drawn beside each other.
        let (aside_x, aside_y) = (-(to_y - y) / length * 9.0, (to_x - x) / length * 9.0);
        let (start_x, start_y, end_x, end_y) = (x + aside_x, y + aside_y, to_x + aside_x, to_y + aside_y);
        put(
            svg,
            format_args!(
                "<path class=\"link slow\" d=\"M{start_x:.1} {start_y:.1}L{end_x:.1} {end_y:.1}\">{}</path>",
                title(text)
            ),
        );
        let (at_x, at_y) = (start_x + (end_x - start_x) * 0.5, start_y + (end_y - start_y) * 0.5);
        let below = if aside_y > 0.0 || (aside_y == 0.0 && aside_x > 0.0) { 15.0 } else { -6.0 };
        let arrow = if to_x < x { "← " } else { "→ " };
        put(
            svg,
            format_args!(
                "<text class=\"condition\" x=\"{at_x:.1}\" y=\"{:.1}\">{arrow}{}</text>",
                at_y + below,
                escape(&words::shortened(link.condition, CONDITION_MAX))
            ),
        );
    }
}

fn cluster(summary: &Summary, one: &Placed<'_>, clusters: &[String], svg: &mut String) {
    put(
        svg,
        format_args!(
            "<g><rect class=\"cluster\" x=\"{0:.1}\" y=\"{1:.1}\" width=\"{BOX}\" height=\"{2:.1}\" rx=\"5\"/><rect \
             class=\"{3}\" x=\"{0:.1}\" y=\"{1:.1}\" width=\"5\" height=\"{2:.1}\" rx=\"2\"/><text class=\"strong\" \
             x=\"{4:.1}\" y=\"{5:.1}\">{6}</text>",
            one.x,
            one.y,
            one.height,
            look(clusters, one.name),
            one.x + 16.0,
            one.y + 19.0,
            escape(&words::shortened(one.name, 20))
        ),
    );
    put(
        svg,
        format_args!(
            "<text class=\"agent\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            one.x + BOX - 10.0,
            one.y + 19.0,
            escape(&words::shortened(&runs_on(&summary.info, one.name), 26))
        ),
    );
    for (index, name) in one.nodes.iter().take(NODES_MAX).enumerate() {
        node(summary, one, name, one.y + HEAD + index as f64 * NODE, svg);
    }
    let hidden = one.nodes.len().saturating_sub(NODES_MAX);
    if hidden > 0 {
        let y = one.y + one.height - 1.0;
        put(
            svg,
            format_args!("<text class=\"agent\" x=\"{:.1}\" y=\"{y:.1}\">and {hidden} more</text>", one.x + BOX - 10.0),
        );
    }
    svg.push_str("</g>");
}

/// The agent of a cluster, and its kernel when the clusters have different ones.
fn runs_on(info: &RunInfo, cluster: &str) -> String {
    let agent = own(&info.agent, cluster).unwrap_or(&info.agent).trim();
    match own(&info.kernel, cluster) {
        // The version alone; the rest is the distribution's.
        Some(kernel) => format!("{agent}, {}", kernel.split(['-', '+']).next().unwrap_or(kernel)),
        None => agent.to_owned(),
    }
}

/// What a cluster has of its own: `alpha=one, beta=two` names them apart, otherwise all have the same.
fn own<'s>(all: &'s str, cluster: &str) -> Option<&'s str> {
    let of_cluster = |part: &'s str| part.trim().strip_prefix(cluster)?.trim_start().strip_prefix(['=', ':']);
    all.split(',').find_map(of_cluster).map(str::trim)
}

/// A node, and the oldest wrong entry of its maps.
fn node(summary: &Summary, cluster: &Placed<'_>, name: &str, y: f64, svg: &mut String) {
    let id = Node { cluster: cluster.name.to_owned(), name: name.to_owned() };
    let oldest = summary.stale.iter().filter(|entry| entry.node == id).max_by_key(|entry| entry.age);
    let (class, text) = match oldest {
        Some(entry) if entry.until.is_none() => ("node bad", format!("wrong for {}", words::duration(entry.age))),
        Some(entry) => ("node", format!("wrong ≤ {}", words::duration(entry.age))),
        None => ("node", String::new()),
    };
    let about = match oldest {
        Some(entry) => format!("{id}: oldest wrong entry {}: {}", words::duration(entry.age), entry.difference),
        None => format!("{id}: no wrong entry"),
    };
    let text_y = y + 12.0;
    put(
        svg,
        format_args!(
            "<g class=\"{class}\">{}<rect x=\"{:.1}\" y=\"{y:.1}\" width=\"{}\" height=\"{}\" rx=\"3\"/>\
             <text x=\"{:.1}\" y=\"{text_y:.1}\">{}</text>\
             <text class=\"agent\" x=\"{:.1}\" y=\"{text_y:.1}\">{text}</text></g>",
            title(&about),
            cluster.x + 12.0,
            BOX - 20.0,
            NODE - 3.0,
            cluster.x + 18.0,
            escape(&words::shortened(name, 14)),
            cluster.x + BOX - 13.0,
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_from_their_words() {
        let found = link("alpha -> beta: delay 40ms, loss 1%").expect("of the usual shape");
        assert_eq!((found.from, found.to, found.condition), ("alpha", "beta", "delay 40ms, loss 1%"));
        assert!(link("all links are slow").is_none());
    }

    #[test]
    fn agents_may_differ_by_cluster() {
        assert_eq!(own("mesh-agent", "alpha"), None);
        assert_eq!(own("alpha=cilium, beta=mesh-agent", "beta"), Some("mesh-agent"));
        let info = |kernel: &str| RunInfo { agent: "mesh-agent".into(), kernel: kernel.into(), ..RunInfo::default() };
        let same = info("6.1.0-50-cloud-amd64");
        assert_eq!(runs_on(&same, "alpha"), "mesh-agent", "what is the same for all is said elsewhere");
        let info = info("alpha: 5.10.0-32-cloud-amd64, beta: 7.3.4+deb13-cloud-amd64");
        assert_eq!(runs_on(&info, "beta"), "mesh-agent, 7.3.4");
    }
}
