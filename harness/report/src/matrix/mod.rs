//! What the same cases say on many kernels: rows are cases, columns are kernels.
//!
//! Made from one conformance report a kernel, and from what became of the guests.

mod html;
mod markdown;
mod model;
mod terminal;

pub use html::html;
pub use markdown::markdown;
pub use model::{Cell, CellResult, KIND, KernelColumn, MatrixCase, MatrixReport, read, yaml};
pub use terminal::terminal;
