//! A request as the oracle wants it.

use mesh_types::ServiceKey;
use meshbed_events::{Outcome, Request};
use meshbed_oracle::Asked;

/// The question to the oracle; `None` when the request has parts that are no names or addresses.
pub(super) fn asked(request: &Request) -> Option<Asked> {
    let (namespace, name) = request.service.split_once('/')?;
    let (name, port) = name.rsplit_once(':')?;
    let outcome = match &request.outcome {
        Outcome::Answered(answer) => {
            meshbed_oracle::Outcome::Answered { ip: answer.ip.parse().ok()?, cluster: answer.cluster.parse().ok()? }
        }
        Outcome::Failed(kind) => meshbed_oracle::Outcome::Failed(*kind),
    };
    Some(Asked {
        cluster: request.cluster.parse().ok()?,
        node: request.node.clone(),
        service: ServiceKey::new(namespace, name),
        port: port.parse().ok()?,
        sent: request.sent,
        done: request.done,
        opened: request.opened,
        outcome,
    })
}
