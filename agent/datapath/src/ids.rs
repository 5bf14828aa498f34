//! Ids in Cilium's manner: sequential, with rollover, never one that is in use.

/// A counter over `1..=last`.
///
/// An id that was given back is not used again before the counter has gone round, so that a stale entry somewhere
/// (a socket's reverse entry, say) does not suddenly mean another service.
#[derive(Clone, Debug)]
pub(crate) struct Ids {
    next: u32,
    last: u32,
}

impl Ids {
    /// A counter that continues after `used`, the largest id in use (0 when there is none).
    pub(crate) fn after(used: u32, last: u32) -> Self {
        Self { next: if used < last { used + 1 } else { 1 }, last }
    }

    /// The next id that is not `taken`; `None` when all are.
    pub(crate) fn next(&mut self, taken: impl Fn(u32) -> bool) -> Option<u32> {
        let first = self.next;
        loop {
            let id = self.next;
            self.next = if id < self.last { id + 1 } else { 1 };
            if !taken(id) {
                return Some(id);
            }
            if self.next == first {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequential_with_rollover() {
        let mut ids = Ids::after(2, 4);
        let used = [1, 2];
        let taken = |id| used.contains(&id);
        assert_eq!(ids.next(taken), Some(3));
        assert_eq!(ids.next(taken), Some(4));
        assert_eq!(ids.next(taken), Some(3), "1 and 2 are in use");
    }

    #[test]
    fn released_ids_wait_for_the_rollover() {
        let mut ids = Ids::after(0, 3);
        assert_eq!(ids.next(|_| false), Some(1));
        assert_eq!(ids.next(|_| false), Some(2), "1 is free again but not used again yet");
        assert_eq!(ids.next(|_| false), Some(3));
        assert_eq!(ids.next(|_| false), Some(1));
    }

    #[test]
    fn exhausted() {
        assert_eq!(Ids::after(3, 3).next(|_| true), None);
    }
}
