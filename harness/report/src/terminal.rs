//! Reports for terminals and logs.

mod live;
mod styles;
mod table;

pub use live::{Detail, Live, LiveState, status_line};
pub use styles::Colour;
pub(crate) use styles::{Styles, status_word};
pub use table::{coloured_table, table};
