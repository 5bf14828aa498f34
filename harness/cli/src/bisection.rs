//! Where in a list something went from good to bad, with as few tries as possible.

/// What a try said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Good,
    Bad,
    /// Nothing: it could not be tried.
    Unknown,
}

/// A bisection over places `0..n`, where the first is good and the last is bad.
#[derive(Clone, Debug)]
pub(crate) struct Bisection {
    found: Vec<Option<Found>>,
}

/// Where the change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// The last that is known to be good.
    pub(crate) good: usize,
    /// The first after it that is known to be bad. There is nothing between them, or nothing that could be tried.
    pub(crate) bad: usize,
}

impl Bisection {
    /// Over `count` places, two at least.
    pub(crate) fn new(count: usize) -> Self {
        Self { found: vec![None; count] }
    }

    /// What to try next; the ends come first, and when one is not what it is said to be there is nothing more to try.
    pub(crate) fn next(&self) -> Option<usize> {
        for (end, said) in [(self.found.len() - 1, Found::Bad), (0, Found::Good)] {
            match self.found[end] {
                None => return Some(end),
                Some(found) if found != said => return None,
                Some(_) => {}
            }
        }
        let Change { good, bad } = self.change()?;
        // In the middle, or as near to it as there is something to try.
        let middle = good.midpoint(bad);
        (good + 1..bad).filter(|at| self.found[*at].is_none()).min_by_key(|at| at.abs_diff(middle))
    }

    /// A try at this place said so.
    pub(crate) fn add(&mut self, at: usize, found: Found) {
        self.found[at] = Some(found);
    }

    /// Where the change is, as far as it is known; none as long as the ends are not good and bad.
    pub(crate) fn change(&self) -> Option<Change> {
        let is = |at: usize, found: Found| self.found[at] == Some(found);
        if !is(0, Found::Good) || !is(self.found.len() - 1, Found::Bad) {
            return None;
        }
        let bad = (0..self.found.len()).find(|at| is(*at, Found::Bad))?;
        let good = (0..bad).rev().find(|at| is(*at, Found::Good))?;
        Some(Change { good, bad })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(truth: &[Found]) -> (Option<Change>, Vec<usize>) {
        let mut bisection = Bisection::new(truth.len());
        let mut tried = Vec::new();
        while let Some(at) = bisection.next() {
            bisection.add(at, truth[at]);
            tried.push(at);
        }
        (bisection.change(), tried)
    }

    #[test]
    fn every_change_is_found() {
        for count in 2..40 {
            for first_bad in 1..count {
                let truth: Vec<Found> =
                    (0..count).map(|at| if at < first_bad { Found::Good } else { Found::Bad }).collect();
                let (change, tried) = run(&truth);
                assert_eq!(change, Some(Change { good: first_bad - 1, bad: first_bad }));
                assert!(tried.len() <= 2 + count.ilog2() as usize + 1, "{count} {first_bad}: {tried:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_tried_is_gone_around() {
        use Found::{Bad, Good, Unknown};
        assert_eq!(run(&[Good, Good, Unknown, Unknown, Bad, Bad]).0, Some(Change { good: 1, bad: 4 }));
        assert_eq!(run(&[Good, Unknown, Bad]).0, Some(Change { good: 0, bad: 2 }));
    }

    #[test]
    fn ends_must_be_as_said() {
        use Found::{Bad, Good};
        assert_eq!(run(&[Good, Good]), (None, vec![1]));
        assert_eq!(run(&[Bad, Good, Bad]), (None, vec![2, 0]));
    }
}
