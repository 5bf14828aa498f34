//! The matrix as one page. No network, no script.

use askama::Template;

use super::{CellResult, MatrixReport};
use crate::{html::HtmlError, words};

#[derive(Template)]
#[template(path = "matrix.html")]
struct Page {
    style: &'static str,
    agent: String,
    counts: Vec<(&'static str, String)>,
    kernels: Vec<KernelView>,
    rows: Vec<RowView>,
    others: Vec<OtherView>,
}

struct KernelView {
    name: String,
    release: String,
    accelerator: String,
    slowness: String,
    boot: String,
    all: String,
    trouble: String,
}

struct RowView {
    id: String,
    title: String,
    cells: Vec<CellView>,
}

struct CellView {
    class: &'static str,
    result: &'static str,
    reason: String,
}

struct OtherView {
    title: String,
    reason: Vec<String>,
    reproduce: String,
}

/// The page.
pub fn html(report: &MatrixReport) -> Result<String, HtmlError> {
    let counts = [CellResult::Pass, CellResult::Fail, CellResult::Unknown, CellResult::Skipped].into_iter();
    let counts = counts.map(|result| (class(result), report.count(result), result));
    let page = Page {
        style: include_str!("../../templates/report.css"),
        agent: clean(&report.agent),
        counts: counts
            .filter(|(_, count, _)| *count > 0)
            .map(|(class, count, result)| (class, format!("{count} {}", result.as_str())))
            .collect(),
        kernels: report
            .kernels
            .iter()
            .map(|kernel| KernelView {
                name: clean(&kernel.name),
                release: clean(&kernel.release),
                accelerator: clean(&kernel.accelerator),
                slowness: format!("{:.1}", kernel.slowness),
                boot: format!("{:.1} s", kernel.boot_seconds),
                all: format!("{:.0} s", kernel.seconds),
                trouble: clean(&kernel.trouble),
            })
            .collect(),
        rows: rows(report),
        others: others(report),
    };
    page.render().map_err(HtmlError::new)
}

fn rows(report: &MatrixReport) -> Vec<RowView> {
    let row = |case: &super::MatrixCase| {
        let cells = report.kernels.iter().filter_map(|kernel| case.results.get(&kernel.name));
        let cells = cells.map(|cell| CellView {
            class: class(cell.result),
            result: cell.result.as_str(),
            reason: clean(&cell.reason),
        });
        RowView { id: clean(&case.id), title: clean(&case.title), cells: cells.collect() }
    };
    report.cases.iter().map(row).collect()
}

fn others(report: &MatrixReport) -> Vec<OtherView> {
    let others = report.cells().filter(|(_, _, cell)| cell.result != CellResult::Pass);
    others
        .map(|(case, kernel, cell)| OtherView {
            title: clean(&format!("{} on {}: {}", case.id, kernel.name, cell.result.as_str())),
            reason: cell.reason.lines().map(clean).collect(),
            reproduce: clean(&cell.reproduce),
        })
        .collect()
}

fn class(result: CellResult) -> &'static str {
    match result {
        CellResult::Pass => "good",
        CellResult::Fail => "bad",
        CellResult::Unknown => "caution",
        CellResult::Skipped => "",
    }
}

fn clean(text: &str) -> String {
    words::printable(text)
}

#[cfg(test)]
mod tests {
    use super::{super::model::testing, *};

    #[test]
    fn the_page_has_every_cell() {
        let page = html(&testing::matrix()).expect("rendered");
        assert_eq!(page.matches("<td><span class=\"badge").count(), 8);
        assert!(page.contains("the kernel panicked: oops") && !page.contains("<script"));
    }
}
