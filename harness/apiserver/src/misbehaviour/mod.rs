//! The rules in force, and what they mean for one request, one connection and one watch.
//!
//! Without rules a request looks at one shared value and goes on. Whoever waits (watches, held-back answers, idle
//! connections) is woken when the rules change, so that a rule takes hold at once and leaves nothing behind.

mod active;
mod caller;
mod connection;
mod rules;
mod watched;

pub(crate) use caller::Caller;
pub(crate) use connection::Connection;
pub(crate) use rules::{Hit, Misbehaviour, RuleError};
pub(crate) use watched::{Influence, Turn};
