//! What is to be done later.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use crate::store::Name;

/// Something to be done later.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A node has been silent for too long.
    Silence(String),
    /// A pod has stood its node's taints long enough: its name and UID.
    Eviction(Name, String),
}

/// What is to be done later, each at one time.
#[derive(Debug, Default)]
pub(super) struct Timers {
    at: BTreeMap<Timer, Instant>,
    order: BTreeSet<(Instant, Timer)>,
}

impl Timers {
    /// Sets a timer, in place of what it was set to before.
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        if let Some(before) = self.at.insert(timer.clone(), at) {
            self.order.remove(&(before, timer.clone()));
        }
        self.order.insert((at, timer));
    }

    /// Takes a timer back.
    pub(super) fn cancel(&mut self, timer: &Timer) {
        if let Some(before) = self.at.remove(timer) {
            self.order.remove(&(before, timer.clone()));
        }
    }

    /// When a timer is set to.
    pub(super) fn at(&self, timer: &Timer) -> Option<Instant> {
        self.at.get(timer).copied()
    }

    /// When the first one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes the first one whose time has come.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(Instant, Timer)> {
        self.order.first().filter(|(at, _)| *at <= now)?;
        let (at, timer) = self.order.pop_first()?;
        self.at.remove(&timer);
        Some((at, timer))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn timers_come_in_order_and_can_be_put_off() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let silence = |node: &str| Timer::Silence(node.to_owned());
        let mut timers = Timers::default();
        timers.set(silence("a"), after(1));
        timers.set(silence("b"), after(2));
        timers.set(silence("c"), after(3));
        timers.set(silence("a"), after(5));
        timers.cancel(&silence("c"));
        assert_eq!(timers.next(), Some(after(2)));
        assert_eq!(timers.take_due(after(1)), None);
        assert_eq!(timers.take_due(after(9)), Some((after(2), silence("b"))));
        assert_eq!(timers.take_due(after(9)), Some((after(5), silence("a"))));
        assert_eq!((timers.take_due(after(9)), timers.next()), (None, None));
    }
}
