//! Writes objects of Cilium's kinds, and defines the kinds where nobody did.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, Error,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use mesh_types::NumericIdentity;
use serde_json::{Value, json};

use crate::{
    CiliumEndpoint, CiliumIdentity, CiliumNode,
    cilium::{GROUP, VERSION},
};

/// Who the fields of what is written belong to.
const FIELD_MANAGER: &str = "mesh-agent";
/// What the API server says to who creates something that is there.
const CONFLICT: u16 = 409;
/// What it says to who may not do something.
const FORBIDDEN: u16 = 403;
/// What it says of something that is not there.
const NOT_FOUND: u16 = 404;

/// Writes objects of Cilium's kinds.
#[derive(Clone)]
pub struct CiliumObjects(Client);

impl CiliumObjects {
    /// Over this connection.
    pub fn new(client: Client) -> Self {
        Self(client)
    }

    /// Defines the three kinds, if they are not defined. Who comes first wins: that several try at once does no harm. Who may
    /// not define kinds leaves it to others: in Cilium the operator does this.
    pub async fn define(&self) -> Result<(), Error> {
        let api = Api::<CustomResourceDefinition>::all(self.0.clone());
        let kinds = [
            ("CiliumNode", "ciliumnodes", "Cluster", vec!["cn", "ciliumn"]),
            ("CiliumIdentity", "ciliumidentities", "Cluster", vec!["ciliumid"]),
            ("CiliumEndpoint", "ciliumendpoints", "Namespaced", vec!["cep", "ciliumep"]),
        ];
        for (kind, plural, scope, short) in kinds {
            let definition: CustomResourceDefinition =
                serde_json::from_value(definition(kind, plural, scope, &short)).map_err(Error::SerdeError)?;
            exists(api.create(&PostParams::default(), &definition).await)?;
        }
        Ok(())
    }

    /// Makes a node be described like this, and by nothing else.
    pub async fn put_node(&self, node: &CiliumNode) -> Result<(), Error> {
        let api = Api::<CiliumNode>::all(self.0.clone());
        api.patch(node.name(), &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(node)).await.map(drop)
    }

    /// Makes an endpoint be described like this, and by nothing else.
    pub async fn put_endpoint(&self, endpoint: &CiliumEndpoint) -> Result<(), Error> {
        let (namespace, name) = name(endpoint);
        let api = Api::<CiliumEndpoint>::namespaced(self.0.clone(), namespace);
        api.patch(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(endpoint)).await.map(drop)
    }

    /// Deletes an endpoint, if it is there, and still the one with this UID where one is given.
    pub async fn delete_endpoint(&self, namespace: &str, name: &str, uid: Option<&str>) -> Result<(), Error> {
        let api = Api::<CiliumEndpoint>::namespaced(self.0.clone(), namespace);
        let preconditions = uid.map(|uid| Preconditions { uid: Some(uid.to_owned()), resource_version: None });
        match api.delete(name, &DeleteParams { preconditions, ..DeleteParams::default() }).await {
            // Gone already, or another one by now.
            Err(Error::Api(status)) if [NOT_FOUND, CONFLICT].contains(&status.code) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Creates an identity. Returns what has this number from now on: this one, or the one that somebody else created before.
    pub async fn create_identity(
        &self,
        number: NumericIdentity,
        identity: &CiliumIdentity,
    ) -> Result<CiliumIdentity, Error> {
        let api = Api::<CiliumIdentity>::all(self.0.clone());
        match api.create(&PostParams::default(), identity).await {
            Err(Error::Api(status)) if status.code == CONFLICT => api.get(&number.get().to_string()).await,
            other => other,
        }
    }
}

fn name(endpoint: &CiliumEndpoint) -> (&str, &str) {
    let metadata = &endpoint.metadata;
    (metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
}

/// Creating what is there is no error, nor is what others have to create.
fn exists<T>(result: Result<T, Error>) -> Result<(), Error> {
    match result {
        Err(Error::Api(status)) if status.code == CONFLICT => Ok(()),
        Err(Error::Api(status)) if status.code == FORBIDDEN => {
            tracing::info!(status.message, "Cilium's kinds are for others to define");
            Ok(())
        }
        other => other.map(drop),
    }
}

/// A definition that takes any fields: what they mean is Cilium's to say.
fn definition(kind: &str, plural: &str, scope: &str, short: &[&str]) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{GROUP}")},
        "spec": {
            "group": GROUP,
            "scope": scope,
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase(), "shortNames": short, "categories": ["cilium"]},
            "versions": [{
                "name": VERSION,
                "served": true,
                "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    })
}
