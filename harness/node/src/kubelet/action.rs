//! What probes and hooks do to a container.

use std::net::{Ipv4Addr, SocketAddr};

use k8s_openapi::{
    api::core::v1::{Container, HTTPGetAction},
    apimachinery::pkg::util::intstr::IntOrString,
};
use tokio::net::TcpStream;

use super::{
    container::{self, Place},
    plan::{Plan, PlanError},
};
use crate::http::{Afterwards, Get};

/// Who asks, as with Kubernetes' kubelet. Servers tell checks from clients by its start.
pub(crate) const USER_AGENT: &str = "kube-probe/1.37";

/// What is done. It succeeds or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Http { port: u16, host: Option<String>, path: String, headers: Vec<(String, String)> },
    Tcp { port: u16 },
    Exec { command: Vec<String> },
}

/// The running container that is checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) ip: Ipv4Addr,
    pub(crate) pid: i32,
    pub(crate) plan: &'a Plan,
    pub(crate) place: &'a Place,
}

impl Action {
    /// A request, as a probe or hook of `container` asks for it.
    pub(crate) fn http(http: &HTTPGetAction, container: &Container) -> Result<Self, PlanError> {
        if http.scheme.as_deref().is_some_and(|scheme| !scheme.eq_ignore_ascii_case("http")) {
            return Err(invalid(container, "has a probe or hook over HTTPS, which meshbed does not have"));
        }
        let given = http.http_headers.iter().flatten();
        let (hosts, mut headers): (Vec<_>, Vec<_>) = given
            .map(|header| (header.name.clone(), header.value.clone()))
            .partition(|(name, _)| name.eq_ignore_ascii_case("host"));
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("user-agent")) {
            headers.push(("User-Agent".to_owned(), USER_AGENT.to_owned()));
        }
        Ok(Self::Http {
            port: port_of(&http.port, container)?,
            host: hosts.into_iter().next().map(|(_, value)| value),
            path: http.path.clone().filter(|path| !path.is_empty()).unwrap_or_else(|| "/".to_owned()),
            headers,
        })
    }

    /// A connection to a port of `container`.
    pub(crate) fn tcp(port: &IntOrString, container: &Container) -> Result<Self, PlanError> {
        Ok(Self::Tcp { port: port_of(port, container)? })
    }

    /// One try, without a time limit.
    pub(crate) async fn succeeds(&self, target: Target<'_>) -> bool {
        match self {
            Self::Tcp { port } => connect(target.ip, *port).await.is_some(),
            Self::Http { port, host, path, headers } => {
                let Some(mut stream) = connect(target.ip, *port).await else { return false };
                let address = format!("{}:{port}", target.ip);
                let get =
                    Get { host: host.as_deref().unwrap_or(&address), path, headers, afterwards: Afterwards::Close };
                // As for a kubelet, redirects are success.
                get.send(&mut stream).await.is_ok_and(|response| (200..400).contains(&response.status))
            }
            Self::Exec { command } => {
                let [program, arguments @ ..] = command.as_slice() else { return false };
                let Ok(mut command) = container::command_inside(target.plan, target.place, target.pid, program) else {
                    return false;
                };
                command.args(arguments);
                match container::spawn(command).await {
                    Ok(mut child) => child.wait().await.is_ok_and(|status| status.success()),
                    Err(_) => false,
                }
            }
        }
    }
}

async fn connect(ip: Ipv4Addr, port: u16) -> Option<TcpStream> {
    TcpStream::connect(SocketAddr::from((ip, port))).await.ok()
}

fn port_of(port: &IntOrString, container: &Container) -> Result<u16, PlanError> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name));
            named.map(|port| port.container_port).or_else(|| name.parse().ok())
        }
    };
    let number = number.and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0);
    number.ok_or_else(|| invalid(container, "has a probe or hook for a port that it does not have"))
}

/// What is wrong with a container's probe or hook.
pub(crate) fn invalid(container: &Container, what: &str) -> PlanError {
    let message = format!("container `{}` {what}", container.name);
    PlanError { reason: "CreateContainerConfigError", message }
}
