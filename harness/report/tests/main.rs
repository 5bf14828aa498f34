//! Tests of the reports, in one program: linking costs more than running.

mod chromium;
mod page;
mod sample;
mod summary;
mod texts;
