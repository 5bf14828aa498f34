//! A scenario for a machine that is slower than those that scenarios are written for, such as an emulated one.

use std::{num::NonZeroU32, time::Duration};

use crate::{Language, MapLimits, Scenario, Settle, When};

/// Fewest requests of a steady window: with so many, an answering side that is never seen is no accident.
const STEADY_REQUESTS_MIN: u32 = 25;

impl<L: Language> Scenario<L> {
    /// The same for a machine that needs `factor` times as long for everything: all times that something may take are longer,
    /// clients ask at a lower rate, and steady windows have fewer requests so that they do not take longer than they must.
    /// Times that something has to last are left as they are.
    #[must_use]
    pub fn slowed(mut self, factor: f64) -> Self {
        if factor <= 1.0 {
            return self;
        }
        let longer = |time: Duration| time.mul_f64(factor);
        self.grace = longer(self.grace);
        self.deadline = longer(self.deadline);
        self.maps = slower_maps(self.maps, factor);
        for probe in &mut self.probes {
            probe.timeout = longer(probe.timeout);
            probe.rate = NonZeroU32::new(fewer(probe.rate.get(), factor)).unwrap_or(NonZeroU32::MIN);
        }
        for step in &mut self.steps {
            let steady = step.steady_requests;
            step.steady_requests = fewer(steady, factor).max(steady.min(STEADY_REQUESTS_MIN));
            step.maps = step.maps.map(|maps| slower_maps(maps, factor));
            if let Settle::Within(time) = step.settle {
                step.settle = Settle::Within(longer(time));
            }
            for expected in &mut step.expectations {
                if let When::Within(time) = expected.value.when {
                    expected.value.when = When::Within(longer(time));
                }
            }
        }
        self.slowness = factor;
        self
    }

    /// How much slower than usual the machine is that it was made for; 1 unless [`Self::slowed`] said otherwise.
    pub fn slowness(&self) -> f64 {
        self.slowness
    }
}

fn slower_maps(maps: MapLimits, factor: f64) -> MapLimits {
    let longer = |limit: Option<Duration>| limit.map(|limit| limit.mul_f64(factor));
    MapLimits { stale_max: longer(maps.stale_max), missing_max: longer(maps.missing_max) }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a u32 is one")]
fn fewer(number: u32, factor: f64) -> u32 {
    (f64::from(number) / factor) as u32
}
