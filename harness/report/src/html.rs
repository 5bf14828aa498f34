//! `report.html`: one file, complete without network and without scripts.

mod bins;
mod closeup;
mod drawing;
mod happenings;
mod lanes;
mod page;
mod requests;
mod svg;
mod timeline;
mod topology;

pub(crate) use page::verdict_class;

use askama::Template as _;
use meshbed_events::RunRecord;

/// A report could not be rendered.
#[derive(Debug, thiserror::Error)]
#[error("failed to render the HTML report")]
pub struct HtmlError {
    #[source]
    source: askama::Error,
}

impl HtmlError {
    pub(crate) fn new(source: askama::Error) -> Self {
        Self { source }
    }
}

/// The page.
pub fn report(record: &RunRecord) -> Result<String, HtmlError> {
    let summary = crate::Summary::of(record);
    page::Page::of(record, &summary).render().map_err(HtmlError::new)
}
