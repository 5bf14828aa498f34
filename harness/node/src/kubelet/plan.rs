//! What to run for a container: program, arguments, environment, mounts.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod};

use super::{
    catalogue::{self, Program},
    volumes::{self, Mount, VolumeError},
};

/// Search path of containers: the machine's programs, as there are no images.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Port of web servers.
const WEB_PORT: u16 = 80;

/// Everything about a container's surroundings that its program is told.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) cluster: String,
    pub(crate) node: String,
    pub(crate) node_ip: Ipv4Addr,
    pub(crate) pod_ip: Ipv4Addr,
    pub(crate) pod_program: PathBuf,
    /// How many times longer than usual everything takes.
    pub(crate) slowness: NonZeroU32,
    pub(crate) volumes: PathBuf,
}

/// How to start a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) working_folder: Option<PathBuf>,
    pub(crate) mounts: Vec<Mount>,
}

/// Why a container cannot be started, in the words of a pod's status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct PlanError {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl From<VolumeError> for PlanError {
    fn from(error: VolumeError) -> Self {
        Self { reason: "CreateContainerConfigError", message: chain(&error) }
    }
}

/// What a pod asks for that this kubelet does not have; none when it can run.
pub(crate) fn unsupported(pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    if spec.host_network == Some(true) {
        return Some("meshbed runs no pods in the node's own network (`hostNetwork`)".to_owned());
    }
    if spec.init_containers.as_ref().is_some_and(|containers| !containers.is_empty()) {
        return Some("meshbed runs no init containers (`initContainers`)".to_owned());
    }
    None
}

/// Makes the plan. Folders that a web server needs are made as well.
pub(crate) fn plan(pod: &Pod, container: &Container, around: &Surroundings) -> Result<Plan, PlanError> {
    let environment = environment(pod, container, around)?;
    let mounts = volumes::mounts(pod, container, &around.volumes)?;
    let expand = |text: &String| expand(text, &environment);
    let working_folder = container.working_dir.as_ref().map(PathBuf::from);
    if let Some([program, arguments @ ..]) = container.command.as_deref() {
        let arguments = arguments.iter().chain(container.args.iter().flatten()).map(expand).collect();
        let program = PathBuf::from(expand(program));
        return Ok(Plan { program, arguments, environment, working_folder, mounts });
    }
    let image = container.image.as_deref().unwrap_or_default();
    let program = catalogue::program_of(image)
        .ok_or_else(|| PlanError { reason: "ErrImagePull", message: catalogue::unknown_image(image) })?;
    let arguments = match program {
        Program::Web => {
            let root = volumes::web_root(&mounts, &around.volumes, &container.name)?;
            ["web".to_owned(), format!("--root={}", root.display())].into_iter().chain(listening(container)).collect()
        }
        Program::JsonMock => std::iter::once("json-mock".to_owned()).chain(listening(container)).collect(),
        Program::Pause => vec!["pause".to_owned()],
    };
    // Our own programs are told where volumes are; nothing has to be mounted for them.
    Ok(Plan { program: around.pod_program.clone(), arguments, environment, working_folder: None, mounts: Vec::new() })
}

/// Where a server listens: at port 80, as the images do that it stands in for, and wherever the container says so.
fn listening(container: &Container) -> impl Iterator<Item = String> {
    let mut arguments = BTreeSet::from([format!("--listen=0.0.0.0:{WEB_PORT}")]);
    for port in container.ports.iter().flatten() {
        // Absent means TCP; the API server refuses what is neither.
        match port.protocol.as_deref() {
            Some("UDP") => arguments.insert(format!("--udp={}", port.container_port)),
            _ => arguments.insert(format!("--listen=0.0.0.0:{}", port.container_port)),
        };
    }
    arguments.into_iter()
}

fn environment(pod: &Pod, container: &Container, around: &Surroundings) -> Result<BTreeMap<String, String>, PlanError> {
    let metadata = &pod.metadata;
    let mut environment: BTreeMap<String, String> = [
        ("PATH", PATH.to_owned()),
        ("HOME", "/root".to_owned()),
        ("HOSTNAME", metadata.name.clone().unwrap_or_default()),
        ("MESHBED_CLUSTER", around.cluster.clone()),
        ("POD_NAME", metadata.name.clone().unwrap_or_default()),
        ("POD_NAMESPACE", metadata.namespace.clone().unwrap_or_default()),
        ("POD_IP", around.pod_ip.to_string()),
        ("NODE_NAME", around.node.clone()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    for variable in container.env.iter().flatten() {
        let value = value_of(pod, variable, around, &environment)?;
        environment.insert(variable.name.clone(), value);
    }
    if container.env_from.as_ref().is_some_and(|sources| !sources.is_empty()) {
        return Err(unsupported_source(container, "envFrom"));
    }
    Ok(environment)
}

fn value_of(
    pod: &Pod,
    variable: &EnvVar,
    around: &Surroundings,
    before: &BTreeMap<String, String>,
) -> Result<String, PlanError> {
    let Some(source) = &variable.value_from else {
        return Ok(expand(variable.value.as_deref().unwrap_or_default(), before));
    };
    let unsupported = |what: &str| PlanError {
        reason: "CreateContainerConfigError",
        message: format!("variable `{}` comes from {what}, which meshbed does not have", variable.name),
    };
    let field = source.field_ref.as_ref().ok_or_else(|| unsupported("a source other than `fieldRef`"))?;
    let value = match field.field_path.as_str() {
        "metadata.name" => pod.metadata.name.clone(),
        "metadata.namespace" => pod.metadata.namespace.clone(),
        "metadata.uid" => pod.metadata.uid.clone(),
        "status.podIP" | "status.podIPs" => Some(around.pod_ip.to_string()),
        "status.hostIP" | "status.hostIPs" => Some(around.node_ip.to_string()),
        "spec.nodeName" => Some(around.node.clone()),
        "spec.serviceAccountName" => pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone()),
        other => match map_key(other) {
            Some(("metadata.labels", key)) => pod.metadata.labels.as_ref().and_then(|map| map.get(key)).cloned(),
            Some(("metadata.annotations", key)) => {
                pod.metadata.annotations.as_ref().and_then(|map| map.get(key)).cloned()
            }
            _ => return Err(unsupported(&format!("field `{other}`"))),
        },
    };
    Ok(value.unwrap_or_default())
}

/// Splits `metadata.labels['app']`.
fn map_key(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

fn unsupported_source(container: &Container, what: &str) -> PlanError {
    let message = format!("container `{}` uses `{what}`, which meshbed does not have", container.name);
    PlanError { reason: "CreateContainerConfigError", message }
}

/// Replaces `$(NAME)` by the variable's value. Unknown names stay, and `$$` is one `$`, as in Kubernetes.
fn expand(text: &str, environment: &BTreeMap<String, String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at..];
        let reference = rest.strip_prefix("$(").and_then(|inner| inner.split_once(')'));
        if let Some(tail) = rest.strip_prefix("$$") {
            expanded.push('$');
            rest = tail;
        } else if let Some((value, tail)) = reference.and_then(|(name, tail)| Some((environment.get(name)?, tail))) {
            expanded.push_str(value);
            rest = tail;
        } else {
            expanded.push('$');
            rest = &rest[1..];
        }
    }
    expanded + rest
}

/// An error and its causes in one line, for a pod's status.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Mounts whose target is there: without images, nothing else can be mounted upon.
pub(crate) fn possible(mounts: &[Mount]) -> impl Iterator<Item = &Mount> {
    mounts.iter().filter(|mount| Path::exists(&mount.target))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use test_case::test_case;

    use super::*;

    fn around() -> Surroundings {
        Surroundings {
            cluster: "alpha".into(),
            node: "alpha-1".into(),
            node_ip: Ipv4Addr::new(172, 18, 1, 11),
            pod_ip: Ipv4Addr::new(10, 1, 1, 2),
            pod_program: "/meshbed-pod".into(),
            slowness: NonZeroU32::MIN,
            volumes: "/volumes".into(),
        }
    }

    fn planned(container: serde_json::Value) -> Result<Plan, PlanError> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"namespace": "default", "name": "x-wing-1", "labels": {"app": "x"}},
            "spec": {"containers": [container]},
        }))
        .expect("a pod");
        plan(&pod, &pod.spec.as_ref().expect("a spec").containers[0], &around())
    }

    #[test]
    fn known_images_run_our_program() {
        let plan = planned(json!({"name": "x-wing", "image": "quay.io/cilium/json-mock:v1.3.8"})).expect("a plan");
        assert_eq!(plan.program, Path::new("/meshbed-pod"));
        assert_eq!(plan.arguments, ["json-mock", "--listen=0.0.0.0:80"]);
        let variables = ["MESHBED_CLUSTER", "POD_NAME", "POD_NAMESPACE", "POD_IP", "NODE_NAME"];
        let values = variables.map(|name| plan.environment[name].as_str());
        assert_eq!(values, ["alpha", "x-wing-1", "default", "10.1.1.2", "alpha-1"]);
    }

    #[test]
    fn servers_listen_where_the_container_says() {
        let ports = json!([{"containerPort": 80}, {"containerPort": 8080}, {"containerPort": 53, "protocol": "UDP"}]);
        let plan = planned(json!({"name": "a", "image": "json-mock", "ports": ports})).expect("a plan");
        assert_eq!(plan.arguments, ["json-mock", "--listen=0.0.0.0:80", "--listen=0.0.0.0:8080", "--udp=53"]);
    }

    #[test]
    fn commands_run_as_they_are() {
        let plan = planned(json!({
            "name": "a", "image": "any", "command": ["sh", "-c"], "args": ["echo $(GREETING) $HOME"],
            "env": [
                {"name": "WHO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                {"name": "GREETING", "value": "hello $(WHO)"},
            ],
        }))
        .expect("a plan");
        assert_eq!(plan.program, Path::new("sh"));
        assert_eq!(plan.arguments, ["-c", "echo hello x $HOME"]);
    }

    #[test]
    fn what_cannot_run_says_why() {
        let error = planned(json!({"name": "a", "image": "busybox:1"})).expect_err("unknown");
        assert_eq!(error.reason, "ErrImagePull");
        assert!(error.message.contains("`busybox:1` is not in meshbed's catalogue"), "{error}");
        let secret = json!({"name": "T", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}});
        let error = planned(json!({"name": "a", "image": "nginx", "env": [secret]})).expect_err("no secrets");
        assert_eq!(error.reason, "CreateContainerConfigError");
    }

    #[test_case("a $(NAME) b" => "a value b")]
    #[test_case("$(OTHER)" => "$(OTHER)"; "unknown names stay")]
    #[test_case("$$(NAME)" => "$(NAME)"; "two dollars are one")]
    #[test_case("$(NAME" => "$(NAME"; "no end")]
    #[test_case("100$" => "100$"; "a dollar at the end")]
    fn references_are_replaced(text: &str) -> String {
        expand(text, &BTreeMap::from([("NAME".into(), "value".into())]))
    }
}
