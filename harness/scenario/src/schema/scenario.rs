//! Schemas of `kind: Scenario` and `kind: Steps`.

use serde_json::{Map, json};

use super::{Json, any_of, definition, described, document, duration, header, integer, list, name, object, text};
use crate::{
    Element, Language, Record, Settle, Term, conformance::ConformanceRecord, map_limits::MapLimitsRecord,
    probe::ProbeRecord, read_step::SteadyRecord,
};

/// The JSON Schema of scenario files in the language `L`.
pub fn schema<L: Language>() -> Json {
    let field = |key: &str, doc: &str, schema: Json| (key.to_owned(), described(schema, doc));
    let mut properties = header("Scenario").to_vec();
    properties.extend([
        field("name", "What it is called; the name of the file without its ending.", name()),
        field("question", "The question that it answers. The file opens with it: `# Question: …`.", text()),
        field("description", "More about it, for people.", text()),
        field("topology", "The topology file that it runs on, relative to this file.", text()),
        field("conformance", ConformanceRecord::DOC, ConformanceRecord::schema()),
        field("grace", "How far before a request the oracle looks back; 1 s when it is not given.", duration()),
        field("deadline", "How long each step may take to settle; 30 s when it is not given.", duration()),
        field("seed", "What all randomness of a run comes from.", integer(0, u64::MAX)),
        field(
            "maps",
            "How long entries of the nodes' maps may be wrong; 1 s when it is not given.",
            MapLimitsRecord::schema(),
        ),
        field("parameters", PARAMETERS, parameters()),
        field("probes", "Clients that ask all the time.", list(ProbeRecord::schema(), 0)),
        field("steps", "What happens, in order.", definition("steps")),
    ]);
    let required = ["apiVersion", "kind", "name", "question", "topology", "steps"].map(str::to_owned);
    document("A scenario of meshbed", object(properties, &required), definitions::<L>())
}

/// The JSON Schema of files with steps that scenarios in the language `L` include.
pub fn steps_schema<L: Language>() -> Json {
    let field = |key: &str, doc: &str, schema: Json| (key.to_owned(), described(schema, doc));
    let mut properties = header("Steps").to_vec();
    properties.extend([
        field("description", "What the steps are for.", text()),
        field("parameters", PARAMETERS, parameters()),
        field("steps", "What happens, in order.", definition("steps")),
    ]);
    let required = ["apiVersion", "kind", "steps"].map(str::to_owned);
    document("Steps of meshbed scenarios", object(properties, &required), definitions::<L>())
}

const PARAMETERS: &str =
    "Names that `${name}` is written for, and their values. One without a value has to be given from outside.";

fn parameters() -> Json {
    json!({ "type": "object", "additionalProperties": scalar() })
}

fn scalar() -> Json {
    json!({ "type": ["string", "number", "boolean", "null"] })
}

fn definitions<L: Language>() -> Map<String, Json> {
    let mut definitions = Map::new();
    let mut define = |name: &str, schema: Json| drop(definitions.insert(name.to_owned(), schema));
    define("steps", list(any_of(["step", "include", "repeat", "matrix"].map(definition)), 1));
    define("step", step());
    define("include", include());
    define("repeat", repeat());
    define("matrix", matrix());
    define("action", one_of(actions::<L>()));
    define("expectation", one_of(expectations::<L>()));
    definitions
}

fn step() -> Json {
    let field = |key: &str, doc: &str, schema: Json| (key.to_owned(), described(schema, doc));
    let properties = [
        field("name", "What it is called; its actions in words when it is not given.", text()),
        field("do", "What it does, in order.", list(definition("action"), 0)),
        field(
            "settle",
            "Whether the mesh must settle after the actions; `yes` when it is not given.",
            Settle::schema(),
        ),
        field("steady", SteadyRecord::DOC, SteadyRecord::schema()),
        field("maps", "How long entries of the nodes' maps may be wrong in this step.", MapLimitsRecord::schema()),
        field("expect", "What must hold.", list(definition("expectation"), 0)),
    ];
    described(
        object(properties, &[]),
        "Actions in order, then the mesh settles, then a steady window, then the expectations are judged.",
    )
}

fn block(key: &str, doc: &str, schema: Json) -> Json {
    described(object([(key, described(schema, doc))], &[key.to_owned()]), doc)
}

fn include() -> Json {
    let with = json!({ "type": "object", "additionalProperties": scalar() });
    let fields = [
        ("file", described(text(), "The file, relative to this one; `kind: Steps`.")),
        ("with", described(with, "Values of its parameters.")),
    ];
    block("include", "The steps of another file.", object(fields, &["file".to_owned()]))
}

fn repeat() -> Json {
    let fields = [
        ("times", described(integer(1, 1_000), "How often.")),
        ("steps", described(definition("steps"), "What; `${iteration}` is the number of the repetition, from 1.")),
    ];
    block("repeat", "The same steps several times.", object(fields, &["times".to_owned(), "steps".to_owned()]))
}

fn matrix() -> Json {
    let axes = json!({ "type": "object", "minProperties": 1, "additionalProperties": list(scalar(), 1) });
    let exclude = list(json!({ "type": "object", "minProperties": 1, "additionalProperties": scalar() }), 0);
    let fields = [
        ("axes", described(axes, "Names and their values.")),
        ("exclude", described(exclude, "Combinations to leave out, by the values of some axes.")),
        ("steps", described(definition("steps"), "What; `${name}` is the value of an axis.")),
    ];
    let required = ["axes".to_owned(), "steps".to_owned()];
    block("matrix", "The same steps for every combination of values.", object(fields, &required))
}

/// A mapping with exactly one of these keys.
fn one_of(properties: Vec<(String, Json)>) -> Json {
    let mut schema = object(properties, &[]);
    schema["minProperties"] = 1.into();
    schema["maxProperties"] = 1.into();
    schema
}

fn elements<T>(elements: &[Element<T>]) -> Vec<(String, Json)> {
    elements.iter().map(|element| (element.key.to_owned(), (element.schema)())).collect()
}

fn actions<L: Language>() -> Vec<(String, Json)> {
    let field = |key: &str, doc: &str, schema: Json| (key.to_owned(), described(schema, doc));
    let mut actions = elements(L::actions());
    let mut faults = elements(L::faults());
    let as_ = "Name of the fault, unique among those that are in force.";
    faults.push(field("as", as_, name()));
    // Its name, and exactly one kind.
    let mut fault = object(faults, &["as".to_owned()]);
    fault["minProperties"] = 2.into();
    fault["maxProperties"] = 2.into();
    actions.extend([
        field("startProbe", "Start the clients of a probe.", text()),
        field("stopProbe", "Stop the clients of a probe.", text()),
        field("fault", "Break something on purpose.", fault),
        field("heal", "Undo the fault of this name.", text()),
        field("parallel", "Do all of these at the same time.", list(definition("action"), 1)),
    ]);
    actions
}

fn expectations<L: Language>() -> Vec<(String, Json)> {
    let field = |key: &str, doc: &str, schema: Json| (key.to_owned(), described(schema, doc));
    let mut expectations = elements(L::expectations());
    let mut within = elements(L::expectations());
    within.push(field("time", "How long after the actions at the latest.", duration()));
    let mut within = object(within, &["time".to_owned()]);
    within["minProperties"] = 2.into();
    within["maxProperties"] = 2.into();
    let never = one_of(elements(L::expectations()));
    expectations.extend([
        field("within", "It holds this long after the actions at the latest.", within),
        field("never", "It does not happen at any time during the step.", never),
    ]);
    expectations
}
