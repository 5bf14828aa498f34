//! Schema of `kind: Topology`.

use serde_json::Map;

use crate::{AuthMode, Ca, Term};

use super::{
    Json, boolean, described, document, duration, header, integer, link_conditions, list, name, object, text,
    without_parameters,
};

/// The JSON Schema of topology files.
pub fn topology_schema() -> Json {
    let mut properties = header("Topology").to_vec();
    properties.extend([
        ("name".to_owned(), described(name(), "What it is called; the name of the file without its ending.")),
        ("clusters".to_owned(), described(list(cluster(), 1), "The clusters of the mesh.")),
        (
            "links".to_owned(),
            described(list(link(), 0), "Links between clusters with conditions; all others are clear."),
        ),
        ("tls".to_owned(), described(tls(), "Certificates and users of the etcds of the mesh.")),
        ("agents".to_owned(), described(agents(), "How the agents of the mesh are set up, whoever made them.")),
    ]);
    let required = ["apiVersion", "kind", "name", "clusters"].map(str::to_owned);
    without_parameters(document("A topology of meshbed", object(properties, &required), Map::new()))
}

/// Keys that a cluster may go without.
const OPTIONAL_OF_CLUSTERS: [&str; 2] = ["env", "kernel"];

fn cluster() -> Json {
    let node = object([("name", described(name(), "Its name, unique in the mesh."))], &["name".to_owned()]);
    let fields = [
        ("name", described(name(), "Its name, unique in the mesh; at most 32 characters.")),
        ("id", described(integer(1, 511), "Its cluster ID, unique in the mesh; above 255 only in a mesh of 511.")),
        ("nodeCIDR", described(text(), "Its segment: .1 is the router, .2 the control plane, nodes from .11 on.")),
        (
            "podCIDR",
            described(text(), "What the nodes' pod CIDRs are cut from: the n-th node, from 1, gets the n-th /24."),
        ),
        ("serviceCIDR", described(text(), "What cluster IPs are allocated from; a /28 or larger.")),
        ("nodes", described(list(node, 1), "Its nodes.")),
        ("env", described(env(), "More environment for the programs of its agents; wins over that of `agents`.")),
        ("kernel", described(text(), "Name of the kernel that its nodes run on, such as `\"5.10\"`; needs guests.")),
    ];
    let keys = fields.iter().map(|(key, _)| (*key).to_owned());
    let required: Vec<String> = keys.filter(|key| !OPTIONAL_OF_CLUSTERS.contains(&key.as_str())).collect();
    described(object(fields, &required), "One Kubernetes cluster. No two CIDRs of a mesh may overlap.")
}

fn tls() -> Json {
    let fields = [
        ("ca", described(Ca::schema(), "Who signs the certificates of the mesh; `cluster` when it is not given.")),
        (
            "authMode",
            described(
                AuthMode::schema(),
                "As which users agents of other clusters read an etcd; `migration` when it is not given.",
            ),
        ),
    ];
    object(fields, &[])
}

fn env() -> Json {
    serde_json::json!({ "type": "object", "additionalProperties": text() })
}

fn agents() -> Json {
    let fields = [
        (
            "maxConnectedClusters",
            described(
                serde_json::json!({ "enum": [255, 511] }),
                "Size of the mesh in Cilium's sense; 255 when it is not given.",
            ),
        ),
        (
            "cacheTTL",
            described(
                duration(),
                "How long a remote cluster may not be ready before its services are dropped; for ever when it is not given.",
            ),
        ),
        ("kvstoremesh", described(boolean(), "Agents read remote clusters from copies in their own cluster's etcd.")),
        ("env", described(env(), "More environment for all programs of the agents.")),
    ];
    object(fields, &[])
}

fn link() -> Json {
    let pair = serde_json::json!({ "type": "array", "items": text(), "minItems": 2, "maxItems": 2 });
    let mut fields = vec![
        ("from", described(text(), "The cluster where packets come from.")),
        ("to", described(text(), "The cluster where they go to.")),
        ("both", described(boolean(), "The other direction gets the same conditions.")),
        ("between", described(pair, "Two clusters: both directions between them, instead of `from` and `to`.")),
    ];
    fields.extend(link_conditions());
    let mut link = object(fields, &[]);
    let required = |keys: &[&str]| serde_json::json!({ "required": keys });
    link["anyOf"] = vec![required(&["from", "to"]), required(&["between"])].into();
    described(link, "Conditions of one direction between two clusters, or of both.")
}
