//! The other end: writes synthetic clusters into an etcd, reads them as the plainest of readers would, and makes changes at
//! a steady rate.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use etcd_client::{Client, GetOptions, Txn, TxnOp};
use meshbed_driver::ClusterState;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{
    BenchError, Samples, etcd,
    synthetic::{Dimensions, Pair, SyntheticCluster},
};
use crate::maps::IpcacheMap;

/// Keys of a transaction; etcd takes 128 at most by default.
const KEYS_OF_TRANSACTION: usize = 128;
/// Transactions that wait for their answers at the same time.
const TRANSACTIONS_AT_ONCE: usize = 4;
/// Keys of a page of the plain reader, the same as Cilium's.
const PAGE: i64 = 256;
/// Time between two looks at a map while a change is waited for: the resolution of that measurement.
const LOOK_EVERY: Duration = Duration::from_micros(200);
/// How long a change may take to arrive.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Changes after which one is followed into the map.
const FOLLOWED: u32 = 20;

/// Writes all of `size`. Returns how many keys that are.
pub(super) fn write(
    cluster: &ClusterState,
    size: Dimensions,
    interrupt: &CancellationToken,
) -> Result<usize, BenchError> {
    in_cluster(cluster, async |client| {
        let mut pairs = size.clusters().flat_map(SyntheticCluster::pairs);
        let (mut written, mut waiting) = (0, tokio::task::JoinSet::new());
        loop {
            let puts: Vec<TxnOp> = pairs.by_ref().take(KEYS_OF_TRANSACTION).map(put).collect();
            let last = puts.is_empty();
            written += puts.len();
            if !last {
                let mut client = client.clone();
                waiting.spawn(async move { client.txn(Txn::new().and_then(puts)).await });
            }
            while waiting.len() >= TRANSACTIONS_AT_ONCE || (last && !waiting.is_empty()) {
                waiting.join_next().await.expect("one waits")??;
            }
            if last || interrupt.is_cancelled() {
                return Ok(written);
            }
        }
    })
}

fn put((key, value): Pair) -> TxnOp {
    TxnOp::put(key, value, None)
}

/// Reads everything, one page after the other, and does nothing with it: what no reader can do without.
pub(super) fn read(
    cluster: &ClusterState,
    size: Dimensions,
    interrupt: &CancellationToken,
) -> Result<Duration, BenchError> {
    in_cluster(cluster, async |mut client| {
        let start = Instant::now();
        for prefix in size.clusters().flat_map(SyntheticCluster::prefixes) {
            let mut from = prefix.clone().into_bytes();
            // The character after the slash at the end.
            let end = format!("{}0", prefix.trim_end_matches('/'));
            while !interrupt.is_cancelled() {
                let options = GetOptions::new().with_range(end.clone()).with_limit(PAGE);
                let page = client.get(from, Some(options)).await?;
                match page.kvs().last() {
                    Some(last) if page.more() => from = [last.key(), &[0]].concat(),
                    _ => break,
                }
            }
        }
        Ok(start.elapsed())
    })
}

/// Makes `rate` changes a second for `length`, and follows some of them into the map at `bpf_root`. Returns how many were
/// made, how long that took, and how long those that were followed were on their way.
pub(super) fn churn(
    cluster: &ClusterState,
    bpf_root: &Path,
    size: Dimensions,
    rate: u32,
    length: Duration,
    interrupt: &CancellationToken,
) -> Result<(u32, Duration, Samples), BenchError> {
    let map = IpcacheMap::open(bpf_root)?;
    in_cluster(cluster, async |mut client| {
        let mut tick = interval(Duration::from_secs(1) / rate);
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let (start, mut samples, mut number) = (Instant::now(), Samples::default(), 0);
        let clusters: Vec<SyntheticCluster> = size.clusters().collect();
        while start.elapsed() < length && !interrupt.is_cancelled() {
            tick.tick().await;
            let change = Change::number(number, &clusters, size);
            number += 1;
            let sent = Instant::now();
            change.make(&mut client).await?;
            if let (Change::Identity { cluster, endpoint, round }, 1) = (&change, number % FOLLOWED) {
                let (address, wanted) = (cluster.endpoint_address(*endpoint), cluster.identity_of(*endpoint, *round));
                let mut look = interval(LOOK_EVERY);
                while map.identity(address)? != Some(wanted) {
                    if sent.elapsed() > WAIT_MAX {
                        return Err(format!("{address} has no identity {wanted} after {WAIT_MAX:?}").into());
                    }
                    look.tick().await;
                }
                samples.add(sent.elapsed());
            }
        }
        Ok((number, start.elapsed(), samples))
    })
}

/// One change of something that exists.
enum Change {
    /// An endpoint gets another identity, as when a pod takes over an address.
    Identity { cluster: SyntheticCluster, endpoint: u32, round: u32 },
    /// The last backend of a service goes, or comes back.
    Service { cluster: SyntheticCluster, service: u32, round: u32 },
    /// A node gets another label, which means nothing to anybody's maps.
    Node { cluster: SyntheticCluster, node: u32, round: u32 },
}

impl Change {
    /// Of ten changes eight are of endpoints, one of a service and one of a node. Each goes to another cluster than the one
    /// before.
    fn number(number: u32, clusters: &[SyntheticCluster], size: Dimensions) -> Self {
        let count = u32::try_from(clusters.len()).expect("the dimensions are within their limits");
        let (cluster, turn) = (clusters[(number % count) as usize], number / count);
        let (endpoints, services, nodes) = size.of_cluster();
        match number % 10 {
            8 => Self::Service { cluster, service: turn % services, round: turn / services + 1 },
            9 => Self::Node { cluster, node: turn % nodes, round: turn / nodes + 1 },
            _ => Self::Identity { cluster, endpoint: turn % endpoints, round: turn / endpoints + 1 },
        }
    }

    async fn make(&self, client: &mut Client) -> Result<(), BenchError> {
        let (key, value) = match self {
            Self::Identity { cluster, endpoint, round } => cluster.endpoint(*endpoint, *round),
            Self::Service { cluster, service, round } => cluster.service(*service, *round),
            Self::Node { cluster, node, round } => cluster.node(*node, *round),
        };
        client.put(key, value, None).await?;
        Ok(())
    }
}

/// Works with the etcd of a cluster from inside its namespace.
fn in_cluster<T: Send>(
    cluster: &ClusterState,
    work: impl AsyncFnOnce(Client) -> Result<T, BenchError> + Send,
) -> Result<T, BenchError> {
    let done = meshbed_driver::in_netns(&cluster.netns, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let work = async { work(etcd::connect(cluster).await?).await };
        runtime.block_on(work).map_err(std::io::Error::other)
    })?;
    Ok(done)
}
