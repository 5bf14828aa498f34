//! Requests of each cluster's clients by who answered them, stacked, with marks for errors.

use super::super::bins::{Bin, Bins, outline};
use super::super::drawing::{Context, Drawing, LEFT};
use super::super::svg::{look, put, short, title};

/// Height of the answers of one cluster's clients.
const PANEL: f64 = 96.0;
/// Height of the ticks for errors below them.
const ERROR_ROW: f64 = 9.0;
/// Room between panels.
const GAP: f64 = 14.0;

pub(in super::super) fn draw(context: &Context<'_>, bins: &Bins, drawing: &mut Drawing) {
    let peak = axis_end(bins.peak_per_second());
    for (number, (client, of_client)) in bins.clients.iter().enumerate() {
        let top = drawing.top;
        let base = top + PANEL;
        put(
            &mut drawing.inside,
            format_args!(
                "<path class=\"grid\" d=\"M0 {top:.1}H{0}M0 {1:.1}H{0}\"/><g class=\"panel\" data-panel=\"{number}\" \
                 data-top=\"{top:.1}\" data-height=\"{PANEL}\" data-errors=\"{ERROR_ROW}\">",
                short(context.duration),
                base - PANEL / 2.0
            ),
        );
        panel(context, bins, client, of_client, peak, base, &mut drawing.inside);
        put(
            &mut drawing.inside,
            format_args!("</g><path class=\"line\" d=\"M0 {base:.1}H{}\"/>", short(context.duration)),
        );
        drawing.name(top + 8.0, " strong", client);
        put(
            &mut drawing.labels,
            format_args!(
                "<text class=\"lane small unit\" data-panel=\"{number}\" x=\"0\" y=\"{:.1}\">requests/s</text>",
                top + 27.0
            ),
        );
        for (part, height) in [(1.0, PANEL), (0.5, PANEL / 2.0), (0.0, 0.0)] {
            put(
                &mut drawing.labels,
                format_args!(
                    "<text class=\"value\" data-panel=\"{number}\" data-part=\"{part}\" x=\"{}\" y=\"{:.1}\">{}</text>",
                    LEFT - 6.0,
                    base - height + 4.0,
                    short(peak * part)
                ),
            );
        }
        drawing.top = base + ERROR_ROW + GAP;
    }
}

/// The stacked layers of one panel.
fn panel(context: &Context<'_>, all: &Bins, client: &str, bins: &[Bin], peak: f64, base: f64, inside: &mut String) {
    let pixels = |count: u32| all.per_second(count) / peak * PANEL;
    let mut lower = vec![0.0; bins.len()];
    let mut layer = |class: &str, count: &dyn Fn(&Bin) -> u32| {
        let upper: Vec<f64> = lower.iter().zip(bins).map(|(low, bin)| low + pixels(count(bin))).collect();
        let path = outline(&lower, &upper, all.width_ms, base);
        if !path.is_empty() {
            put(inside, format_args!("<path class=\"area {class}\" d=\"{path}\"/>"));
        }
        lower = upper;
    };
    for cluster in context.clusters {
        layer(&look(context.clusters, cluster), &|bin| bin.answers.get(cluster).copied().unwrap_or(0));
    }
    layer("error", &Bin::failed);
    titles(all, client, bins, base, inside);
}

/// A tick for each bin with errors, and a place to hover over for each bin with requests.
fn titles(all: &Bins, client: &str, bins: &[Bin], base: f64, inside: &mut String) {
    let width = all.width_ms;
    let mut ticks = String::new();
    for (index, bin) in bins.iter().enumerate() {
        let from = index as f64 * width;
        let mut parts: Vec<String> =
            bin.answers.iter().map(|(cluster, count)| format!("{count} by {cluster}")).collect();
        parts.extend(bin.errors.iter().map(|(kind, count)| format!("{count} {kind}")));
        if parts.is_empty() {
            continue;
        }
        if bin.failed() > 0 {
            let middle = short(from + width / 2.0);
            put(&mut ticks, format_args!("M{middle} {:.1}v{}", base + 2.0, ERROR_ROW - 2.0));
        }
        let text = format!("{client}, {:.2} to {:.2} s: {}", from / 1e3, (from + width) / 1e3, parts.join(", "));
        put(
            inside,
            format_args!(
                "<rect class=\"hover\" x=\"{}\" y=\"{:.1}\" width=\"{}\" height=\"{}\">{}</rect>",
                short(from),
                base - PANEL,
                short(width),
                PANEL + ERROR_ROW,
                title(&text)
            ),
        );
    }
    if !ticks.is_empty() {
        put(inside, format_args!("<path class=\"error-tick\" d=\"{ticks}\"/>"));
    }
}

/// A round number at or above `value`, not much above it, so that the panel is filled.
fn axis_end(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    let leading = value / power;
    let steps = [1.0, 1.2, 1.5, 2.0, 2.4, 3.0, 4.0, 5.0, 6.0, 8.0];
    steps.into_iter().find(|step| leading <= step + 1e-9).unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_are_rounded_up_a_little() {
        assert_eq!(axis_end(200.0), 200.0);
        assert_eq!(axis_end(210.0), 240.0);
        assert_eq!(axis_end(0.0), 1.0);
    }
}
