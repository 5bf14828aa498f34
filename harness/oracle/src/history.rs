//! What was true when.

use meshbed_events::Micros;

/// A value that changes at known times. Each change holds from its time (included) until the next one (excluded);
/// before the first one the value is `T::default()`.
#[derive(Clone, Debug)]
pub(crate) struct Timeline<T> {
    /// Strictly increasing times.
    changes: Vec<(Micros, T)>,
    before: T,
}

impl<T: Default> Default for Timeline<T> {
    fn default() -> Self {
        Self { changes: Vec::new(), before: T::default() }
    }
}

impl<T: Clone + PartialEq> Timeline<T> {
    /// The newest value.
    pub(crate) fn now(&self) -> &T {
        self.changes.last().map_or(&self.before, |(_, value)| value)
    }

    /// Changes the newest value at `at` and says whether the history grew. A time before the newest change counts as
    /// the time of that change: the facts come from one clock, only their arrival may be out of order. Several
    /// changes at one time are one: a state that lasted no time was never seen by anyone.
    pub(crate) fn change(&mut self, at: Micros, change: impl FnOnce(&mut T)) -> bool {
        let mut value = self.now().clone();
        change(&mut value);
        if value == *self.now() {
            return false;
        }
        match self.changes.last_mut() {
            Some((last, newest)) if *last >= at => {
                *newest = value;
                false
            }
            _ => {
                self.changes.push((at, value));
                true
            }
        }
    }

    /// The value at `at`.
    pub(crate) fn at(&self, at: Micros) -> &T {
        let later = self.changes.partition_point(|(time, _)| *time <= at);
        later.checked_sub(1).map_or(&self.before, |index| &self.changes[index].1)
    }

    /// The values in force at some moment from `since` to `at`, newest first, without repetitions.
    pub(crate) fn versions(&self, since: Micros, at: Micros) -> Vec<&T> {
        let first = self.changes.partition_point(|(time, _)| *time <= since);
        let last = self.changes.partition_point(|(time, _)| *time <= at).max(first);
        let before = first.checked_sub(1).map_or(&self.before, |index| &self.changes[index].1);
        let mut versions: Vec<&T> = Vec::new();
        for version in self.changes[first..last].iter().rev().map(|(_, version)| version).chain([before]) {
            if !versions.contains(&version) {
                versions.push(version);
            }
        }
        versions
    }

    /// How many changes there were up to `at` (included).
    pub(crate) fn changes_until(&self, at: Micros) -> usize {
        self.changes.partition_point(|(time, _)| *time <= at)
    }

    /// Times of the changes after `start` and up to `end` (included).
    pub(crate) fn times(&self, start: Micros, end: Micros) -> impl Iterator<Item = Micros> {
        let first = self.changes.partition_point(|(time, _)| *time <= start);
        self.changes[first..].iter().map(|(time, _)| *time).take_while(move |time| *time <= end)
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    fn steps() -> Timeline<u32> {
        let mut timeline = Timeline::default();
        for (at, value) in [(10, 1), (20, 2), (30, 3)] {
            timeline.change(Micros(at), |now| *now = value);
        }
        timeline
    }

    #[test_case(0 => 0 ; "before the first change")]
    #[test_case(9 => 0 ; "just before")]
    #[test_case(10 => 1 ; "a change holds from its own time")]
    #[test_case(19 => 1 ; "until just before the next")]
    #[test_case(20 => 2 ; "the next")]
    #[test_case(99 => 3 ; "for ever")]
    fn value_at(at: u64) -> u32 {
        *steps().at(Micros(at))
    }

    #[test_case(0, 9 => Vec::<u64>::new() ; "nothing yet")]
    #[test_case(0, 10 => vec![10] ; "the end counts")]
    #[test_case(10, 30 => vec![20, 30] ; "the start does not: its value is already in force")]
    #[test_case(30, 99 => Vec::<u64>::new() ; "nothing any more")]
    fn times_between(start: u64, end: u64) -> Vec<u64> {
        steps().times(Micros(start), Micros(end)).map(|at| at.0).collect()
    }

    #[test_case(0, 5 => vec![0] ; "nothing happened")]
    #[test_case(10, 10 => vec![1] ; "one moment has one value")]
    #[test_case(9, 20 => vec![2, 1, 0] ; "newest first, the one before included")]
    #[test_case(15, 99 => vec![3, 2, 1] ; "up to now")]
    #[test_case(25, 15 => vec![2] ; "never nothing")]
    fn versions_between(since: u64, at: u64) -> Vec<u32> {
        steps().versions(Micros(since), Micros(at)).into_iter().copied().collect()
    }

    #[test]
    fn changes_at_one_time_are_one() {
        let mut timeline = Timeline::default();
        assert!(timeline.change(Micros(5), |now| *now = 1));
        assert!(!timeline.change(Micros(5), |now| *now += 1), "the same time is no new entry");
        assert!(!timeline.change(Micros(3), |now| *now += 1), "late news count from the newest change on");
        assert_eq!((*timeline.at(Micros(4)), *timeline.at(Micros(5))), (0, 3));
    }
}
