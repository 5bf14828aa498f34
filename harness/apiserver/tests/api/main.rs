//! The server as its clients see it: kubectl and kube-rs against a server in this process.

mod client;
mod kubectl;
mod server;
