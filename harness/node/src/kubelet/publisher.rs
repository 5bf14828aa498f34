//! Brings a pod's status to the API: one patch at a time, always the latest status.

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

/// Patches the status whenever it changes. Ends when the pod is not there any more or nobody can change it.
pub(crate) async fn run(api: Api<Pod>, name: String, uid: String, mut latest: watch::Receiver<Option<PodStatus>>) {
    let mut pause = RETRY_FIRST;
    while latest.changed().await.is_ok() {
        loop {
            let Some(status) = latest.borrow_and_update().clone() else { break };
            let patch = Patch::Merge(status::patch(&uid, &status));
            match api.patch_status(&name, &PatchParams::default(), &patch).await {
                Ok(_) => {
                    pause = RETRY_FIRST;
                    break;
                }
                // Gone (404), or another pod of the same name (409).
                Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409) => {
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
