//! `events`: what the processes of the mesh say in their logs.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_scenario::{Element, element, record};

use super::{About, AnyExpect, Expect, Look};
use crate::{probe::lock, stage::StepError, world::LogLine};

/// In the language.
pub(super) const ELEMENT: Element<AnyExpect> = element!("events", Events);

record! {
    /// Processes wrote lines to their logs since the step began. A misconfiguration must be told, not only survived.
    pub struct Events {
        /// The process, such as `agent-alpha-1`; with `*` at its end the start of names.
        pub process: String,
        /// Text that a line contains; upper and lower case are the same.
        pub contains: String,
        /// At least so many lines; one when it is not given.
        pub min: Option<u64>,
        /// At most so many lines.
        pub max: Option<u64>,
    }
}

impl fmt::Display for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "events: {{process: {}, contains: {}}}", self.process, self.contains)
    }
}

impl Expect for Events {
    fn words(&self) -> String {
        let most = self.max.map(|max| format!(" and at most {max}")).unwrap_or_default();
        format!("{} logs at least {} lines{most} with `{}`", self.process, self.least(), self.contains)
    }

    fn about(&self) -> About {
        About::State
    }

    fn judge<'a>(&'a self, look: &'a Look<'a>) -> BoxFuture<'a, Result<Vec<String>, StepError>> {
        async move { Ok(self.findings(lock(&look.stage.world).logs())) }.boxed()
    }
}

impl Events {
    fn least(&self) -> u64 {
        // Who limits from above only wants to allow none.
        self.min.unwrap_or(if self.max.is_some() { 0 } else { 1 })
    }

    fn findings(&self, logs: &[LogLine]) -> Vec<String> {
        let wanted = self.contains.to_lowercase();
        let found = logs.iter().filter(|line| self.is_of(&line.process) && line.text.to_lowercase().contains(&wanted));
        let count = found.count() as u64;
        if count < self.least() {
            return vec![format!("{} logged {count} such lines, expected at least {}", self.process, self.least())];
        }
        let too_many = self.max.filter(|max| count > *max);
        too_many
            .map(|max| format!("{} logged {count} such lines, expected at most {max}", self.process))
            .into_iter()
            .collect()
    }

    fn is_of(&self, process: &str) -> bool {
        match self.process.strip_suffix('*') {
            Some(start) => process.starts_with(start),
            None => process == self.process,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_by_process_and_text() {
        let line = |process: &str| LogLine { process: process.into(), text: "Duplicate cluster ID 1".into() };
        let expect = Events { process: "agent-*".into(), contains: "duplicate".into(), min: None, max: None };
        assert_eq!(expect.findings(&[line("agent-alpha-1")]), Vec::<String>::new());
        assert_eq!(expect.findings(&[line("etcd-alpha")]), ["agent-* logged 0 such lines, expected at least 1"]);
        let none = Events { max: Some(0), ..expect };
        assert_eq!(none.findings(&[line("agent-beta-2")]), ["agent-* logged 1 such lines, expected at most 0"]);
    }
}
