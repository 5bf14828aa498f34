//! Changes of link conditions, with packets of our own as witnesses.

use std::{
    net::Ipv4Addr,
    path::PathBuf,
    time::{Duration, Instant},
};

use futures::FutureExt;
use mesh_types::ClusterName;
use meshbed_driver::Control;
use meshbed_scenario::{LinkConditions, Topology};
use meshbed_wan::{Client, Counters};
use serde::de::DeserializeOwned;

use super::{FaultError, Injected, Injection};
use crate::{
    place::{self, Errand, Packets},
    world::Strike,
};

/// Packets sent for a witness: with a loss of 1% one of them is lost with all but certainty (1 - 0.99^1000 > 0.9999).
const PACKETS: usize = 1_000;
/// How long counters may take to show what was sent.
const COUNT_MAX: Duration = Duration::from_secs(5);

/// Sets the conditions of `directions`, proves each, and says how to set back what was.
pub(super) async fn change(
    injection: &Injection,
    strike: Strike,
    directions: Vec<(ClusterName, ClusterName)>,
    conditions: &LinkConditions,
) -> Result<Vec<Injected>, FaultError> {
    let failed = |what: &str| FaultError::failed(what.to_owned());
    let state = injection.control.state();
    let client =
        Client::connect(&meshbed_wan::socket_path(&state.run_dir)).await.map_err(failed("reach the WAN router"))?;
    let id = injection.strike(strike);
    let mut witnesses = Vec::new();
    let mut old = Vec::new();
    for (from, to) in directions {
        let before = client.direction(&from, &to).await.map_err(failed("ask the WAN router"))?;
        old.push((from.clone(), to.clone(), before.conditions));
        client.set(&from, &to, conditions).await.map_err(failed("set the conditions of a link"))?;
        let way = Way::of(injection, &from, &to)?;
        witnesses.push(witness(&client, way, conditions.clone()).await?);
    }
    injection.witnessed(id, witnesses.join("; "));
    let healing = async move {
        let failed = |what: &str| FaultError::failed(what.to_owned());
        for (from, to, conditions) in &old {
            client.set(from, to, conditions).await.map_err(failed("set the conditions of a link back"))?;
        }
        let words = old.iter().map(|(from, to, conditions)| format!("{from} -> {to}: {conditions}"));
        Ok(words.collect::<Vec<_>>().join("; "))
    };
    Ok(vec![Injected { id, healing: healing.boxed() }])
}

/// From where to where a witness goes.
#[derive(Clone)]
struct Way {
    from: ClusterName,
    to: ClusterName,
    netns: PathBuf,
    target: Ipv4Addr,
    control: Control,
}

impl Way {
    fn of(injection: &Injection, from: &ClusterName, to: &ClusterName) -> Result<Self, FaultError> {
        let state = injection.control.state();
        let missing = |name: &ClusterName| FaultError::NoTarget { what: format!("there is no cluster `{name}`") };
        let netns = state.cluster(from.as_str()).ok_or_else(|| missing(from))?.netns.clone();
        let target = address(&injection.topology, to).ok_or_else(|| missing(to))?;
        let control = injection.control.clone();
        Ok(Self { from: from.clone(), to: to.clone(), netns, target, control })
    }
}

impl Way {
    /// Sends packets from where it begins.
    async fn send<T: DeserializeOwned>(&self, packets: Packets) -> Result<T, FaultError> {
        place::run(&self.control, self.from.as_str(), Errand::Send(self.netns.clone(), packets)).await
    }
}

fn address(topology: &Topology, cluster: &ClusterName) -> Option<Ipv4Addr> {
    topology.cluster(cluster).map(|cluster| cluster.control_plane_address())
}

/// Waits for something that could not have been without the conditions.
async fn witness(client: &Client, way: Way, conditions: LinkConditions) -> Result<String, FaultError> {
    let name = format!("{} -> {}", way.from, way.to);
    if conditions.down {
        return counted(client, way, 0, |counters| counters.dropped.down, "packets did not arrive").await;
    }
    if conditions.loss != meshbed_scenario::LossRatio::NONE {
        return counted(client, way, 0, |counters| counters.dropped.loss, "packets were lost").await;
    }
    if let Some(mtu) = conditions.mtu {
        let size = usize::from(mtu) + 1;
        return counted(client, way, size, |counters| counters.dropped.mtu, "packets were too large").await;
    }
    let delay = conditions.delay.saturating_sub(conditions.jitter);
    if !delay.is_zero() {
        let took: Duration = way.send(Packets::Connection(way.target)).await?;
        if took < delay {
            return Err(FaultError::NoWitness { what: format!("{name}: a connection took only {took:?}") });
        }
        return Ok(format!("{name}: a connection took {took:?}"));
    }
    counted(client, way, 0, |counters| counters.received.packets, "packets took the way through the router").await
}

/// Sends packets until a counter has grown.
async fn counted(
    client: &Client,
    way: Way,
    size: usize,
    counter: impl Fn(&Counters) -> u64,
    words: &str,
) -> Result<String, FaultError> {
    let name = format!("{} -> {}", way.from, way.to);
    let before = read(client, &way, &counter).await?;
    let mut sent = 0;
    let deadline = Instant::now() + COUNT_MAX;
    while sent < PACKETS || Instant::now() < deadline {
        sent += way.send::<usize>(Packets::Burst(way.target, size)).await?;
        let grown = read(client, &way, &counter).await?.saturating_sub(before);
        if grown > 0 {
            return Ok(format!("{name}: {grown} of {sent} {words}"));
        }
    }
    Err(FaultError::NoWitness { what: format!("{name}: no {words}, of {sent}") })
}

async fn read(client: &Client, way: &Way, counter: impl Fn(&Counters) -> u64) -> Result<u64, FaultError> {
    let direction = client.direction(&way.from, &way.to).await.map_err(FaultError::failed("ask the WAN router"))?;
    Ok(counter(&direction.counters))
}
