//! `remote`: how a remote cluster is, as the agent of a node tells it.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_scenario::{Element, Nodes, element, record};
use serde_json::Value;

use super::{About, AnyExpect, Expect, Look};
use crate::stage::StepError;

/// In the language.
pub(super) const ELEMENT: Element<AnyExpect> = element!("remote", Remote);

record! {
    /// How a remote cluster is, as the agents of nodes tell it. What is given must hold on each of the nodes.
    pub struct Remote {
        /// Whose agents are asked.
        pub on: Nodes,
        /// The remote cluster: the name of a configuration file, which need not be a cluster of the mesh.
        pub cluster: String,
        /// Whether the agents have heard of it at all; they have when this is not given.
        pub known: Option<bool>,
        /// Whether it is connected and everything of it is known.
        pub ready: Option<bool>,
        /// Text that its status contains, such as the last error.
        pub says: Option<String>,
        /// Whether what it says was copied by KVStoreMesh.
        pub kvstoremesh: Option<bool>,
        /// Whether all of its services were listed on the present connection.
        pub synced: Option<bool>,
        /// How many of its nodes are known at least.
        pub nodes: Option<u64>,
        /// How many addresses of its endpoints are known at least.
        pub endpoints: Option<u64>,
        /// How many of its security identities are known at least.
        pub identities: Option<u64>,
        /// How many of its services are known, in either format.
        pub services: Option<u64>,
        /// How often connections to it have failed at least.
        pub failures: Option<u64>,
    }
    check |record, at, context| {
        if record.on.iter().any(|node| node.cluster.as_str() == record.cluster) {
            context.report(at, "no cluster is remote for its own nodes", None);
        }
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "remote: {{on: {}, cluster: {}}}", self.on, self.cluster)
    }
}

impl Expect for Remote {
    fn words(&self) -> String {
        format!("the agents of {} say of {} that it {}", self.on, self.cluster, self.sentences().join(" and "))
    }

    fn about(&self) -> About {
        About::State
    }

    fn judge<'a>(&'a self, look: &'a Look<'a>) -> BoxFuture<'a, Result<Vec<String>, StepError>> {
        async move {
            let mut findings = Vec::new();
            for node in &self.on {
                let asked = look.stage.control.remote_status(&node.node).await;
                let status = asked.map_err(StepError::action("look at remote clusters"))?;
                let found = match &status {
                    Some(status) => self.findings(status),
                    None => vec!["the agent does not answer".to_owned()],
                };
                findings.extend(found.into_iter().map(|finding| format!("{node}: {finding}")));
            }
            Ok(findings)
        }
        .boxed()
    }
}

impl Remote {
    fn sentences(&self) -> Vec<String> {
        if self.known == Some(false) {
            return vec!["is no remote cluster".to_owned()];
        }
        let is = |is: Option<bool>, yes: &str, no: &str| is.map(|is| if is { yes } else { no }.to_owned());
        let sentences = [
            is(self.ready, "is ready", "is not ready"),
            self.says.as_ref().map(|text| format!("says `{text}`")),
            is(self.kvstoremesh, "is read through KVStoreMesh", "is read directly"),
            is(self.synced, "has its services listed", "has its services not listed"),
            self.nodes.map(|least| format!("has at least {least} nodes")),
            self.endpoints.map(|least| format!("has at least {least} endpoints")),
            self.identities.map(|least| format!("has at least {least} identities")),
            self.services.map(|count| format!("has {count} services")),
            self.failures.map(|least| format!("has failed at least {least} times")),
        ];
        let mut sentences: Vec<String> = sentences.into_iter().flatten().collect();
        if sentences.is_empty() {
            sentences.push("is a remote cluster".to_owned());
        }
        sentences
    }

    /// What contradicts it in a status in Cilium's model, where zero values are left out.
    fn findings(&self, status: &Value) -> Vec<String> {
        let clusters = status["cluster-mesh"]["clusters"].as_array().into_iter().flatten();
        let found = clusters.into_iter().find(|remote| remote["name"] == self.cluster);
        let Some(remote) = found else {
            let unexpected = self.known != Some(false);
            return unexpected.then(|| format!("no remote cluster `{}`", self.cluster)).into_iter().collect();
        };
        let says = remote["status"].as_str().unwrap_or_default();
        if self.known == Some(false) {
            return vec![format!("there is a remote cluster `{}`: {says}", self.cluster)];
        }
        let flag = |value: &Value| value.as_bool().unwrap_or(false);
        let number = |name: &str| remote[name].as_u64().unwrap_or(0);
        let services = number("num-shared-services") + number("num-endpoint-slices");
        let synced = flag(&remote["synced"]["services"]) || flag(&remote["synced"]["endpoint-slices"]);
        let differs = |wanted: Option<bool>, found: bool, what: &str| {
            wanted.filter(|wanted| *wanted != found).map(|_| format!("{what} is {found}; it says `{says}`"))
        };
        let too_few = |least: Option<u64>, found: u64, what: &str| {
            least.filter(|least| found < *least).map(|least| format!("{found} {what}, expected at least {least}"))
        };
        let missing = self.says.as_ref().filter(|text| !says.contains(text.as_str()));
        let findings = [
            differs(self.ready, flag(&remote["ready"]), "ready"),
            missing.map(|text| format!("it says `{says}`, which does not contain `{text}`")),
            differs(self.kvstoremesh, flag(&remote["config"]["kvstoremesh"]), "kvstoremesh"),
            differs(self.synced, synced, "synced"),
            too_few(self.nodes, number("num-nodes"), "nodes"),
            too_few(self.endpoints, number("num-endpoints"), "endpoints"),
            too_few(self.identities, number("num-identities"), "identities"),
            self.services
                .filter(|wanted| *wanted != services)
                .map(|wanted| format!("{services} services, expected {wanted}")),
            too_few(self.failures, number("num-failures"), "failures"),
        ];
        findings.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn expect() -> Remote {
        Remote {
            on: [].into_iter().collect(),
            cluster: "beta".into(),
            known: None,
            ready: None,
            says: None,
            kvstoremesh: None,
            synced: None,
            nodes: None,
            endpoints: None,
            identities: None,
            services: None,
            failures: None,
        }
    }

    fn status(beta: Value) -> Value {
        let mut beta = beta;
        beta["name"] = "beta".into();
        json!({"cluster-mesh": {"clusters": [{"name": "gamma", "status": "", "ready": true}, beta]}})
    }

    #[test]
    fn what_is_left_out_is_nothing() {
        let down = status(json!({"status": "Err: it is gone", "num-nodes": 2, "num-endpoints": 4}));
        let wanted = Remote {
            ready: Some(false),
            says: Some("gone".into()),
            kvstoremesh: Some(false),
            synced: Some(false),
            nodes: Some(2),
            endpoints: Some(4),
            services: Some(0),
            failures: Some(0),
            ..expect()
        };
        assert_eq!(wanted.findings(&down), Vec::<String>::new());
        let other = Remote {
            ready: Some(true),
            says: Some("back".into()),
            nodes: Some(3),
            endpoints: Some(5),
            identities: Some(1),
            services: Some(1),
            failures: Some(3),
            ..expect()
        };
        assert_eq!(
            other.findings(&down),
            [
                "ready is false; it says `Err: it is gone`",
                "it says `Err: it is gone`, which does not contain `back`",
                "2 nodes, expected at least 3",
                "4 endpoints, expected at least 5",
                "0 identities, expected at least 1",
                "0 services, expected 1",
                "0 failures, expected at least 3",
            ]
        );
    }

    #[test]
    fn both_formats_of_services_count() {
        let synced = json!({"endpoint-slices": true});
        let up = status(json!({"status": "", "ready": true, "num-endpoint-slices": 3, "synced": synced}));
        let wanted = Remote { ready: Some(true), synced: Some(true), services: Some(3), ..expect() };
        assert_eq!(wanted.findings(&up), Vec::<String>::new());
    }

    #[test]
    fn clusters_are_known_or_not() {
        let nobody = json!({"cluster-mesh": {}});
        assert_eq!(expect().findings(&nobody), ["no remote cluster `beta`"]);
        let unknown = Remote { known: Some(false), ..expect() };
        assert_eq!(unknown.findings(&nobody), Vec::<String>::new());
        let there = status(json!({"status": "here"}));
        assert_eq!(unknown.findings(&there), ["there is a remote cluster `beta`: here"]);
        assert_eq!(expect().findings(&there), Vec::<String>::new());
    }
}
