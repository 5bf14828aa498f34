//! Schema of `kind: Kernels`.

use serde_json::{Map, json};

use super::{Json, described, document, header, list, object, text, without_parameters};

/// The JSON Schema of files of kernels.
pub fn kernels_schema() -> Json {
    let field = |key: &str, doc: &str, schema: Json| (key.to_owned(), described(schema, doc));
    let debian = object(
        [
            field("suite", "Suite, such as `bullseye`.", text()),
            field("package", "Name of the package; `*` stands for any text, the newest that fits counts.", text()),
        ],
        &["suite".to_owned(), "package".to_owned()],
    );
    let path = object(
        [
            field("image", "The image that boots; relative to this file.", text()),
            field("modules", "Folder of its modules, `lib/modules/<release>`; relative to this file.", text()),
        ],
        &["image".to_owned()],
    );
    let mut kernel = object(
        [
            field("name", "Its name, such as `\"5.10\"`.", text()),
            field("debian", "A package of Debian, with those that it depends on in the same version.", debian),
            field("path", "Files of this machine.", path),
            field("oci", "An image with `/boot/vmlinuz*` and `/lib/modules`.", text()),
        ],
        &["name".to_owned()],
    );
    kernel["oneOf"] = json!([{"required": ["debian"]}, {"required": ["path"]}, {"required": ["oci"]}]);
    let mut properties = header("Kernels").to_vec();
    properties.push(field("kernels", "The kernels, the oldest first.", list(kernel, 1)));
    let required = ["apiVersion", "kind", "kernels"].map(str::to_owned);
    without_parameters(document("Kernels for guests of meshbed", object(properties, &required), Map::new()))
}
