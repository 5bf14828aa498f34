//! The arithmetic of a rolling update. Pure.

/// A replica set, as far as a roll-out needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Set {
    /// Pods it shall have.
    pub(super) replicas: i64,
    /// Pods it has that are available.
    pub(super) available: i64,
}

/// How far a roll-out may stray from the wanted number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Pods wanted.
    pub(super) replicas: i64,
    /// Pods beyond that.
    pub(super) surge: i64,
    /// Pods below that.
    pub(super) unavailable: i64,
}

impl Bounds {
    /// Reads `maxSurge` (rounded up) and `maxUnavailable` (rounded down), numbers or percentages of `replicas`.
    pub(super) fn new(replicas: i64, surge: &serde_json::Value, unavailable: &serde_json::Value) -> Self {
        let percent = |value: &serde_json::Value| -> Option<i64> {
            value.as_str()?.strip_suffix('%')?.parse::<i64>().ok().filter(|percent| (0..=1000).contains(percent))
        };
        let surge = percent(surge).map_or_else(|| surge.as_i64().unwrap_or(0), |p| (replicas * p + 99) / 100);
        let down = percent(unavailable).map_or_else(|| unavailable.as_i64().unwrap_or(0), |p| replicas * p / 100);
        // With neither, nothing could ever move.
        let unavailable = if surge == 0 && down == 0 { 1 } else { down };
        Self { replicas, surge, unavailable: unavailable.min(replicas) }
    }
}

/// What the replica sets shall have next: the new one, and the old ones in the order given (oldest first).
pub(super) fn roll(bounds: Bounds, new: Set, old: &[Set]) -> (i64, Vec<i64>) {
    let olds: i64 = old.iter().map(|set| set.replicas).sum();
    let room = (bounds.replicas + bounds.surge - new.replicas - olds).max(0);
    let next = match new.replicas < bounds.replicas {
        true => bounds.replicas.min(new.replicas + room),
        false => bounds.replicas,
    };
    let least = bounds.replicas - bounds.unavailable;
    let mut targets: Vec<i64> = old.iter().map(|set| set.replicas).collect();
    // Whoever is not available costs nothing, but pods of the new set that are not yet available count as missing.
    let mut spare = (olds - least + new.available.min(next)).max(0);
    for (target, set) in targets.iter_mut().zip(old) {
        let sick = (set.replicas - set.available).max(0).min(spare);
        *target -= sick;
        spare -= sick;
    }
    let available: i64 = new.available.min(next) + old.iter().map(|set| set.available).sum::<i64>();
    let mut spare = (available - least).max(0);
    for target in &mut targets {
        let down = (*target).min(spare);
        *target -= down;
        spare -= down;
    }
    (next, targets)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use test_case::test_case;

    use super::*;

    #[test_case(4, json!("25%"), json!("25%") => (1, 1))]
    #[test_case(3, json!("25%"), json!("25%") => (1, 0); "up and down")]
    #[test_case(2, json!(0), json!(0) => (0, 1); "never stuck")]
    #[test_case(1, json!(1), json!(5) => (1, 1); "at most all")]
    fn bounds(replicas: i64, surge: serde_json::Value, unavailable: serde_json::Value) -> (i64, i64) {
        let bounds = Bounds::new(replicas, &surge, &unavailable);
        (bounds.surge, bounds.unavailable)
    }

    const NONE: Set = Set { replicas: 0, available: 0 };

    #[test_case(NONE, &[] => (4, vec![]); "first")]
    #[test_case(NONE, &[Set { replicas: 4, available: 4 }] => (1, vec![3]); "begin")]
    #[test_case(Set { replicas: 1, available: 0 }, &[Set { replicas: 3, available: 3 }] => (2, vec![3]); "wait")]
    #[test_case(Set { replicas: 2, available: 2 }, &[Set { replicas: 3, available: 3 }] => (2, vec![1]); "go on")]
    #[test_case(Set { replicas: 4, available: 4 }, &[Set { replicas: 1, available: 1 }] => (4, vec![0]); "end")]
    #[test_case(NONE, &[Set { replicas: 4, available: 0 }] => (1, vec![3]); "the sick go first")]
    #[test_case(Set { replicas: 6, available: 6 }, &[] => (4, vec![]); "scaled down")]
    fn steps(new: Set, old: &[Set]) -> (i64, Vec<i64>) {
        roll(Bounds { replicas: 4, surge: 1, unavailable: 1 }, new, old)
    }

    #[test]
    fn every_rollout_ends_within_its_bounds() {
        for (replicas, surge, unavailable) in [(1, 1, 0), (5, 2, 0), (5, 0, 2), (10, 3, 3), (3, 0, 1)] {
            let bounds = Bounds { replicas, surge, unavailable };
            let (mut new, mut old) = (NONE, [Set { replicas, available: replicas }]);
            let mut rounds = 0;
            while new.replicas != replicas || old[0].replicas != 0 {
                let (next, targets) = roll(bounds, new, &old);
                // What is deleted is gone at once; what is created is available a round later.
                old[0] = Set { replicas: targets[0], available: old[0].available.min(targets[0]) };
                assert!(new.available + old[0].available >= replicas - unavailable, "{bounds:?}: {new:?} {old:?}");
                assert!(next + old[0].replicas <= replicas + surge, "{bounds:?}: {next} {old:?}");
                new = Set { replicas: next, available: new.replicas };
                rounds += 1;
                assert!(rounds < 50, "{bounds:?} is stuck at {new:?} {old:?}");
            }
        }
    }
}
