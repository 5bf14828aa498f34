//! Schema of `kind: Agent`.

use serde_json::{Map, json};

use super::{
    Json, any_of, boolean, described, document, duration, header, list, name, object, text, without_parameters, words,
};
use crate::{Capability, StopSignal};

/// The JSON Schema of agent files.
pub fn agent_schema() -> Json {
    let field = |key: &str, doc: &str, schema: Json| (key.to_owned(), described(schema, doc));
    let capabilities = list(words(&Capability::ALL.map(Capability::name)), 0);
    let stop = words(&StopSignal::ALL.map(|(name, _)| name));
    let signals = object([("stop", described(stop, "The signal that asks it to end."))], &["stop".to_owned()]);
    let mut properties = header("Agent").to_vec();
    properties.extend([
        field("name", "Its name, part of the names of conformance reports.", name()),
        field("description", "What it is, for people.", text()),
        field("roles", "Its programs. `{name}` in them stands for something that the environment fills in.", roles()),
        field(
            "pins",
            "Folder of the pinned maps, relative to the node's bpffs; `tc/globals` when it is not given.",
            text(),
        ),
        field("capabilities", "What it claims to be able to do.", capabilities),
        field("signals", "How it is told things.", signals),
        field("needs", "What it needs apart from its own programs.", needs()),
    ]);
    let required = ["apiVersion", "kind", "name", "description", "roles", "capabilities"].map(str::to_owned);
    without_parameters(document("A cluster mesh agent for meshbed", object(properties, &required), Map::new()))
}

fn roles() -> Json {
    let field = |key: &str, doc: &str, schema: Json| (key.to_owned(), described(schema, doc));
    let setup = object(program(), &["command".to_owned()]);
    let role = || {
        let mut fields = program();
        fields.push(("ready", described(ready(), "When it counts as ready.")));
        let trace = "File with a JSON line for each step of a change; below `{state}/` or `{runDir}/`.";
        fields.push(("trace", described(text(), trace)));
        let status = "Prints how its remote clusters are, as JSON in Cilium's model (`cluster-mesh` of `/v1/healthz`).";
        fields.push(("status", described(list(text(), 1), status)));
        object(fields, &["command".to_owned(), "ready".to_owned()])
    };
    let fields = [
        field("setup", "Runs once in every cluster, before anything else of the agent, and has to end with 0.", setup),
        field("node", "Runs on every node.", role()),
        field("exporter", "Runs once in every cluster and writes its services to its etcd.", role()),
        field(
            "kvstoremesh",
            "Runs once in every cluster of a mesh with KVStoreMesh and copies remote clusters.",
            role(),
        ),
    ];
    object(fields, &["node".to_owned()])
}

/// What every role has.
fn program() -> Vec<(&'static str, Json)> {
    let env = json!({ "type": "object", "additionalProperties": text() });
    let file = [
        ("path", described(text(), "Where; below `{state}/` or `{runDir}/`.")),
        ("content", described(text(), "What is in it.")),
    ];
    let file = object(file, &["path".to_owned(), "content".to_owned()]);
    vec![
        ("command", described(list(text(), 1), "Program and arguments.")),
        ("env", described(env, "Additions to its environment.")),
        ("files", described(list(file, 0), "Files that are written before each start.")),
        ("timeout", described(duration(), "How long it may take to become ready; 30 s when it is not given.")),
    ]
}

fn ready() -> Json {
    let url = json!({ "type": "string", "pattern": "^http://" });
    let ways = [
        ("notify", described(json!({ "const": true }), "It sends `READY=1` to its `NOTIFY_SOCKET`.")),
        ("http", described(url, "A GET of this URL is answered with 2xx.")),
        ("exec", described(list(text(), 1), "This command ends with 0.")),
        ("exists", described(text(), "This path exists.")),
    ];
    any_of(ways.map(|(key, schema)| object([(key, schema)], &[key.to_owned()])))
}

fn needs() -> Json {
    let crds = [
        ("folder", described(text(), "Folder with their manifests.")),
        ("names", described(list(text(), 0), "Their names, such as `ciliumnodes.cilium.io`.")),
    ];
    let crds = object(crds, &["folder".to_owned(), "names".to_owned()]);
    let own_cgroup = "Its nodes have a cgroup namespace each, with their cgroup v2 mounted at `/sys/fs/cgroup`.";
    let fields = [
        ("cgroupNamespace", described(boolean(), own_cgroup)),
        ("programs", described(list(text(), 0), "Programs that it calls itself.")),
        ("files", described(list(text(), 0), "Files and folders that must be on the machine.")),
        ("crds", described(crds, "Kinds that its setup brings into every cluster.")),
    ];
    object(fields, &[])
}
