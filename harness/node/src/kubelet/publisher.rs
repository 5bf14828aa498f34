//! Brings a pod's status to the API: one patch at a time, always the latest status. While the API is gone it tries again
//! and again, and when it is back only the latest status gets there.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::status;

/// First and longest pause after a patch that failed.
const RETRY_FIRST: Duration = Duration::from_millis(5);
const RETRY_LONGEST: Duration = Duration::from_secs(1);

/// How far the publisher is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Published {
    /// The API is being told, or nothing was told yet.
    UnderWay,
    /// Everything was told, and the pod had this resource version then. What is older is no news.
    At(u64),
}

impl Published {
    /// Whether `pod`, as a watch shows it, is from after all that was told.
    pub(crate) fn is_before(self, pod: &Pod) -> bool {
        match self {
            Self::UnderWay => false,
            Self::At(version) => version_of(pod) >= version,
        }
    }
}

/// Resource versions are numbers that grow (since Kubernetes 1.35 that is promised). One that is none is always news.
fn version_of(pod: &Pod) -> u64 {
    pod.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(u64::MAX)
}

/// Patches the status whenever it changes. Ends when the pod is not there any more or nobody can change it.
pub(crate) async fn run(
    api: Api<Pod>,
    name: String,
    uid: String,
    mut latest: watch::Receiver<Option<PodStatus>>,
    published: watch::Sender<Published>,
) {
    let mut pause = RETRY_FIRST;
    while latest.changed().await.is_ok() {
        published.send_replace(Published::UnderWay);
        loop {
            let Some(status) = latest.borrow_and_update().clone() else { break };
            let patch = Patch::Merge(status::patch(&uid, &status));
            match api.patch_status(&name, &PatchParams::default(), &patch).await {
                Ok(pod) => {
                    pause = RETRY_FIRST;
                    published.send_replace(Published::At(version_of(&pod)));
                    break;
                }
                Err(kube::Error::Api(answer)) if is_refusal(answer.code) && is_gone(&api, &name, &uid).await => {
                    tracing::debug!(pod = name, reason = answer.reason, "status is not wanted any more");
                    return;
                }
                Err(error) => {
                    tracing::warn!(pod = name, %error, "failed to patch status");
                    sleep_until(Instant::now() + pause).await;
                    pause = (pause * 2).min(RETRY_LONGEST);
                }
            }
        }
    }
}

/// Not found, or a conflict: with another pod of the same name, or with another writer.
fn is_refusal(code: u16) -> bool {
    matches!(code, 404 | 409)
}

/// Whether the API says that this very pod is not there.
async fn is_gone(api: &Api<Pod>, name: &str, uid: &str) -> bool {
    match api.get_opt(name).await {
        Ok(pod) => pod.is_none_or(|pod| pod.metadata.uid.as_deref() != Some(uid)),
        Err(_) => false,
    }
}
