//! Which lists are merged by key, as the `patchStrategy` and `patchMergeKey` tags of the API types say.
//!
//! Only lists that differ from the rule need a word here: a field that is not named is a map that is merged field by
//! field, or a list that is replaced as a whole.

/// How the fields of one map are merged.
#[derive(Debug)]
pub(crate) struct Schema {
    fields: &'static [(&'static str, Field)],
}

/// How one field is merged.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Field {
    /// A map with rules of its own.
    Map(&'static Schema),
    /// A list of maps, merged by the value of a key.
    ByKey(&'static str, &'static Schema),
    /// A list of plain values, merged as a set.
    Set,
}

impl Schema {
    /// The rule for a field; none for the general one.
    pub(crate) fn field(&self, name: &str) -> Option<Field> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, field)| *field)
    }

    /// The schema of what lies below a field.
    pub(crate) fn below(&self, name: &str) -> &'static Schema {
        match self.field(name) {
            Some(Field::Map(schema) | Field::ByKey(_, schema)) => schema,
            Some(Field::Set) | None => &EMPTY,
        }
    }
}

use Field::{ByKey, Map, Set};

static EMPTY: Schema = Schema { fields: &[] };

static METADATA: Schema = Schema { fields: &[("finalizers", Set), ("ownerReferences", ByKey("uid", &EMPTY))] };

/// Kinds without merged lists outside of their metadata.
pub(crate) static PLAIN: Schema = Schema { fields: &[("metadata", Map(&METADATA))] };

static BY_TYPE: Schema = Schema { fields: &[("conditions", ByKey("type", &EMPTY))] };

/// Kinds with nothing but conditions.
pub(crate) static CONDITIONS: Schema = Schema { fields: &[("metadata", Map(&METADATA)), ("status", Map(&BY_TYPE))] };

/// Service accounts.
pub(crate) static SERVICE_ACCOUNT: Schema =
    Schema { fields: &[("metadata", Map(&METADATA)), ("secrets", ByKey("name", &EMPTY))] };

static SERVICE_SPEC: Schema = Schema { fields: &[("ports", ByKey("port", &EMPTY))] };

/// Services.
pub(crate) static SERVICE: Schema =
    Schema { fields: &[("metadata", Map(&METADATA)), ("spec", Map(&SERVICE_SPEC)), ("status", Map(&BY_TYPE))] };

static NODE_SPEC: Schema = Schema { fields: &[("podCIDRs", Set)] };

static NODE_STATUS: Schema =
    Schema { fields: &[("conditions", ByKey("type", &EMPTY)), ("addresses", ByKey("type", &EMPTY))] };

/// Nodes.
pub(crate) static NODE: Schema =
    Schema { fields: &[("metadata", Map(&METADATA)), ("spec", Map(&NODE_SPEC)), ("status", Map(&NODE_STATUS))] };

static CONTAINER: Schema = Schema {
    fields: &[
        ("ports", ByKey("containerPort", &EMPTY)),
        ("env", ByKey("name", &EMPTY)),
        ("volumeMounts", ByKey("mountPath", &EMPTY)),
        ("volumeDevices", ByKey("devicePath", &EMPTY)),
    ],
};

static POD_SPEC: Schema = Schema {
    fields: &[
        ("containers", ByKey("name", &CONTAINER)),
        ("initContainers", ByKey("name", &CONTAINER)),
        ("ephemeralContainers", ByKey("name", &CONTAINER)),
        ("volumes", ByKey("name", &EMPTY)),
        ("imagePullSecrets", ByKey("name", &EMPTY)),
        ("hostAliases", ByKey("ip", &EMPTY)),
        ("topologySpreadConstraints", ByKey("topologyKey", &EMPTY)),
        ("schedulingGates", ByKey("name", &EMPTY)),
        ("resourceClaims", ByKey("name", &EMPTY)),
    ],
};

static POD_STATUS: Schema =
    Schema { fields: &[("conditions", ByKey("type", &EMPTY)), ("podIPs", ByKey("ip", &EMPTY))] };

/// Pods.
pub(crate) static POD: Schema =
    Schema { fields: &[("metadata", Map(&METADATA)), ("spec", Map(&POD_SPEC)), ("status", Map(&POD_STATUS))] };

static TEMPLATE: Schema = Schema { fields: &[("metadata", Map(&METADATA)), ("spec", Map(&POD_SPEC))] };

static WORKLOAD_SPEC: Schema = Schema { fields: &[("template", Map(&TEMPLATE))] };

/// Deployments and replica sets.
pub(crate) static WORKLOAD: Schema =
    Schema { fields: &[("metadata", Map(&METADATA)), ("spec", Map(&WORKLOAD_SPEC)), ("status", Map(&BY_TYPE))] };
