//! Losing leases: what happens to a writer that was away for too long, without waiting for it.

use std::{collections::BTreeSet, time::Duration};

use etcd_client::GetOptions;

use crate::{Entry, Etcd, EtcdError, EtcdErrorKind};

/// Leases were revoked, and their keys vanished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// The leases.
    pub leases: Vec<i64>,
    /// Keys under the prefix that vanished with them.
    pub keys: Vec<String>,
}

impl Etcd {
    /// A lease of `time_to_live`, rounded up to whole seconds, that nobody keeps alive. Returns its ID.
    pub async fn grant_lease(&self, time_to_live: Duration) -> Result<i64, EtcdError> {
        let mut client = self.client();
        let seconds = i64::try_from(time_to_live.as_millis().div_ceil(1000)).unwrap_or(i64::MAX);
        let request = async move { Ok(client.lease_grant(seconds, None).await?.id()) };
        self.ask(|| "grant a lease".to_owned(), request).await
    }

    /// Revokes every lease that a key under `prefix` hangs on, as if it had expired. All keys of such a lease vanish, also
    /// elsewhere. Proven by another listing, in which no key hangs on one of them.
    pub async fn revoke_leases(&self, prefix: &str) -> Result<Revoked, EtcdError> {
        let (mut client, wanted) = (self.client(), prefix.to_owned());
        let request = async move {
            let before = client.get(wanted.clone(), Some(GetOptions::new().with_prefix())).await?;
            let leased: Vec<Entry> = before.kvs().iter().map(Entry::from).filter(|entry| entry.lease != 0).collect();
            let leases: BTreeSet<i64> = leased.iter().map(|entry| entry.lease).collect();
            if leases.is_empty() {
                return Err(EtcdErrorKind::NoLease);
            }
            for lease in &leases {
                client.lease_revoke(*lease).await?;
            }
            let after = client.get(wanted, Some(GetOptions::new().with_prefix())).await?;
            if let Some(left) = after.kvs().iter().find(|pair| leases.contains(&pair.lease())) {
                let key = String::from_utf8_lossy(left.key());
                return Err(EtcdErrorKind::NotSeen(format!("`{key}` still hangs on lease {}", left.lease())));
            }
            let keys = leased.into_iter().map(|entry| entry.key).collect();
            Ok(Revoked { leases: leases.into_iter().collect(), keys })
        };
        self.ask(|| format!("revoke the leases of `{prefix}`"), request).await
    }
}
