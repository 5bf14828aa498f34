//! Making a mesh as empty as it was when it came up, for the next run on it.

use futures::future::try_join_all;
use mesh_types::ClusterName;
use serde_json::Value;

use crate::{
    probe::lock,
    settle::Objects,
    stage::{Stage, StepError},
    steps::MAPS_WAIT_MAX,
    watch::Kind,
    world::World,
};

/// The service of the API itself, which every cluster has.
const KUBERNETES: &str = "kubernetes";
/// Label of a slice that names its service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

impl Stage {
    /// Deletes all that scenarios make and waits until nothing of it is left, in no cluster and no map.
    ///
    /// # Errors
    ///
    /// When a fault is still in force, or something does not go away in time.
    pub(crate) async fn clear(&self) -> Result<(), StepError> {
        if let Some(name) = self.fault_in_force() {
            return Err(StepError::action("empty the mesh")(format!("fault `{name}` was not healed")));
        }
        let found: Vec<(ClusterName, Kind, String)> = {
            let world = lock(&self.world);
            let of = |(cluster, objects): (&ClusterName, &Objects)| {
                let found = objects.to_delete();
                found.into_iter().map(|(kind, name)| (cluster.clone(), kind, name)).collect::<Vec<_>>()
            };
            world.objects.iter().flat_map(of).collect()
        };
        let delete = |(cluster, kind, name): &(ClusterName, Kind, String)| {
            let cluster = self.clusters[cluster].clone();
            let (kind, name) = (*kind, name.clone());
            async move {
                let (namespace, name) = name.split_once('/').unwrap_or(("", &name));
                cluster.delete(kind.as_str(), Some(namespace), name).await
            }
        };
        try_join_all(found.iter().map(delete)).await?;
        self.wait(self.scenario.deadline(), World::left_over).await?;
        self.settle(MAPS_WAIT_MAX.mul_f64(self.scenario.slowness())).await
    }
}

impl World {
    /// What scenarios made and is still there.
    fn left_over(&self) -> Vec<String> {
        let of = |(cluster, objects): (&ClusterName, &Objects)| {
            let left =
                objects.made().map(|(kind, name, _)| format!("{cluster}: {} `{name}` is still there", kind.as_str()));
            left.collect::<Vec<_>>()
        };
        self.objects.iter().flat_map(of).collect()
    }
}

impl Objects {
    /// Everything but what a cluster has by itself.
    fn made(&self) -> impl Iterator<Item = (Kind, &str, &Value)> {
        let kinds = [Kind::Deployment, Kind::Service, Kind::Pod, Kind::EndpointSlice];
        let all = kinds
            .into_iter()
            .flat_map(|kind| self.of(kind).iter().map(move |(name, object)| (kind, name.as_str(), object)));
        all.filter(|(kind, name, object)| match kind {
            Kind::Service => *name != format!("default/{KUBERNETES}"),
            Kind::EndpointSlice => object["metadata"]["labels"][SERVICE_NAME] != KUBERNETES,
            _ => true,
        })
    }

    /// What must be deleted for all of it to go: not what somebody owns, which goes with its owner.
    fn to_delete(&self) -> Vec<(Kind, String)> {
        let owned =
            |object: &Value| object["metadata"]["ownerReferences"].as_array().is_some_and(|owners| !owners.is_empty());
        self.made().filter(|(_, _, object)| !owned(object)).map(|(kind, name, _)| (kind, name.to_owned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_cluster_has_by_itself_stays() {
        let mut objects = Objects::default();
        objects.services.insert("default/kubernetes".into(), json!({}));
        objects.services.insert("default/web".into(), json!({}));
        let of = |service: &str| json!({"metadata": {"labels": {SERVICE_NAME: service}}});
        objects.slices.insert("default/kubernetes".into(), of("kubernetes"));
        objects.slices.insert("default/by-hand".into(), of("web"));
        let owned = json!({"metadata": {"labels": {SERVICE_NAME: "web"}, "ownerReferences": [{"kind": "Service", "name": "web"}]}});
        objects.slices.insert("default/web-x".into(), owned);
        let names: Vec<&str> = objects.made().map(|(_, name, _)| name).collect();
        assert_eq!(names, ["default/web", "default/by-hand", "default/web-x"]);
        let first: Vec<String> = objects.to_delete().into_iter().map(|(_, name)| name).collect();
        assert_eq!(first, ["default/web", "default/by-hand"]);
    }
}
