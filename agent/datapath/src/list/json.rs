//! Lists as `-o json` prints them.

use serde_json::{Map, Value};

/// One JSON object from keys to lists of values: sorted by key as text, indented by two spaces, and an empty line at the
/// end.
pub(super) fn render(mut rows: Vec<[String; 2]>) -> String {
    rows.sort();
    let object: Map<String, Value> = rows.into_iter().map(|[key, value]| (key, Value::from(vec![value]))).collect();
    let text = serde_json::to_string_pretty(&Value::from(object)).expect("an object of strings can be written");
    // Go writes these three as escapes. They cannot be outside of strings.
    let text = text.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e");
    format!("{text}\n\n")
}
