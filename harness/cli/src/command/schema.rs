//! `meshbed schema`: the JSON Schema of a kind of file, for editors.

use meshbed_engine::Mesh;

use crate::{
    args::{SchemaArgs, SchemaKind},
    exit::Exit,
    printer,
};

pub(super) fn run(args: &SchemaArgs) -> anyhow::Result<Exit> {
    let schema = match args.kind {
        SchemaKind::Scenario => meshbed_scenario::schema::<Mesh>(),
        SchemaKind::Steps => meshbed_scenario::steps_schema::<Mesh>(),
        SchemaKind::Topology => meshbed_scenario::topology_schema(),
        SchemaKind::Kernels => meshbed_scenario::kernels_schema(),
        SchemaKind::Agent => meshbed_scenario::agent_schema(),
    };
    printer::data(&(serde_json::to_string_pretty(&schema)? + "\n"));
    Ok(Exit::Success)
}
