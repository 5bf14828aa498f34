//! The router between the clusters of a mesh.
//!
//! In the router's network namespace the kernel forwards packets between the clusters' segments, at no cost, as long as
//! nothing is wrong with a link. Directions that have [`LinkConditions`](meshbed_scenario::LinkConditions) are diverted
//! by policy rules through TUN devices into this program, which delays, drops, shapes, refuses or translates packets and
//! gives them back to the kernel. The README of this folder has the picture.
//!
//! Not here: what conditions mean for a scenario (the engine), and bringing links up (the driver).

mod barrier;
mod checksum;
mod client;
mod config;
mod controller;
mod direction;
mod divert;
mod error;
mod forwarder;
mod fragment;
mod icmp;
mod nat;
mod packet;
mod protocol;
mod router;
mod run;
mod serve;
mod status;
mod tun;

pub use client::Client;
pub use config::{Config, ConfigCluster, ConfigLink, config_path, socket_path};
pub use error::{ClientError, SetError, WanError};
pub use run::{Options, run};
pub use status::{Counters, Direction, Dropped, Tally};
