//! Which program stands in for which container image. This is the only place that knows image names.

/// A program of `meshbed-pod` that a known image means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Serves the files mounted at [`WEB_ROOT`].
    Web,
    /// Serves a small JSON document.
    JsonMock,
    /// Does nothing.
    Pause,
}

/// Where images of web servers expect their files.
pub const WEB_ROOT: &str = "/usr/share/nginx/html";

/// The program for an image such as `docker.io/library/nginx:1.15.8`; none when the image is not known. Only the last
/// part of the name counts, without tag and digest.
pub fn program_of(image: &str) -> Option<Program> {
    match base_name(image) {
        name if name.starts_with("nginx") => Some(Program::Web),
        name if name.contains("json-mock") => Some(Program::JsonMock),
        "pause" => Some(Program::Pause),
        _ => None,
    }
}

/// What to tell about an image that is not in the catalogue.
pub(crate) fn unknown_image(image: &str) -> String {
    format!(
        "image `{image}` is not in meshbed's catalogue (`nginx*`, `*json-mock*`, `pause`) and the container has no \
         `command` to run instead"
    )
}

fn base_name(image: &str) -> &str {
    let name = image.rsplit('/').next().unwrap_or(image);
    name.split(['@', ':']).next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("nginx" => Some(Program::Web))]
    #[test_case("docker.io/library/nginx:1.15.8" => Some(Program::Web))]
    #[test_case("registry:5000/nginx-unprivileged@sha256:abc" => Some(Program::Web))]
    #[test_case("quay.io/cilium/json-mock:v1.3.8" => Some(Program::JsonMock))]
    #[test_case("registry.k8s.io/pause:3.9" => Some(Program::Pause))]
    #[test_case("nginx/other:1" => None)]
    #[test_case("busybox" => None)]
    #[test_case("" => None)]
    fn images_mean_programs(image: &str) -> Option<Program> {
        program_of(image)
    }
}
