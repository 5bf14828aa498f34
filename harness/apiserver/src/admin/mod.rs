//! Misbehaviour on order: which requests are answered badly, how, and who was hit.
//!
//! The server listens on a Unix socket ([`crate::Options::admin_socket`]); [`Client`] speaks to it, one JSON text a line
//! in both directions. A [`Rule`] says whom it hits ([`Target`]), how often ([`Chance`]) and with what ([`Effect`]). What it
//! did is counted by user agent ([`RuleReport`]): the witness that the fault took effect. Clients whose user agent starts
//! with [`EXEMPT`] are spared unless a rule says otherwise, so that the harness sees a cluster while it plagues it. The
//! history of changes can be forgotten, too ([`Client::compact`]); nobody is spared there.

mod client;
mod milliseconds;
mod protocol;
mod rule;
mod socket;

pub use client::{Client, ClientError};
pub use rule::{Chance, Connections, EXEMPT, Effect, InvalidRule, RefusedStatus, Rule, RuleReport, Target, Verb};
pub(crate) use socket::{Subject, bind, serve};
