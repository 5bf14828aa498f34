//! How long to wait between attempts.

use std::time::Duration;

/// Exponential back-off: every failure in a row doubles the wait, up to a limit.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Wait after the first failure. A server that restarts is usually back within tens of milliseconds.
    const FIRST: Duration = Duration::from_millis(50);
    /// Longest wait: long enough to spare a dead server, short enough that its return is noticed at once for whoever
    /// waits for it.
    const LAST: Duration = Duration::from_secs(1);

    /// No failures yet.
    pub(crate) fn new() -> Self {
        Self { failures: 0 }
    }

    /// Forgets all failures, after something worked.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Counts a failure and says how long to wait before the next attempt.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = Self::wait(self.failures);
        self.failures = self.failures.saturating_add(1);
        wait
    }

    /// The wait after so many failures before.
    fn wait(failures: u32) -> Duration {
        Self::FIRST.saturating_mul(2_u32.saturating_pow(failures)).min(Self::LAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_limit_and_starts_anew() {
        let mut backoff = Backoff::new();
        let waits: Vec<u128> = (0..7).map(|_| backoff.next().as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1000, 1000]);
        backoff.reset();
        assert_eq!(backoff.next(), Backoff::FIRST);
    }
}
