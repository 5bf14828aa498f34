//! `report.html`: one file, complete without network and without scripts.

mod bins;
mod closeup;
mod page;
mod svg;
mod timeline;

use askama::Template as _;
use meshbed_events::RunRecord;

/// A report could not be rendered.
#[derive(Debug, thiserror::Error)]
#[error("failed to render the HTML report")]
pub struct HtmlError {
    #[source]
    source: askama::Error,
}

/// The page.
pub fn report(record: &RunRecord) -> Result<String, HtmlError> {
    let summary = crate::Summary::of(record);
    page::Page::of(record, &summary).render().map_err(|source| HtmlError { source })
}
