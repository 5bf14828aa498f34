//! Clusters of a mesh on other machines than the one that leads.

mod link;

pub use link::{OUTPOST, OUTPOSTS, OutpostLink};
