//! When requests are due: an open loop, so that a slow answer delays nobody else's request.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Due times at a fixed rate. The n-th is computed from the start, so that rounding does not add up.
#[derive(Debug)]
pub(crate) struct Schedule {
    start: Instant,
    rate: u32,
    next: u64,
}

impl Schedule {
    /// The first request is due at `start`, then `rate` of them every second.
    pub(crate) fn new(start: Instant, rate: u32) -> Self {
        Self { start, rate, next: 0 }
    }

    /// Waits until the next request is due and returns its number. Requests whose time has passed come at once, one
    /// by one: none is left out. Cancel-safe.
    pub(crate) async fn due(&mut self) -> u64 {
        sleep_until(self.start + offset(self.next, self.rate)).await;
        self.next += 1;
        self.next - 1
    }
}

/// Time of request `number` after the start.
fn offset(number: u64, rate: u32) -> Duration {
    let rate = u64::from(rate);
    let rest_ns = (number % rate) * 1_000_000_000 / rate;
    Duration::from_secs(number / rate) + Duration::from_nanos(rest_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_does_not_add_up() {
        assert_eq!(offset(0, 3), Duration::ZERO);
        assert_eq!(offset(1, 3), Duration::from_nanos(333_333_333));
        assert_eq!(offset(3_000_000, 3), Duration::from_secs(1_000_000));
    }

    #[tokio::test(start_paused = true)]
    async fn late_requests_are_not_left_out() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 200);
        assert_eq!(schedule.due().await, 0);
        tokio::time::advance(Duration::from_millis(50)).await;
        for expected in 1..=10 {
            assert_eq!(schedule.due().await, expected);
        }
        assert_eq!(start.elapsed().as_millis(), 50, "none of them waited");
        schedule.due().await;
        assert_eq!(start.elapsed().as_millis(), 55);
    }
}
