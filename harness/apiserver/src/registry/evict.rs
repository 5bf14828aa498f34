//! Evictions: deletions of pods that ask the disruption budgets first.

use std::sync::Arc;

use super::delete::{DeleteOptions, Deleted, delete};
use crate::error::ApiError;
use crate::json;
use crate::kinds::{Kind, pod_is_ready};
use crate::store::{Key, LabelSelector, Object, State};

/// Evicts a pod, unless a budget is used up. Budgets are brought up to date with the deletion, under the same lock, so
/// that two evictions cannot spend the same allowance.
pub(crate) fn evict(state: &mut State, key: &Key, options: &DeleteOptions) -> Result<Deleted, ApiError> {
    let pod = state.get(key).ok_or_else(|| ApiError::not_found(Kind::Pod.resource(), &key.name.name))?;
    let phase = json::text(pod.value(), "/status/phase");
    // Such pods serve nobody, so that nothing is disrupted.
    let serves = !pod.is_terminating() && !matches!(phase, "Succeeded" | "Failed" | "Pending");
    if serves {
        match budgets_of(state, pod).as_slice() {
            [] => {}
            [budget] => ask(budget, pod)?,
            _ => {
                let words =
                    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
                return Err(ApiError::internal(words));
            }
        }
    }
    delete(state, key, options)
}

/// The budgets that are for a pod.
pub(crate) fn budgets_of(state: &State, pod: &Object) -> Vec<Arc<Object>> {
    let budgets = state.list(Kind::PodDisruptionBudget, Some(pod.namespace()));
    budgets.filter(|budget| budget_is_for(budget, pod)).cloned().collect()
}

/// Whether a budget is for a pod. One without a selector is for none, one with an empty selector for all.
pub(crate) fn budget_is_for(budget: &Object, pod: &Object) -> bool {
    let selector = json::get(budget.value(), "/spec/selector").filter(|selector| !selector.is_null());
    selector.is_some_and(|selector| LabelSelector::from_object(selector).matches(pod.value()))
}

fn ask(budget: &Object, pod: &Object) -> Result<(), ApiError> {
    let status = |name: &str| json::number(budget.value(), &format!("/status/{name}"));
    let (healthy, desired) = (status("currentHealthy"), status("desiredHealthy"));
    let unready = !pod_is_ready(pod.value());
    let always = json::text(budget.value(), "/spec/unhealthyPodEvictionPolicy") == "AlwaysAllow";
    // A pod that is not ready is not counted as healthy, and its going spends nothing.
    if status("disruptionsAllowed") > 0 || (unready && (always || (healthy >= desired && desired > 0))) {
        return Ok(());
    }
    let cause =
        format!("The disruption budget {} needs {desired} healthy pods and has {healthy} currently", budget.name());
    Err(ApiError::disruption_budget(&cause))
}
