//! `repeat`: the same steps several times.

use super::{Block, Expander, Place};
use crate::walk::Cursor;

/// How often steps can be repeated.
const TIMES_MAX: u64 = 1_000;
/// The name that has the number of the repetition, from 1.
const ITERATION: &str = "iteration";

/// `repeat: {times: 3, steps: […]}`, with `${iteration}` from 1.
pub(super) const BLOCK: Block = Block { key: "repeat", expand };

fn expand(expander: &mut Expander<'_>, at: &Cursor<'_>, place: &Place<'_>) {
    let node = expander.arguments(at, &place.scope, &["steps"]);
    let arguments = Cursor { node: &node, path: at.path.clone() };
    let Some(fields) = arguments.fields(expander.findings, &["times", "steps"]) else { return };
    let times = fields.required(expander.findings, "times");
    let steps = fields.required(expander.findings, "steps").and_then(|_| at.peek("steps"));
    let times = times.and_then(|times| times.number(expander.findings, 1, TIMES_MAX));
    let (Some(times), Some(steps)) = (times, steps) else { return };
    for iteration in 1..=times {
        let mut inner = place.clone();
        inner.scope.bind(ITERATION, iteration.to_string());
        inner.case.push((ITERATION.to_owned(), iteration.to_string()));
        expander.list(&steps, &inner);
    }
}
