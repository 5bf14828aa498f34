//! Taints of nodes, and what pods make of them.

use serde_json::Value;

use crate::json;

/// How long a pod stays on a node with taints that drive pods away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stay {
    /// As long as it likes.
    Forever,
    /// So many seconds; 0 is not at all.
    Seconds(u64),
}

/// Whether the node has taints that drive pods away.
pub(super) fn drives_away(node: &Value) -> bool {
    driving(node).next().is_some()
}

fn driving(node: &Value) -> impl Iterator<Item = &Value> {
    json::list(node, "/spec/taints").iter().filter(|taint| json::text(taint, "/effect") == "NoExecute")
}

/// How long the pod stays on the node: as long as its least patient toleration, and not at all when one is missing.
pub(super) fn stay(node: &Value, pod: &Value) -> Stay {
    let tolerations = json::list(pod, "/spec/tolerations");
    let mut stay = Stay::Forever;
    for taint in driving(node) {
        let mut used = tolerations.iter().filter(|toleration| tolerates(toleration, taint)).peekable();
        if used.peek().is_none() {
            return Stay::Seconds(0);
        }
        for seconds in used.filter_map(|toleration| toleration.get("tolerationSeconds").and_then(Value::as_i64)) {
            let seconds = u64::try_from(seconds).unwrap_or(0);
            stay = match stay {
                Stay::Seconds(least) => Stay::Seconds(least.min(seconds)),
                Stay::Forever => Stay::Seconds(seconds),
            };
        }
    }
    stay
}

/// Whether a toleration is for a taint.
pub(super) fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let text = |field| json::text(toleration, field);
    let effect = text("/effect").is_empty() || text("/effect") == json::text(taint, "/effect");
    let key = text("/key") == json::text(taint, "/key") || (text("/key").is_empty() && text("/operator") == "Exists");
    let value = text("/operator") == "Exists" || text("/value") == json::text(taint, "/value");
    effect && key && value
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use test_case::test_case;

    use super::*;

    const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

    fn for_unreachable(seconds: Option<i64>) -> Value {
        let mut toleration = json!({"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute"});
        json::assign(&mut toleration, "tolerationSeconds", seconds.map(Value::from));
        toleration
    }

    #[test_case(json!([]) => Stay::Seconds(0); "no toleration")]
    #[test_case(json!([for_unreachable(Some(300))]) => Stay::Seconds(300); "for some time")]
    #[test_case(json!([for_unreachable(None)]) => Stay::Forever; "for ever")]
    #[test_case(json!([for_unreachable(Some(-1))]) => Stay::Seconds(0); "below zero")]
    #[test_case(json!([for_unreachable(Some(300)), {"operator": "Exists", "tolerationSeconds": 5}]) => Stay::Seconds(5); "the least patient")]
    #[test_case(json!([{"operator": "Exists"}]) => Stay::Forever; "everything")]
    #[test_case(json!([{"key": UNREACHABLE, "operator": "Exists", "effect": "NoSchedule"}]) => Stay::Seconds(0); "another effect")]
    fn pods_stay(tolerations: Value) -> Stay {
        let node = json!({"spec": {"taints": [
            {"key": UNREACHABLE, "effect": "NoSchedule"}, {"key": UNREACHABLE, "effect": "NoExecute"}]}});
        stay(&node, &json!({"spec": {"tolerations": tolerations}}))
    }

    #[test]
    fn taints_on_scheduling_drive_nobody_away() {
        let node = json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}});
        assert!(!drives_away(&node));
        assert_eq!(stay(&node, &json!({})), Stay::Forever);
    }
}
