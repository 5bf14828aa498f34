//! What a remote cluster's reader says about itself: Cilium's API model, field by field.

use jiff::Timestamp;
use mesh_core::Lifecycle;
use mesh_types::ClusterName;
use mesh_wire::Resource;
use serde::{Deserialize, Serialize};

/// State of one remote cluster. Zero values are left out, as Cilium's API does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RemoteStatus {
    /// Name of the remote cluster.
    pub name: ClusterName,
    /// Its etcd answered on the present connection.
    #[serde(default, skip_serializing_if = "is_false")]
    pub connected: bool,
    /// Connected, configuration retrieved, and everything that we read of it synchronised.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ready: bool,
    /// The connection in words, or the last error.
    pub status: String,
    /// Nodes read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub num_nodes: u64,
    /// Endpoints (addresses) read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub num_endpoints: u64,
    /// Security identities read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub num_identities: u64,
    /// Global services read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub num_shared_services: u64,
    /// Endpoint slices read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub num_endpoint_slices: u64,
    /// Service exports read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub num_service_exports: u64,
    /// Connections that failed or broke since start.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub num_failures: u64,
    /// When the last of them did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<Timestamp>,
    /// Values that could not be read since start. Not in Cilium's model.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub num_malformed_values: u64,
    /// How often its services were dropped because it was not ready for too long. Not in Cilium's model, which has a metric.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub num_cache_revocations: u64,
    /// The remote cluster's configuration; absent before the first attempt to get it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<RemoteConfigStatus>,
    /// What is synchronised.
    #[serde(default)]
    pub synced: RemoteSynced,
}

impl RemoteStatus {
    /// Of a remote cluster that nobody has tried to reach.
    pub(crate) fn new(name: ClusterName) -> Self {
        Self {
            name,
            connected: false,
            ready: false,
            status: "Waiting for initial connection to be established".to_owned(),
            num_nodes: 0,
            num_endpoints: 0,
            num_identities: 0,
            num_shared_services: 0,
            num_endpoint_slices: 0,
            num_service_exports: 0,
            num_failures: 0,
            last_failure: None,
            num_malformed_values: 0,
            num_cache_revocations: 0,
            config: None,
            synced: RemoteSynced::default(),
        }
    }

    /// Takes what the life cycle says. Counts stay: the data does too.
    pub(crate) fn take(&mut self, lifecycle: &Lifecycle, etcd: Option<u64>) {
        self.connected = lifecycle.is_connected();
        self.ready = lifecycle.is_ready();
        self.num_failures = lifecycle.failures();
        self.num_cache_revocations = lifecycle.revocations();
        if let Some(trouble) = lifecycle.trouble() {
            self.status = format!("Err: {trouble}");
        } else if let Some(etcd) = etcd {
            self.status = format!(
                "etcd: 1/1 connected, leases=0, lock leases=0, has-quorum=true: endpoint status checks are disabled, \
                 ID: {etcd:x}"
            );
        }
        self.config = lifecycle.is_connected().then(|| {
            let Some(config) = lifecycle.cluster_config() else {
                return RemoteConfigStatus { required: true, ..RemoteConfigStatus::default() };
            };
            RemoteConfigStatus {
                required: true,
                retrieved: true,
                cluster_id: u64::from(config.id.get()),
                kvstoremesh: config.capabilities.cached,
                sync_canaries: config.capabilities.synced_canaries,
                service_exports_enabled: config.capabilities.service_exports_enabled,
            }
        });
        self.synced = RemoteSynced {
            nodes: lifecycle.is_listed(Resource::Nodes),
            endpoints: lifecycle.is_listed(Resource::Ip),
            identities: lifecycle.is_listed(Resource::Identities),
            services: lifecycle.is_listed(Resource::Services) == Some(true),
            endpoint_slices: lifecycle.is_listed(Resource::EndpointSlices),
            service_exports: lifecycle.is_listed(Resource::ServiceExports),
        };
    }

    /// Takes how many objects of a kind are known; says whether that is news.
    pub(crate) fn count(&mut self, resource: Resource, count: u64, malformed: u64) -> bool {
        let place = match resource {
            Resource::Nodes => &mut self.num_nodes,
            Resource::Services => &mut self.num_shared_services,
            Resource::EndpointSlices => &mut self.num_endpoint_slices,
            Resource::Ip => &mut self.num_endpoints,
            Resource::Identities => &mut self.num_identities,
            Resource::ServiceExports => &mut self.num_service_exports,
        };
        let news = (*place, self.num_malformed_values) != (count, malformed);
        (*place, self.num_malformed_values) = (count, malformed);
        news
    }
}

/// Retrieval and content of a remote cluster's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct RemoteConfigStatus {
    /// There must be one. Always so with the versions that we mesh with.
    #[serde(skip_serializing_if = "is_false")]
    pub required: bool,
    /// It was read.
    #[serde(skip_serializing_if = "is_false")]
    pub retrieved: bool,
    /// Its cluster ID, 0 when not retrieved.
    #[serde(skip_serializing_if = "is_zero")]
    pub cluster_id: u64,
    /// The etcd is a KVStoreMesh cache.
    #[serde(skip_serializing_if = "is_false")]
    pub kvstoremesh: bool,
    /// The cluster writes synced canaries.
    #[serde(skip_serializing_if = "is_false")]
    pub sync_canaries: bool,
    /// MCS API: on, off, or unknown to the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_exports_enabled: Option<bool>,
}

/// Which kinds of keys are synchronised. Kinds that this agent does not read are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct RemoteSynced {
    /// Nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<bool>,
    /// Endpoints (addresses).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<bool>,
    /// Security identities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identities: Option<bool>,
    /// Global services.
    #[serde(skip_serializing_if = "is_false")]
    pub services: bool,
    /// Endpoint slices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_slices: Option<bool>,
    /// Service exports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_exports: Option<bool>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}
