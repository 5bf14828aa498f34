//! Keeps the node's object in the API: there, of this boot, and ready.

use std::{convert::Infallible, pin::pin, time::Duration};

use futures::StreamExt;
use k8s_openapi::{api::core::v1::Node, jiff::Timestamp};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    runtime::watcher::{self, Event},
};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::{error::KubeletError, node_object, options::Options, watches};

/// How often the status is reported though nothing changed, as in Kubernetes. That the node lives is told by its lease.
const REPORT_INTERVAL: Duration = Duration::from_secs(300);
/// First and longest pause while the API cannot be reached, as it may still be starting.
const RETRY_FIRST: Duration = Duration::from_millis(2);
const RETRY_LONGEST: Duration = Duration::from_millis(250);

/// The node's own object.
pub(crate) struct Registration {
    api: Api<Node>,
    client: Client,
    options: Options,
    boot_id: String,
    /// When the node became ready, in the API's words.
    since: Timestamp,
}

impl Registration {
    pub(crate) fn new(client: &Client, options: &Options, boot_id: &str) -> Self {
        Self {
            api: Api::all(client.clone()),
            client: client.clone(),
            options: options.clone(),
            boot_id: boot_id.to_owned(),
            since: Timestamp::now(),
        }
    }

    /// Makes or updates the object and reports the node ready. Waits for the API as long as it takes. Returns the
    /// object's UID.
    pub(crate) async fn register(&self) -> Result<String, KubeletError> {
        let mut pause = RETRY_FIRST;
        loop {
            match self.try_register().await {
                Ok(node) => return Ok(node.uid().unwrap_or_default()),
                Err(error) if is_retryable(&error) => {
                    tracing::debug!(%error, "the API cannot be reached yet");
                    sleep_until(Instant::now() + pause).await;
                    pause = (pause * 2).min(RETRY_LONGEST);
                }
                Err(source) => {
                    let node = self.options.node_name.clone();
                    return Err(KubeletError::Register { node, source: Box::new(source) });
                }
            }
        }
    }

    /// Reports the node's status now and then, and at once when the API says something else: that it is not ready, or
    /// that there is no such node. When the API was gone, the watch lists anew, and that counts as well.
    pub(crate) async fn keep(mut self) -> Infallible {
        let config = watcher::Config::default().fields(&format!("metadata.name={}", self.options.node_name));
        let mut events = pin!(watches::events(Api::<Node>::all(self.client.clone()), config));
        let mut ticks = interval(REPORT_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let mut is_listed = false;
        loop {
            let is_due = tokio::select! {
                _ = ticks.tick() => true,
                event = events.next() => match event {
                    Some(Event::Init) => {
                        is_listed = false;
                        false
                    }
                    Some(Event::InitApply(node)) => {
                        is_listed = true;
                        self.is_wrong(&node)
                    }
                    Some(Event::Apply(node)) => self.is_wrong(&node),
                    Some(Event::InitDone) => !is_listed,
                    Some(Event::Delete(_)) => true,
                    // It never ends; without it, the ticks remain.
                    None => std::future::pending().await,
                },
            };
            if is_due {
                // Refusals do not change by asking again, but what was asked for may be different the next time.
                if let Err(error) = self.register().await {
                    tracing::error!(%error, "failed to report the node's status");
                }
            }
        }
    }

    /// Whether the API's idea of the node is not ours. Takes the time from which it is ready.
    fn is_wrong(&mut self, node: &Node) -> bool {
        match node_object::ready_since(node) {
            Some(since) => {
                self.since = since;
                node_object::boot_id(node) != Some(&self.boot_id)
            }
            None => {
                tracing::info!("the API does not say that the node is ready");
                self.since = Timestamp::now();
                true
            }
        }
    }

    async fn try_register(&self) -> Result<Node, kube::Error> {
        let object = node_object::object(&self.options);
        let node: Node = serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError)?;
        let name = &self.options.node_name;
        match self.api.create(&PostParams::default(), &node).await {
            Ok(_) => {}
            Err(kube::Error::Api(answer)) if answer.code == 409 => {
                self.api.patch(name, &PatchParams::default(), &Patch::Merge(object)).await?;
            }
            Err(error) => return Err(error),
        }
        // Merged by type: others, such as an agent, have conditions of their own.
        let status = node_object::status(&self.options, &self.boot_id, self.since);
        let patch = Patch::Strategic(serde_json::json!({"status": status}));
        self.api.patch_status(name, &PatchParams::default(), &patch).await
    }
}

/// Everything but a refusal of what was asked: refusals do not change by asking again.
fn is_retryable(error: &kube::Error) -> bool {
    match error {
        // A node that is deleted between two requests is made again.
        kube::Error::Api(answer) => matches!(answer.code, 404 | 409 | 410 | 429) || answer.code >= 500,
        _ => true,
    }
}
