//! The API over HTTP: paths, queries, bodies, and the forms that answers take.

mod accept;
mod aggregated;
mod api;
mod body;
mod discovery;
mod list;
mod openapi;
mod path;
mod protobuf;
mod query;
mod table;
mod watch;
mod write;

pub(crate) use api::{Api, Peer};
