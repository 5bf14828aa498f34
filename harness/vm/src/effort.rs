//! How much slower than its host a guest is: both do the same work.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    time::Instant,
};

use serde::{Deserialize, Serialize};

/// Entries of a map that are made and found again.
const ENTRIES: u32 = 20_000;
/// Bytes that go through a pipe, one by one.
const BYTES: u32 = 3_000;
/// The quickest of so many tries counts: others had something else to do meanwhile.
const TRIES: usize = 3;

/// What a machine needs for work like that of a mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effort {
    /// Memory, text and comparisons, in microseconds.
    pub compute_us: u64,
    /// System calls, in microseconds.
    pub system_us: u64,
}

impl Effort {
    /// Works for some tens of milliseconds.
    ///
    /// # Errors
    ///
    /// When there is no pipe to be had.
    pub fn measure() -> io::Result<Self> {
        let (mut compute_us, mut system_us) = (u64::MAX, u64::MAX);
        for _ in 0..TRIES {
            compute_us = compute_us.min(time(|| {
                compute();
                Ok(())
            })?);
            system_us = system_us.min(time(system)?);
        }
        Ok(Self { compute_us, system_us })
    }

    /// How many times slower than `host` this machine is, in thousandths: at what it is worst at. 1000 at least.
    pub fn slowness_milli(&self, host: &Self) -> u64 {
        let ratio = |ours: u64, theirs: u64| ours.saturating_mul(1000) / theirs.max(1);
        ratio(self.compute_us, host.compute_us).max(ratio(self.system_us, host.system_us)).max(1000)
    }
}

fn time(work: impl FnOnce() -> io::Result<()>) -> io::Result<u64> {
    let begun = Instant::now();
    work()?;
    Ok(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX).max(1))
}

fn compute() {
    let map: BTreeMap<String, u32> =
        (0..ENTRIES).map(|number| (format!("{:x}-{number}", number.wrapping_mul(2_654_435_761)), number)).collect();
    let found = (0..ENTRIES).filter(|number| map.contains_key(&number.to_string())).count();
    std::hint::black_box((map, found));
}

fn system() -> io::Result<()> {
    let (mut reader, mut writer) = io::pipe()?;
    let mut byte = [0];
    for _ in 0..BYTES {
        writer.write_all(&byte)?;
        reader.read_exact(&mut byte)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_ratio_counts() {
        let host = Effort { compute_us: 100, system_us: 10 };
        assert_eq!(Effort { compute_us: 1000, system_us: 300 }.slowness_milli(&host), 30_000);
        assert_eq!(Effort { compute_us: 50, system_us: 5 }.slowness_milli(&host), 1000, "never faster");
    }

    #[test]
    fn work_takes_time() {
        let effort = Effort::measure().expect("a pipe");
        assert!(effort.compute_us > 1 && effort.system_us > 1, "{effort:?}");
    }
}
