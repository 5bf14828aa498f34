//! JSON Schemas of the reports for programs, generated from the types that are written.

use schemars::{JsonSchema, generate::SchemaSettings};

/// The schema of `T` under `title`, indented, with a line end.
pub(crate) fn of<T: JsonSchema>(title: &str) -> String {
    let mut schema = SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>();
    schema.insert("title".to_owned(), title.into());
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is made of plain JSON values");
    text.push('\n');
    text
}
