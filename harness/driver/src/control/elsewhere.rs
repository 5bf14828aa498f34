//! Control over clusters that are on other machines: done there, by the same methods.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::{Control, ControlError, ControlErrorKind, error::While};
use crate::{
    Outpost, RunState,
    error::{Act, SystemError},
    outpost::{Call, Order, Ordered, Request},
};

impl Control {
    /// The machine that has `cluster`, if it is not this one.
    pub fn outpost_of(&self, cluster: &str) -> Option<&Arc<Outpost>> {
        self.shared.outposts.iter().find(|outpost| outpost.clusters().iter().any(|there| there.as_str() == cluster))
    }

    /// All machines that have some of the clusters.
    pub fn outposts(&self) -> &[Arc<Outpost>] {
        &self.shared.outposts
    }

    pub(super) fn outpost_of_node(&self, node: &str) -> Option<&Arc<Outpost>> {
        let cluster = self.lock_state().find_node(node).map(|(cluster, _)| cluster.name.clone())?;
        self.outpost_of(cluster.as_str())
    }

    pub(super) fn outpost_of_process(&self, name: &str) -> Option<&Arc<Outpost>> {
        let cluster = self.lock_state().process(name).and_then(|process| process.cluster.clone())?;
        self.outpost_of(cluster.as_str())
    }

    /// Has it done there, and takes over what the run consists of afterwards.
    pub(super) async fn order<T: DeserializeOwned>(&self, outpost: &Outpost, order: Order) -> Result<T, ControlError> {
        let words = format!("do `{order:?}` on another machine");
        self.order_now(outpost, order).await.during(|| words)
    }

    async fn order_now<T: DeserializeOwned>(&self, outpost: &Outpost, order: Order) -> Result<T, ControlErrorKind> {
        let run = self.lock_state().run.clone();
        let ordered: Ordered = outpost.call(&Call::Driver(Request::Order(run, order))).await?;
        let value = serde_json::from_value(ordered.value).map_err(std::io::Error::from);
        let value = value.act(|| "understand what it says".to_owned())?;
        self.take_over(outpost, &ordered.state)?;
        Ok(value)
    }

    /// What is known of the clusters there is now what they say.
    fn take_over(&self, outpost: &Outpost, theirs: &RunState) -> Result<(), SystemError> {
        self.update(|run| {
            for process in &theirs.processes {
                if let Some(known) = run.processes.iter_mut().find(|known| known.name == process.name) {
                    known.clone_from(process);
                }
            }
            for cluster in outpost.clusters() {
                run.follow_cluster(cluster, theirs);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        state::CutLink,
        testing::{options, planned},
    };

    #[test]
    fn power_and_links_of_a_cluster_are_those_of_its_machine() {
        let mut ours = planned(&options("k3f9x2".parse().unwrap()));
        let mut theirs = ours.clone();
        ours.switched_off = ["alpha-1".to_owned(), "beta-1".to_owned()].into();
        ours.cut_links = [CutLink::Cluster("beta".to_owned()), CutLink::Node("alpha-2".to_owned())].into();
        theirs.switched_off = ["beta-2".to_owned()].into();
        theirs.cut_links = [CutLink::Node("beta-1".to_owned())].into();
        ours.follow_cluster(&"beta".parse().unwrap(), &theirs);
        assert_eq!(ours.switched_off, ["alpha-1".to_owned(), "beta-2".to_owned()].into());
        let cut = [CutLink::Node("alpha-2".to_owned()), CutLink::Node("beta-1".to_owned())];
        assert_eq!(ours.cut_links, cut.into());
    }
}
