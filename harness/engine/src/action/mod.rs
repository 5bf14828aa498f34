//! Actions: each has a file of its own with what it is in a scenario and how it is done, and a line in [`ACTIONS`].
//! Probes, faults and `parallel` are not here: the language knows them by itself.

mod annotate;
mod apply;
mod delete;
mod exec;
mod scale;
mod wait_for;

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;
use meshbed_scenario::Element;

use crate::stage::{Stage, StepError};

/// One thing that a step does.
pub(crate) trait Action: fmt::Debug + fmt::Display + Send + Sync {
    /// Does it. What it changes in a Kubernetes API, it tells the world with `must_see`.
    fn perform<'a>(&'a self, stage: &'a Stage) -> BoxFuture<'a, Result<(), StepError>>;
}

/// An action of the language.
#[derive(Clone, Debug)]
pub struct AnyAction(pub(crate) Arc<dyn Action>);

impl<T: Action + 'static> From<T> for AnyAction {
    fn from(action: T) -> Self {
        Self(Arc::new(action))
    }
}

impl fmt::Display for AnyAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// All actions.
pub(crate) static ACTIONS: &[Element<AnyAction>] =
    &[apply::ELEMENT, annotate::ELEMENT, scale::ELEMENT, delete::ELEMENT, exec::ELEMENT, wait_for::ELEMENT];
