//! The node's lease: that it is renewed tells the node controller that the node lives.

use std::{convert::Infallible, time::Duration};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::options::Options;

/// Where kubelets keep their leases.
const NAMESPACE: &str = "kube-node-lease";
/// Renewals within the time that a lease lasts, as in Kubernetes: three may get lost.
const RENEWALS: u32 = 4;
/// First pause after a renewal that failed. It doubles, up to the time between two renewals.
const RETRY_FIRST: Duration = Duration::from_millis(20);

/// Renews the node's lease.
pub(crate) struct NodeLease {
    api: Api<Lease>,
    node: String,
    node_uid: String,
    seconds: u32,
    /// The lease as it was last seen in the API.
    latest: Option<Lease>,
}

impl NodeLease {
    /// The lease of the node that has this UID.
    pub(crate) fn new(client: Client, options: &Options, node_uid: String) -> Self {
        let node = options.node_name.clone();
        let seconds = options.node_lease_duration_seconds;
        Self { api: Api::namespaced(client, NAMESPACE), node, node_uid, seconds, latest: None }
    }

    /// Renews it for ever.
    pub(crate) async fn keep(mut self) -> Infallible {
        let duration = Duration::from_secs(self.seconds.into());
        let between = duration / RENEWALS;
        let mut ticks = interval(between);
        // After a standstill one renewal is as good as many.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut pause = RETRY_FIRST;
            loop {
                // An answer that takes as long as the lease helps nobody; the API may be standing still.
                match timeout(duration, self.renew()).await {
                    Ok(Ok(lease)) => {
                        self.latest = Some(lease);
                        break;
                    }
                    Ok(Err(error)) => tracing::warn!(%error, "failed to renew the node's lease"),
                    Err(_elapsed) => tracing::warn!("the API does not answer, and the node's lease is not renewed"),
                }
                sleep_until(Instant::now() + pause).await;
                pause = (pause * 2).min(between);
            }
        }
    }

    /// One try. When somebody else has changed or removed the lease, the next try begins with what is there.
    async fn renew(&mut self) -> Result<Lease, kube::Error> {
        let known = match self.latest.take() {
            Some(lease) => Some(lease),
            None => self.api.get_opt(&self.node).await?,
        };
        match known {
            Some(lease) => {
                let lease = Lease { spec: Some(self.spec()), ..lease };
                self.api.replace(&self.node, &PostParams::default(), &lease).await
            }
            None => {
                let lease = Lease { metadata: self.metadata(), spec: Some(self.spec()) };
                self.api.create(&PostParams::default(), &lease).await
            }
        }
    }

    fn spec(&self) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.node.clone()),
            lease_duration_seconds: i32::try_from(self.seconds).ok(),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..LeaseSpec::default()
        }
    }

    fn metadata(&self) -> ObjectMeta {
        let owner = OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            name: self.node.clone(),
            uid: self.node_uid.clone(),
            ..OwnerReference::default()
        };
        ObjectMeta { name: Some(self.node.clone()), owner_references: Some(vec![owner]), ..ObjectMeta::default() }
    }
}
