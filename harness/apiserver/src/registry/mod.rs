//! What it means to create, change and delete an object: between the transport and the bare store.

mod admit;
mod allocate;
mod create;
mod delete;
mod evict;
mod scale;
mod update;

pub(crate) use create::create;
pub(crate) use delete::{DeleteOptions, Deleted, Propagation, delete};
pub(crate) use evict::{budget_is_for, budgets_of, evict};
pub(crate) use scale::{scale_of, set_scale};
pub(crate) use update::{Part, update};

use std::sync::Arc;

use crate::store::Object;

/// What happens to fields that the kind does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    /// They are dropped.
    #[default]
    Ignore,
    /// They are dropped and the client is told.
    Warn,
    /// The request is refused.
    Strict,
}

/// Whether a change is really made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It is.
    #[default]
    Commit,
    /// The client only wants to see what it would be like.
    DryRun,
}

/// How to write.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WriteOptions {
    /// For unknown fields.
    pub(crate) field_validation: FieldValidation,
    /// For real or not.
    pub(crate) mode: Mode,
}

/// What was written.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    /// The object as it is now.
    pub(crate) object: Arc<Object>,
    /// What the client should be warned of.
    pub(crate) warnings: Vec<String>,
}
