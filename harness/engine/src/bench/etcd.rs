//! The baseline: put-to-watch of the very etcd that the mesh uses, with the same client library and TLS.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use meshbed_driver::ClusterState;

use super::{BenchError, Samples};

/// Key of the baseline; outside of everything that an agent watches.
const KEY: &str = "meshbed/bench";
/// Name of the client certificate with full rights in a cluster's pki folder.
const CLIENT: &str = "etcd-client-admin";
/// How long one put may take to arrive.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Puts and watches `repeat` times, from inside the cluster's namespace.
pub(super) fn put_to_watch(cluster: &ClusterState, repeat: u32) -> Result<Samples, BenchError> {
    let samples = meshbed_driver::in_netns(&cluster.netns, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(measure(cluster, repeat)).map_err(std::io::Error::other)
    })?;
    Ok(samples)
}

async fn measure(cluster: &ClusterState, repeat: u32) -> Result<Samples, BenchError> {
    let mut writer = connect(cluster).await?;
    let mut watcher = connect(cluster).await?;
    let mut events = watcher.watch(KEY, None).await?;
    let mut samples = Samples::default();
    for number in 0..repeat {
        let start = Instant::now();
        let put = writer.put(KEY, number.to_string(), None);
        let seen = async {
            loop {
                let Some(response) = events.message().await? else {
                    return Err::<Duration, BenchError>("the watch ended".into());
                };
                if !response.events().is_empty() {
                    return Ok(start.elapsed());
                }
            }
        };
        let (put, seen) = tokio::time::timeout(WAIT_MAX, async { tokio::join!(put, seen) }).await?;
        put?;
        samples.add(seen?);
    }
    writer.delete(KEY, None).await?;
    Ok(samples)
}

pub(super) async fn connect(cluster: &ClusterState) -> Result<Client, BenchError> {
    let read = |name: &str| std::fs::read(Path::new(&cluster.pki).join(name));
    let identity = Identity::from_pem(read(&format!("{CLIENT}.crt"))?, read(&format!("{CLIENT}.key"))?);
    let tls = TlsOptions::new().ca_certificate(Certificate::from_pem(read("ca.crt")?)).identity(identity);
    let options = ConnectOptions::new().with_tls(tls);
    Ok(Client::connect([&cluster.etcd_endpoint], Some(options)).await?)
}
