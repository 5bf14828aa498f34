//! What the cluster looked like at one moment.

use anyhow::Context as _;
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::{Api, Client, api::ListParams};
use mesh_core::{LocalService, LocalSlice};

/// Kubernetes' own service, which every cluster has.
const OWN_SERVICE: (&str, &str) = ("default", "kubernetes");

/// All services and endpoint slices of a cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) services: Vec<LocalService>,
    pub(crate) slices: Vec<LocalSlice>,
}

impl Snapshot {
    /// Two lists, no watch.
    pub(crate) async fn take(client: &Client) -> anyhow::Result<Self> {
        let services = Api::<Service>::all(client.clone()).list(&ListParams::default()).await;
        let slices = Api::<EndpointSlice>::all(client.clone()).list(&ListParams::default()).await;
        Ok(Self {
            services: services.context("failed to list services")?.iter().map(mesh_k8s::service).collect(),
            slices: slices.context("failed to list endpoint slices")?.iter().map(mesh_k8s::slice).collect(),
        })
    }

    /// Whether there is a service apart from Kubernetes' own.
    pub(crate) fn has_services(&self) -> bool {
        let names = self.services.iter().map(|service| (service.key.namespace.as_str(), service.key.name.as_str()));
        names.into_iter().any(|name| name != OWN_SERVICE)
    }
}
