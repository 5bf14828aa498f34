//! The server as its clients see it: kubectl and kube-rs against a server in this process, or in one that is killed.

mod client;
mod drain;
mod kubectl;
mod misbehaviour;
mod node_lifecycle;
mod persistence;
mod server;
