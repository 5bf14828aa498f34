//! Being wrong on purpose: a testbed that cannot see a broken agent proves nothing.
//!
//! A site in the agent asks `planted(Defect::…)` and does the wrong thing if the answer is yes. Without the feature
//! `planted-defects` the answer is a constant no, so that the compiler removes the site, and there are neither names
//! nor a way to choose one. With it, at most one defect is planted in a process.
//!
//! This is global on purpose: a defect handed down as a value would be a parameter of half of the agent's functions,
//! in ordinary builds too.

mod defect;
#[cfg(feature = "planted-defects")]
mod plant;

pub use defect::Defect;
#[cfg(feature = "planted-defects")]
pub use defect::UnknownDefect;
#[cfg(feature = "planted-defects")]
pub use plant::{Planting, pause, plant, plant_here, planted};

/// Whether the agent shall be wrong in this way: never in an ordinary build.
#[cfg(not(feature = "planted-defects"))]
#[inline(always)]
pub const fn planted(_: Defect) -> bool {
    false
}

/// Keeps a wrong state in place long enough to be seen; nothing in an ordinary build.
#[cfg(not(feature = "planted-defects"))]
#[inline(always)]
pub const fn pause() {}
