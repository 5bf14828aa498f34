//! Each planted defect changes the outcome in the way that its name says. Without, the same steps come out right.

use mesh_core::{Config, Defect, ExportConfig};
use mesh_types::BackendState::Active;
use test_case::test_case;

use crate::mesh::*;

const NEAR: &str = "10.1.0.1:8080";
const FAR: &str = "10.2.0.1:8080@2";
const BACKENDS: &str = r#"{"10.2.0.1":{"":{"Protocol":"TCP","Port":8080}}}"#;

fn agent(defect: Option<Defect>) -> Agent {
    let mut agent = Agent::new(Config { defect, ..config("alpha", 1, false) });
    agent.step(mesh_core::Event::LocalSynced);
    agent
}

#[test_case(None => vec![NEAR, FAR] ; "right")]
#[test_case(Some(Defect::RemoteBackendsDropped) => vec![NEAR] ; "wrong")]
#[test_case(Some(Defect::SharedIgnored) => vec![NEAR, FAR] ; "the reader knows nothing of shared")]
fn remote_backends_dropped(defect: Option<Defect>) -> Vec<String> {
    let mut agent = agent(defect);
    agent.steps([
        service_event(service(&[GLOBAL])),
        slice_event(slice(&[("10.1.0.1", Active)])),
        added("beta"),
        remote_event("beta", 2, BACKENDS),
    ]);
    agent.echo()
}

#[test_case(None => Vec::<String>::new() ; "right")]
#[test_case(Some(Defect::DeadBackendsKept) => vec![NEAR, FAR] ; "wrong")]
fn dead_backends_kept(defect: Option<Defect>) -> Vec<String> {
    let mut agent = agent(defect);
    agent.steps([
        service_event(service(&[GLOBAL])),
        slice_event(slice(&[("10.1.0.1", Active)])),
        added("beta"),
        remote_event("beta", 2, BACKENDS),
        slice_deleted("echo-1"),
        remote_deleted("beta", 2),
    ]);
    agent.echo()
}

#[test_case(None => vec!["10.2.0.1:8080"] ; "right")]
#[test_case(Some(Defect::SharedIgnored) => vec!["10.2.0.1:8080", "10.1.0.1:8080@1"] ; "wrong")]
fn shared_ignored(defect: Option<Defect>) -> Vec<String> {
    let exporter = |name, id| ExportConfig { defect, ..export_config(name, id) };
    let mut clusters = (Cluster::new("alpha", 1, exporter("alpha", 1)), Cluster::new("beta", 2, exporter("beta", 2)));
    deploy(&mut clusters, &[GLOBAL, UNSHARED], &[GLOBAL]);
    let mut backends = clusters.1.agent.echo();
    backends.sort_by_key(|backend| backend.contains('@'));
    backends
}
