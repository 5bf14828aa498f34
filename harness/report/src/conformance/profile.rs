//! A profile: a set of cases that together are a promise.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CaseReport, CaseResult};

/// What was found about one profile.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProfileReport {
    /// Its name, such as `failover`.
    pub name: String,
    /// What its required cases say together.
    pub result: ProfileResult,
    /// Its cases, in the order of the profile.
    pub cases: Vec<CaseReport>,
}

/// What the required cases of a profile say together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProfileResult {
    /// There are required cases, and all are conformant.
    Conformant,
    /// At least one required case is not conformant.
    NonConformant,
    /// None failed, but one was not run, invalid, or not supported by what the agent claims; or there is none.
    #[default]
    Unknown,
}

impl ProfileResult {
    /// The word used in tables and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Conformant => "conformant",
            Self::NonConformant => "non-conformant",
            Self::Unknown => "unknown",
        }
    }

    /// What the required ones of `cases` say together.
    pub fn of(cases: &[CaseReport]) -> Self {
        let results: Vec<CaseResult> = cases.iter().filter(|case| case.required).map(|case| case.result).collect();
        if results.contains(&CaseResult::NonConformant) {
            Self::NonConformant
        } else if !results.is_empty() && results.iter().all(|result| *result == CaseResult::Conformant) {
            Self::Conformant
        } else {
            Self::Unknown
        }
    }
}

impl ProfileReport {
    /// A profile and the result that its cases give it.
    pub fn new(name: impl Into<String>, cases: Vec<CaseReport>) -> Self {
        Self { name: name.into(), result: ProfileResult::of(&cases), cases }
    }

    /// How many cases have `result`, required or not.
    pub fn count(&self, result: CaseResult) -> usize {
        self.cases.iter().filter(|case| case.result == result).count()
    }

    /// `12 conformant, 1 non-conformant`, without results that no case has.
    pub fn counts(&self) -> String {
        let counts = CaseResult::ALL.into_iter().rev().map(|result| (self.count(result), result));
        let words: Vec<_> = counts
            .filter(|(count, _)| *count > 0)
            .map(|(count, result)| format!("{count} {}", result.as_str()))
            .collect();
        if words.is_empty() { "no cases".to_owned() } else { words.join(", ") }
    }

    /// Cases in the order in which a person wants to read them: what failed first, required before optional.
    pub(crate) fn by_urgency(&self) -> Vec<&CaseReport> {
        let mut cases: Vec<&CaseReport> = self.cases.iter().collect();
        let urgency =
            |case: &&CaseReport| (CaseResult::ALL.iter().position(|result| *result == case.result), !case.required);
        cases.sort_by_key(urgency);
        cases
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(required: bool, result: CaseResult) -> CaseReport {
        CaseReport { required, result, ..CaseReport::default() }
    }

    #[test]
    fn only_required_cases_decide() {
        use CaseResult::{Conformant, Invalid, NonConformant, NotRun, Unsupported};
        let of = |cases: &[(bool, CaseResult)]| {
            let cases: Vec<_> = cases.iter().map(|(required, result)| case(*required, *result)).collect();
            ProfileResult::of(&cases)
        };
        assert_eq!(of(&[(true, Conformant), (false, NonConformant)]), ProfileResult::Conformant);
        assert_eq!(of(&[(true, Conformant), (true, NonConformant)]), ProfileResult::NonConformant);
        assert_eq!(of(&[(true, NotRun), (true, NonConformant)]), ProfileResult::NonConformant, "a failure is certain");
        for unknown in [NotRun, Invalid, Unsupported] {
            assert_eq!(of(&[(true, Conformant), (true, unknown)]), ProfileResult::Unknown, "{unknown:?}");
        }
        assert_eq!(of(&[]), ProfileResult::Unknown, "nothing was shown");
        assert_eq!(of(&[(false, Conformant)]), ProfileResult::Unknown, "nothing that is required was shown");
    }
}
