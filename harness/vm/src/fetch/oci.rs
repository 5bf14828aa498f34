//! Kernels in container images, by skopeo: without a container runtime, and without root.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use super::{Part, output, sha256};
use crate::VmError;

/// Transports that a reference may name itself (containers-transports(5)); without one it is a registry's.
const TRANSPORTS: [&str; 6] = ["docker://", "docker-archive:", "docker-daemon:", "oci:", "oci-archive:", "dir:"];

/// Unpacks all layers of the image over each other.
pub(super) fn unpack(name: &str, reference: &str, folder: &Path, root: &Path) -> Result<Part, VmError> {
    let image = folder.join("image");
    let full = full(reference);
    let mut command = Command::new("skopeo");
    command.args(["copy", "--quiet", "--override-arch", "amd64", &full]).arg(format!("dir:{}", image.display()));
    output("skopeo", "skopeo", &mut command)?;
    let manifest = image.join("manifest.json");
    let text = fs::read(&manifest).map_err(VmError::io(format!("read `{}`", manifest.display())))?;
    let parsed: Value = serde_json::from_slice(&text).map_err(|error| VmError::file(&manifest, error.to_string()))?;
    let layers = layers(&parsed);
    if layers.is_empty() {
        return Err(VmError::kernel(name, format!("image `{reference}` has no layers")));
    }
    for layer in layers {
        let file = image.join(layer);
        // Device nodes and owners are of no use here, and need root.
        let mut command = Command::new("tar");
        command.args(["-x", "--no-same-owner", "--exclude=dev/*", "-f"]).arg(&file).arg("-C").arg(root);
        output("tar", "tar", &mut command)?;
    }
    let sha256 = sha256(&manifest)?;
    // Unpacked it takes room enough.
    drop(fs::remove_dir_all(&image));
    Ok(Part { name: reference.to_owned(), version: String::new(), sha256 })
}

fn full(reference: &str) -> String {
    let has_transport = TRANSPORTS.iter().any(|transport| reference.starts_with(transport));
    if has_transport { reference.to_owned() } else { format!("docker://{reference}") }
}

/// Files of the layers in a folder that skopeo wrote, the lowest first: they are called by their digests.
fn layers(manifest: &Value) -> Vec<String> {
    let digests = manifest["layers"].as_array().into_iter().flatten().filter_map(|layer| layer["digest"].as_str());
    digests.filter_map(|digest| digest.split_once(':').map(|(_, hex)| hex.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use test_case::test_case;

    use super::*;

    #[test_case("registry.example/ci-kernels:6.6" => "docker://registry.example/ci-kernels:6.6")]
    #[test_case("oci:/tmp/layout:6.6" => "oci:/tmp/layout:6.6")]
    fn references(reference: &str) -> String {
        full(reference)
    }

    #[test]
    fn layers_in_order() {
        let manifest = json!({"layers": [{"digest": "sha256:aa"}, {"digest": "sha256:bb"}]});
        assert_eq!(layers(&manifest), ["aa", "bb"]);
        assert!(layers(&json!({})).is_empty());
    }
}
