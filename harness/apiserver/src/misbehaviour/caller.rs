//! Who asks for what, as far as rules look at it.

use crate::admin::{Target, Verb};

/// Who asks for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// What it does.
    pub(crate) verb: Verb,
    /// Plural name of the resource, `""` for paths that are none.
    pub(crate) resource: String,
    /// Its user agent, `""` when it says none.
    pub(crate) user_agent: String,
}

/// Whether rules with this target concern the user agent.
pub(super) fn concerns_agent(target: &Target, user_agent: &str) -> bool {
    let starts = |prefixes: &[String]| prefixes.iter().any(|prefix| user_agent.starts_with(prefix.as_str()));
    (target.user_agents.is_empty() || starts(&target.user_agents)) && !starts(&target.except_user_agents)
}

impl Caller {
    /// Whether rules with this target concern the request.
    pub(super) fn is_target(&self, target: &Target) -> bool {
        concerns_agent(target, &self.user_agent)
            && (target.verbs.is_empty() || target.verbs.contains(&self.verb))
            && self.asks_for(target)
    }

    /// Whether rules on watches with this target concern the watch; such rules look at no verbs.
    pub(super) fn is_target_as_watch(&self, target: &Target) -> bool {
        concerns_agent(target, &self.user_agent) && self.asks_for(target)
    }

    fn asks_for(&self, target: &Target) -> bool {
        target.resources.is_empty() || target.resources.contains(&self.resource)
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    fn target(verbs: &[Verb], resources: &[&str], agents: &[&str]) -> Target {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Target { verbs: verbs.to_vec(), resources: owned(resources), user_agents: owned(agents), ..Target::default() }
    }

    #[test_case(&[], &[], &[], "kubectl/1" => true; "everybody")]
    #[test_case(&[], &[], &[], "meshbed-harness/1 engine" => false; "but the harness")]
    #[test_case(&[], &[], &["mesh-agent"], "mesh-agent/0.1" => true; "who starts so")]
    #[test_case(&[], &[], &["mesh-agent"], "kubectl/1" => false; "not who starts otherwise")]
    #[test_case(&[Verb::List], &[], &[], "a" => true; "what it does")]
    #[test_case(&[Verb::Watch], &[], &[], "a" => false; "not what it does not")]
    #[test_case(&[], &["pods", "services"], &[], "a" => true; "one of the resources")]
    #[test_case(&[], &["nodes"], &[], "a" => false; "none of the resources")]
    fn targets(verbs: &[Verb], resources: &[&str], agents: &[&str], agent: &str) -> bool {
        let caller = Caller { verb: Verb::List, resource: "services".to_owned(), user_agent: agent.to_owned() };
        caller.is_target(&target(verbs, resources, agents))
    }
}
