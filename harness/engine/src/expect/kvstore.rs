//! `kvstore`: what a cluster's etcd holds.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use mesh_types::ClusterName;
use meshbed_etcd::{Entry, Etcd};
use meshbed_scenario::{Element, element, record};

use super::{About, AnyExpect, Expect, Look};
use crate::{probe::lock, stage::StepError};

/// In the language.
pub(super) const ELEMENT: Element<AnyExpect> = element!("kvstore", Kvstore);

/// Everything that the mesh keeps in an etcd is below this.
const PREFIX: &str = "cilium/";

record! {
    /// What a cluster's etcd holds. Without `key` it is compared with what the oracle computes from the cluster's objects:
    /// services, cluster configuration and canaries.
    pub struct Kvstore {
        /// Whose etcd.
        pub in_: ClusterName,
        /// A key, or with `*` at its end the start of keys.
        pub key: Option<String>,
        /// Whether there is such a key; it is when this is not given.
        pub exists: Option<bool>,
        /// Text that the value of every such key contains.
        pub contains: Option<String>,
        /// Whether every such key hangs on a lease.
        pub leased: Option<bool>,
    }
}

impl fmt::Display for Kvstore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "kvstore: {{in: {}, key: {key}}}", self.in_),
            None => write!(f, "kvstore: {{in: {}}}", self.in_),
        }
    }
}

impl Expect for Kvstore {
    fn words(&self) -> String {
        let in_ = &self.in_;
        let Some(key) = &self.key else { return format!("the etcd of {in_} holds what its objects ask for") };
        if self.exists == Some(false) {
            return format!("the etcd of {in_} has no key `{key}`");
        }
        let contains = self.contains.as_ref().map(|text| format!(" that contains `{text}`")).unwrap_or_default();
        let leased = match self.leased {
            Some(true) => " with a lease",
            Some(false) => " without a lease",
            None => "",
        };
        format!("the etcd of {in_} has `{key}`{contains}{leased}")
    }

    fn about(&self) -> About {
        About::State
    }

    fn judge<'a>(&'a self, look: &'a Look<'a>) -> BoxFuture<'a, Result<Vec<String>, StepError>> {
        async move {
            let prefix = self.key.as_deref().map_or(PREFIX, |key| key.trim_end_matches('*'));
            let entries = self.list(look, prefix).await?;
            if self.key.is_some() {
                return Ok(self.findings(&entries));
            }
            let entries: Vec<_> = entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
            Ok(lock(&look.stage.world).kvstore_differences(&self.in_, &entries))
        }
        .boxed()
    }
}

impl Kvstore {
    /// What etcd holds; nothing is there when it does not answer, and that is an error of the step.
    async fn list(&self, look: &Look<'_>, prefix: &str) -> Result<Vec<Entry>, StepError> {
        let what = || format!("read the etcd of {}", self.in_);
        let state = look.stage.control.state();
        let cluster =
            state.cluster(self.in_.as_str()).ok_or("there is no such cluster").map_err(StepError::action(what()))?;
        let etcd = Etcd::connect(cluster).await.map_err(StepError::action(what()))?;
        Ok(etcd.list(prefix).await.map_err(StepError::action(what()))?.entries)
    }

    fn findings(&self, listed: &[Entry]) -> Vec<String> {
        let Some(key) = &self.key else { return Vec::new() };
        let found: Vec<&Entry> = listed.iter().filter(|entry| key.ends_with('*') || entry.key == *key).collect();
        if self.exists == Some(false) {
            return found.iter().map(|entry| format!("there is a key `{}`", entry.key)).collect();
        }
        if found.is_empty() {
            return vec![format!("there is no key `{key}`")];
        }
        let mut findings = Vec::new();
        for entry in found {
            let value = String::from_utf8_lossy(&entry.value);
            if let Some(text) = self.contains.as_ref().filter(|text| !value.contains(text.as_str())) {
                findings.push(format!("the value of `{}` does not contain `{text}`: {value}", entry.key));
            }
            if self.leased.is_some_and(|leased| leased != (entry.lease != 0)) {
                findings.push(format!("key `{}` has lease {:x}", entry.key, entry.lease));
            }
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, lease: i64) -> Entry {
        Entry { key: key.into(), value: b"{\"name\":\"web\"}".to_vec(), mod_revision: 3, lease }
    }

    fn expect(key: &str) -> Kvstore {
        Kvstore {
            in_: "alpha".parse().expect("valid"),
            key: Some(key.into()),
            exists: None,
            contains: None,
            leased: None,
        }
    }

    #[test]
    fn keys_are_there_or_not() {
        assert_eq!(expect("cilium/a").findings(&[]), ["there is no key `cilium/a`"]);
        assert_eq!(expect("cilium/a").findings(&[entry("cilium/a", 1)]), Vec::<String>::new());
        assert_eq!(expect("cilium/a").findings(&[entry("cilium/ab", 1)]), ["there is no key `cilium/a`"]);
        assert_eq!(expect("cilium/a*").findings(&[entry("cilium/ab", 1)]), Vec::<String>::new());
        let gone = Kvstore { exists: Some(false), ..expect("cilium/a*") };
        assert_eq!(gone.findings(&[entry("cilium/ab", 1)]), ["there is a key `cilium/ab`"]);
    }

    #[test]
    fn values_and_leases_are_looked_at() {
        let leased = Kvstore { leased: Some(true), ..expect("cilium/a") };
        assert_eq!(leased.findings(&[entry("cilium/a", 0)]), ["key `cilium/a` has lease 0"]);
        let contains = Kvstore { contains: Some("\"web\"".into()), ..expect("cilium/a") };
        assert_eq!(contains.findings(&[entry("cilium/a", 1)]), Vec::<String>::new());
        let other = Kvstore { contains: Some("other".into()), ..expect("cilium/a") };
        assert_eq!(other.findings(&[entry("cilium/a", 1)]).len(), 1);
    }
}
