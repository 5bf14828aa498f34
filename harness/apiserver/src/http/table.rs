//! Tables, as `kubectl get` asks for them. Pure but for the clock that ages are read from.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::kinds::Resource;

/// What each row carries beside its cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Include {
    /// Nothing.
    None,
    /// The object's metadata.
    Metadata,
    /// The object.
    Object,
}

impl Include {
    /// Reads `includeObject`.
    pub(super) fn parse(text: Option<&str>) -> Self {
        match text {
            Some("None") => Self::None,
            Some("Object") => Self::Object,
            _ => Self::Metadata,
        }
    }
}

/// Makes tables of one kind.
pub(super) struct Tables {
    resource: &'static Resource,
    include: Include,
}

impl Tables {
    /// Tables of `resource` whose rows carry what `include` says.
    pub(super) fn new(resource: &'static Resource, include: Include) -> Self {
        Self { resource, include }
    }

    /// One table.
    pub(super) fn render<'o>(&self, objects: impl IntoIterator<Item = &'o Value>, metadata: Value) -> Value {
        self.render_at(objects, metadata, Timestamp::now())
    }

    fn render_at<'o>(&self, objects: impl IntoIterator<Item = &'o Value>, metadata: Value, now: Timestamp) -> Value {
        let columns = self.resource.columns.iter().map(|column| {
            let format = if column.name == "Name" { "name" } else { "" };
            json!({
                "name": column.name, "type": column.r#type, "format": format,
                "description": "", "priority": column.priority,
            })
        });
        let columns: Vec<Value> = columns.collect();
        let rows = objects.into_iter().map(|object| {
            let mut row = json!({"cells": (self.resource.row)(object, now)});
            match self.include {
                Include::None => {}
                Include::Metadata => row["object"] = metadata_only(object),
                Include::Object => row["object"] = object.clone(),
            }
            row
        });
        let rows: Vec<Value> = rows.collect();
        json!({
            "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
            "columnDefinitions": columns, "rows": rows,
        })
    }
}

/// An object's metadata as an object of its own.
pub(super) fn metadata_only(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;
    use crate::kinds::Kind;

    fn cells(kind: Kind, object: Value) -> Value {
        let now = "2026-01-01T00:02:00Z".parse().unwrap();
        let tables = Tables::new(kind.resource(), Include::None);
        let table = tables.render_at([&object], json!({}), now);
        assert_eq!(
            table["rows"][0]["cells"].as_array().map(Vec::len),
            table["columnDefinitions"].as_array().map(Vec::len),
            "{kind:?} has a cell for each column"
        );
        table["rows"][0]["cells"].clone()
    }

    fn metadata() -> Value {
        json!({"name": "a", "creationTimestamp": "2026-01-01T00:01:55Z"})
    }

    #[test]
    fn every_kind_has_a_cell_for_each_column() {
        for kind in Kind::ALL {
            cells(kind, json!({"metadata": metadata()}));
        }
    }

    #[test]
    fn services() {
        let spec = json!({"type": "NodePort", "clusterIP": "10.101.1.0", "selector": {"app": "a", "tier": "b"},
            "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30000}, {"port": 53, "protocol": "UDP"}]});
        let row = cells(Kind::Service, json!({"metadata": metadata(), "spec": spec}));
        let expected = json!(["a", "NodePort", "10.101.1.0", "<none>", "80:30000/TCP,53/UDP", "5s", "app=a,tier=b"]);
        assert_eq!(row, expected);
    }

    #[test_case(json!({"phase": "Pending"}) => json!(["a", "0/1", "Pending", "0", "5s", "<none>", "<none>", "<none>", "<none>"]); "pending")]
    #[test_case(json!({"phase": "Running", "podIP": "10.1.1.2", "containerStatuses": [{"ready": true, "restartCount": 2, "state": {"running": {}}}]})
        => json!(["a", "1/1", "Running", "2", "5s", "10.1.1.2", "<none>", "<none>", "<none>"]); "running")]
    #[test_case(json!({"phase": "Failed", "containerStatuses": [{"ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": 137, "reason": "Error"}}}]})
        => json!(["a", "0/1", "Error", "0", "5s", "<none>", "<none>", "<none>", "<none>"]); "failed")]
    fn pods(status: Value) -> Value {
        cells(Kind::Pod, json!({"metadata": metadata(), "spec": {"containers": [{}]}, "status": status}))
    }

    #[test]
    fn endpoint_slices_shorten_their_lists() {
        let endpoints: Vec<Value> = (1..=5).map(|n| json!({"addresses": [format!("10.1.1.{n}")]})).collect();
        let object =
            json!({"metadata": metadata(), "addressType": "IPv4", "ports": [{"port": 80}], "endpoints": endpoints});
        let row = cells(Kind::EndpointSlice, object);
        assert_eq!(row, json!(["a", "IPv4", "80", "10.1.1.1,10.1.1.2,10.1.1.3 + 2 more...", "5s"]));
    }

    #[test]
    fn nodes() {
        let status = json!({"conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "172.18.1.11"}], "nodeInfo": {"kubeletVersion": "v1"}});
        let object = json!({"metadata": metadata(), "spec": {"unschedulable": true}, "status": status});
        let row = cells(Kind::Node, object);
        assert_eq!(row[1], "Ready,SchedulingDisabled");
        assert_eq!(row[5], "172.18.1.11");
    }
}
