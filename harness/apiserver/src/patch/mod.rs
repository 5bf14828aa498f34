//! The four ways to change an object by a description of the change. All pure.

mod apply;
mod json_patch;
mod merge;
pub(crate) mod schema;
mod strategic;

pub(crate) use apply::apply;
pub(crate) use json_patch::json_patch;
pub(crate) use merge::merge_patch;
pub(crate) use schema::Schema;
pub(crate) use strategic::strategic_merge_patch;

/// A patch cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PatchError {
    /// The patch itself is malformed.
    #[error("{0}")]
    Malformed(String),
    /// A JSON patch does not fit the object.
    #[error("the server rejected our request due to an error in our request: {0}")]
    Unfit(String),
}
