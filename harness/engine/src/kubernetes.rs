//! What the engine asks of a cluster's Kubernetes API.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    pin::pin,
};

use futures::TryStreamExt;
use hyper::header::{HeaderValue, USER_AGENT};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Node, Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{
        ApiResource, DeleteParams, DynamicObject, EvictParams, GroupVersionKind, ListParams, Patch, PatchParams,
        PostParams, WatchEvent, WatchParams,
    },
    config::{KubeConfigOptions, Kubeconfig},
    core::Status,
};
use mesh_types::{ClusterName, ServiceKey};
use meshbed_apiserver::admin::EXEMPT;
use meshbed_scenario::DeploymentKey;
use serde_json::{Value, json};

use crate::watch::Kind;

/// Namespace of manifests and scenarios that name none.
pub(crate) const DEFAULT_NAMESPACE: &str = "default";

/// A cluster's API, through its kubeconfig.
#[derive(Clone)]
pub struct Cluster {
    /// Its name.
    pub name: ClusterName,
    client: Client,
}

/// Why the API did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    /// The kubeconfig could not be used.
    #[error("failed to use kubeconfig `{}`", path.display())]
    Kubeconfig {
        /// Path of the file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A request failed.
    #[error("failed to {what} in cluster `{cluster}`")]
    Request {
        /// What was asked.
        what: String,
        /// Of whom.
        cluster: ClusterName,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// A service has no cluster IP that could be asked.
    #[error("service `{service}` has no IPv4 cluster IP, found `{found}`")]
    NoClusterIp {
        /// The service.
        service: ServiceKey,
        /// What its `clusterIP` says.
        found: String,
    },
}

/// An object as the API returned it after a change: the engine waits until its own watch has seen it.
#[derive(Clone, Debug)]
pub(crate) struct Changed {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) resource_version: u64,
}

impl Cluster {
    /// Reads the kubeconfig and makes a client; nothing is sent yet.
    pub async fn connect(name: ClusterName, kubeconfig: &Path) -> Result<Self, KubernetesError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| KubernetesError::Kubeconfig {
            path: kubeconfig.to_owned(),
            source,
        };
        let file = Kubeconfig::read_from(kubeconfig).map_err(|error| failed(error.into()))?;
        let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
            .await
            .map_err(|error| failed(error.into()))?;
        // By it the API server knows whom its misbehaviour spares.
        config.headers.push((USER_AGENT, HeaderValue::from_static(EXEMPT)));
        let client = Client::try_from(config).map_err(|error| failed(error.into()))?;
        Ok(Self { name, client })
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    fn request(&self, what: impl Into<String>) -> impl FnOnce(kube::Error) -> KubernetesError {
        let (what, cluster) = (what.into(), self.name.clone());
        move |source| KubernetesError::Request { what, cluster, source: Box::new(source) }
    }

    /// Creates the object, or merges it into the one that is there.
    pub(crate) async fn apply(&self, object: &Value) -> Result<Changed, KubernetesError> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (group, version) = match text("/apiVersion").split_once('/') {
            Some((group, version)) => (group, version),
            None => ("", text("/apiVersion")),
        };
        let kind = text("/kind").to_owned();
        let name = text("/metadata/name").to_owned();
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
        let namespace = match text("/metadata/namespace") {
            "" => DEFAULT_NAMESPACE,
            namespace => namespace,
        };
        let api: Api<DynamicObject> = match kind.as_str() {
            "Namespace" | "Node" => Api::all_with(self.client.clone(), &resource),
            _ => Api::namespaced_with(self.client.clone(), namespace, &resource),
        };
        let what = format!("apply {kind} `{name}`");
        let typed: DynamicObject =
            serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError).map_err(self.request(&what))?;
        let applied = match api.create(&PostParams::default(), &typed).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {
                api.patch(&name, &PatchParams::default(), &Patch::Merge(object)).await
            }
            other => other,
        }
        .map_err(self.request(&what))?;
        Ok(Changed { kind, name: qualified(&applied), resource_version: version_of(&applied) })
    }

    /// Merges a patch into an endpoint slice of the default namespace.
    pub(crate) async fn patch_slice(&self, name: &str, patch: &Value) -> Result<(), KubernetesError> {
        self.api::<EndpointSlice>(DEFAULT_NAMESPACE)
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .map(drop)
            .map_err(self.request(format!("patch endpoint slice `{name}`")))
    }

    /// Deletes an object of one of the kinds that the engine watches. An object that is not there is gone already.
    pub(crate) async fn delete(&self, kind: &str, namespace: Option<&str>, name: &str) -> Result<(), KubernetesError> {
        let Some(resource) = Kind::ALL.iter().find(|one| one.as_str() == kind).map(|kind| kind.resource()) else {
            return Ok(());
        };
        let api: Api<DynamicObject> = match kind {
            "Node" => Api::all_with(self.client.clone(), &resource),
            _ => Api::namespaced_with(self.client.clone(), namespace.unwrap_or(DEFAULT_NAMESPACE), &resource),
        };
        match api.delete(name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(drop).map_err(self.request(format!("delete {kind} `{name}`"))),
        }
    }

    /// Sets and removes annotations of a service.
    pub(crate) async fn annotate(
        &self,
        service: &ServiceKey,
        set: impl Iterator<Item = (String, String)>,
        remove: impl Iterator<Item = String>,
    ) -> Result<Changed, KubernetesError> {
        let annotations: serde_json::Map<String, Value> = remove
            .map(|name| (name, Value::Null))
            .chain(set.map(|(name, value)| (name, Value::String(value))))
            .collect();
        let patch = json!({"metadata": {"annotations": annotations}});
        let changed = self
            .api::<Service>(&service.namespace)
            .patch(&service.name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .map_err(self.request(format!("annotate service `{service}`")))?;
        Ok(Changed { kind: "Service".into(), name: qualified(&changed), resource_version: version_of(&changed) })
    }

    /// Sets the replicas of a deployment; returns how many it had, too.
    pub(crate) async fn scale(
        &self,
        deployment: &DeploymentKey,
        replicas: i32,
    ) -> Result<(i32, Changed), KubernetesError> {
        let api = self.api::<Deployment>(&deployment.namespace);
        let what = || format!("scale deployment `{deployment}`");
        let before = api.get(&deployment.name).await.map_err(self.request(what()))?;
        let had = before.spec.replicas.unwrap_or(1);
        let patch = json!({"spec": {"replicas": replicas}});
        let changed = api
            .patch(&deployment.name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .map_err(self.request(what()))?;
        let seen =
            Changed { kind: "Deployment".into(), name: qualified(&changed), resource_version: version_of(&changed) };
        Ok((had, seen))
    }

    /// Keeps new pods off a node, or lets them come again.
    pub(crate) async fn cordon(&self, node: &str, cordoned: bool) -> Result<(), KubernetesError> {
        let api: Api<Node> = Api::all(self.client.clone());
        let done = if cordoned { api.cordon(node).await } else { api.uncordon(node).await };
        done.map(drop).map_err(self.request(format!("cordon node `{node}`")))
    }

    /// Asks a pod to end, as `kubectl drain` does. One that is not there is gone already.
    pub(crate) async fn evict(&self, namespace: &str, pod: &str) -> Result<(), KubernetesError> {
        match self.api::<Pod>(namespace).evict(pod, &EvictParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(drop).map_err(self.request(format!("evict pod `{namespace}/{pod}`"))),
        }
    }

    /// The addresses that the service's endpoint slices list as ready.
    pub(crate) async fn endpoints(&self, service: &ServiceKey) -> Result<Vec<String>, KubernetesError> {
        let selector = format!("kubernetes.io/service-name={}", service.name);
        let slices = self
            .api::<EndpointSlice>(&service.namespace)
            .list(&ListParams::default().labels(&selector))
            .await
            .map_err(self.request(format!("list endpoint slices of `{service}`")))?;
        let mut addresses: Vec<String> = slices
            .into_iter()
            .flat_map(|slice| slice.endpoints.unwrap_or_default())
            .filter(|endpoint| endpoint.conditions.as_ref().and_then(|is| is.ready).unwrap_or(true))
            .flat_map(|endpoint| endpoint.addresses)
            .collect();
        addresses.sort();
        Ok(addresses)
    }

    /// Resource versions of all objects of a kind by `namespace/name`, and of the list itself.
    pub(crate) async fn versions(&self, kind: Kind) -> Result<(u64, BTreeMap<String, u64>), KubernetesError> {
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &kind.resource());
        let what = || format!("list {}", kind.as_str());
        let list = api.list_metadata(&ListParams::default()).await.map_err(self.request(what()))?;
        let revision = list.metadata.resource_version.and_then(|version| version.parse().ok()).unwrap_or(0);
        Ok((revision, list.items.iter().map(|object| (qualified(object), version_of(object))).collect()))
    }

    /// How the API answers a watch of services that wants to go on from a revision: none when it goes on.
    pub(crate) async fn refusal_from(&self, revision: u64) -> Result<Option<Box<Status>>, KubernetesError> {
        let what = || format!("watch services from revision {revision}");
        let api: Api<Service> = Api::all(self.client.clone());
        let params = WatchParams::default().timeout(1);
        let events = api.watch(&params, &revision.to_string()).await.map_err(self.request(what()))?;
        match pin!(events).try_next().await.map_err(self.request(what()))? {
            Some(WatchEvent::Error(status)) => Ok(Some(status)),
            _ => Ok(None),
        }
    }

    /// The cluster IP of a service.
    pub(crate) async fn cluster_ip(&self, service: &ServiceKey) -> Result<Ipv4Addr, KubernetesError> {
        let what = || format!("get service `{service}`");
        let found = self.api::<Service>(&service.namespace).get(&service.name).await.map_err(self.request(what()))?;
        let ip = found.spec.and_then(|spec| spec.cluster_ip).unwrap_or_default();
        ip.parse().map_err(|_| KubernetesError::NoClusterIp { service: service.clone(), found: ip })
    }
}

fn qualified(object: &impl ResourceExt) -> String {
    match object.namespace() {
        Some(namespace) => format!("{namespace}/{}", object.name_any()),
        None => object.name_any(),
    }
}

/// Resource versions are opaque by contract but comparable numbers in practice, and by contract since Kubernetes 1.35.
pub(crate) fn version_of(object: &impl ResourceExt) -> u64 {
    object.resource_version().and_then(|version| version.parse().ok()).unwrap_or(0)
}
