//! The report itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CaseReport, CaseResult, ProfileReport, ProfileResult};

/// Version of the report's format.
pub const API_VERSION: &str = "meshbed.dev/v1alpha1";
/// Kind of the document.
pub const KIND: &str = "ConformanceReport";

/// How conformant one agent is in one environment on one kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConformanceReport {
    /// [`API_VERSION`].
    pub api_version: String,
    /// [`KIND`].
    pub kind: String,
    /// Name of the agent, as its description says.
    pub agent: String,
    /// What the agent says about its version; may be empty.
    #[serde(default)]
    pub agent_version: String,
    /// Version of meshbed, which the cases came with.
    #[serde(default)]
    pub version: String,
    /// Environment, such as `netns`.
    pub environment: String,
    /// Kernel release.
    pub kernel: String,
    /// Start, RFC 3339, UTC.
    pub started: String,
    /// The profiles.
    pub profiles: Vec<ProfileReport>,
}

impl Default for ConformanceReport {
    fn default() -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            agent: String::new(),
            agent_version: String::new(),
            version: String::new(),
            environment: String::new(),
            kernel: String::new(),
            started: String::new(),
            profiles: Vec::new(),
        }
    }
}

impl ConformanceReport {
    /// What all profiles say together: the worst of them.
    pub fn result(&self) -> ProfileResult {
        let has = |result| self.profiles.iter().any(|profile| profile.result == result);
        if has(ProfileResult::NonConformant) {
            ProfileResult::NonConformant
        } else if self.profiles.is_empty() || has(ProfileResult::Unknown) {
            ProfileResult::Unknown
        } else {
            ProfileResult::Conformant
        }
    }

    /// `<agent>-<environment>-<kernel>`, safe as the name of a file.
    pub fn file_stem(&self) -> String {
        // `alpha: 5.10, beta: 7.3` reads well, but not as the name of a file.
        let kernel = self.kernel.replace(": ", "-").replace(", ", "_");
        let name = format!("{}-{}-{kernel}", self.agent, self.environment);
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.+".contains(c) { c } else { '_' };
        name.chars().map(plain).collect::<String>().trim_start_matches('.').to_owned()
    }

    /// The report as a program that gates on it needs it: cases that are not conformant, of all profiles, each once.
    pub fn failures(&self) -> Vec<&CaseReport> {
        let mut seen = std::collections::BTreeSet::new();
        let cases = self.profiles.iter().flat_map(|profile| &profile.cases);
        cases.filter(|case| case.result == CaseResult::NonConformant && seen.insert(&case.id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_stay_in_their_folder() {
        let report = ConformanceReport {
            agent: "../evil agent".into(),
            environment: "netns".into(),
            kernel: "6.18.5".into(),
            ..ConformanceReport::default()
        };
        assert_eq!(report.file_stem(), "_evil_agent-netns-6.18.5");
        let several = ConformanceReport { kernel: "alpha: 5.10, beta: 7.3".into(), ..report };
        assert_eq!(several.file_stem(), "_evil_agent-netns-alpha-5.10_beta-7.3");
    }

    #[test]
    fn the_worst_profile_decides() {
        let with = |results: &[ProfileResult]| ConformanceReport {
            profiles: results
                .iter()
                .map(|result| ProfileReport { result: *result, ..ProfileReport::default() })
                .collect(),
            ..ConformanceReport::default()
        };
        use ProfileResult::{Conformant, NonConformant, Unknown};
        assert_eq!(with(&[]).result(), Unknown);
        assert_eq!(with(&[Conformant, Conformant]).result(), Conformant);
        assert_eq!(with(&[Conformant, Unknown]).result(), Unknown);
        assert_eq!(with(&[Unknown, NonConformant]).result(), NonConformant);
    }
}
