//! The node that the agent runs on, and which services are meant for it.

use std::{collections::BTreeMap, net::Ipv4Addr};

use crate::selector::{Selector, SelectorError};

/// Annotation of a Service: it is only for nodes on which a label of this name has the same value.
const NODE: &str = "service.cilium.io/node";

/// Annotation of a Service: it is only for nodes that this label selector fits. Wins over [`NODE`].
const NODE_SELECTOR: &str = "service.cilium.io/node-selector";

/// What an agent knows of its node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    /// Name, as endpoints tell it.
    pub(crate) name: String,
    /// Zone that it is in.
    pub(crate) zone: Option<String>,
    /// Labels, once they are known.
    pub(crate) labels: Option<BTreeMap<String, String>>,
    /// Addresses that node ports are put on, besides the surrogate.
    pub(crate) addresses: Vec<Ipv4Addr>,
}

impl Node {
    /// Whether a service with these annotations gets frontends on this node.
    ///
    /// As in Cilium, no service is kept away while the node's labels are not known, nor by a selector that cannot be
    /// read, of which [`selector_error`] tells.
    pub(crate) fn is_exposed(&self, annotations: &BTreeMap<String, String>) -> bool {
        let Some(labels) = &self.labels else { return true };
        if let Some(selector) = annotations.get(NODE_SELECTOR) {
            return selector.parse::<Selector>().map_or(true, |selector| selector.matches(labels));
        }
        annotations.get(NODE).is_none_or(|value| labels.get(NODE) == Some(value))
    }
}

/// Why the node selector of a service cannot be read, if it has one: worth a warning.
pub(crate) fn selector_error(annotations: &BTreeMap<String, String>) -> Option<SelectorError> {
    annotations.get(NODE_SELECTOR)?.parse::<Selector>().err()
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// Rule 4.1: `node` and `node-selector` on a node with a label of each kind.
    #[test_case(&[] => true ; "neither")]
    #[test_case(&[(NODE, "edge")] => true ; "the same value")]
    #[test_case(&[(NODE, "core")] => false ; "another value")]
    #[test_case(&[(NODE_SELECTOR, "disk=ssd")] => true ; "selector fits")]
    #[test_case(&[(NODE_SELECTOR, "disk=hdd")] => false ; "selector does not fit")]
    #[test_case(&[(NODE_SELECTOR, "disk=hdd"), (NODE, "edge")] => false ; "the selector wins, no")]
    #[test_case(&[(NODE_SELECTOR, "disk=ssd"), (NODE, "core")] => true ; "the selector wins, yes")]
    #[test_case(&[(NODE_SELECTOR, "disk in ssd")] => true ; "selector that cannot be read")]
    fn exposed(annotations: &[(&str, &str)]) -> bool {
        let node = Node { labels: Some(texts(&[(NODE, "edge"), ("disk", "ssd")])), ..Node::default() };
        node.is_exposed(&texts(annotations))
    }

    #[test]
    fn a_node_without_labels_gets_no_service_for_particular_nodes() {
        let node = Node { labels: Some(BTreeMap::new()), ..Node::default() };
        assert!(!node.is_exposed(&texts(&[(NODE, "edge")])));
        assert!(node.is_exposed(&texts(&[(NODE_SELECTOR, "!disk")])));
        assert!(Node::default().is_exposed(&texts(&[(NODE, "edge")])), "labels are not known yet");
    }

    #[test]
    fn unreadable_selectors_are_told() {
        assert!(selector_error(&texts(&[(NODE_SELECTOR, "disk=ssd")])).is_none());
        let error = selector_error(&texts(&[(NODE_SELECTOR, "disk in ssd")])).expect("unreadable");
        assert_eq!(error.to_string(), "label selector `disk in ssd`: expected values in brackets after `in`");
    }
}
