//! Which defect is planted: for the whole process, or, in tests, for one thread.

use std::{cell::Cell, marker::PhantomData, sync::OnceLock, time::Duration};

use crate::Defect;

/// How long a wrong state that the agent passes through stays there to be seen. Far above the interval at which maps
/// are looked at, far below what a person would notice.
const PAUSE: Duration = Duration::from_millis(50);

static PLANTED: OnceLock<Defect> = OnceLock::new();

thread_local! {
    static HERE: Cell<Option<Defect>> = const { Cell::new(None) };
}

/// Whether the agent shall be wrong in this way.
pub fn planted(defect: Defect) -> bool {
    HERE.get().or_else(|| PLANTED.get().copied()) == Some(defect)
}

/// Keeps a wrong state in place long enough to be seen.
pub fn pause() {
    std::thread::park_timeout(PAUSE);
}

/// Plants a defect for the rest of the process. Only the first call has an effect.
pub fn plant(defect: Defect) {
    PLANTED.get_or_init(|| defect);
}

/// Plants a defect, or none, in this thread until the answer is dropped: for tests, which may share a process.
pub fn plant_here(defect: impl Into<Option<Defect>>) -> Planting {
    Planting { before: HERE.replace(defect.into()), thread: PhantomData }
}

/// A defect planted in this thread; dropping it takes the defect out.
#[must_use = "dropping it takes the defect out at once"]
#[derive(Debug)]
pub struct Planting {
    before: Option<Defect>,
    /// Bound to its thread.
    thread: PhantomData<*const ()>,
}

impl Drop for Planting {
    fn drop(&mut self) {
        HERE.set(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planting_ends_when_dropped() {
        assert!(!planted(Defect::UdpIgnored));
        let planting = plant_here(Defect::UdpIgnored);
        assert!(planted(Defect::UdpIgnored) && !planted(Defect::SharedIgnored));
        assert!(!std::thread::spawn(|| planted(Defect::UdpIgnored)).join().unwrap(), "in this thread only");
        drop(planting);
        assert!(!planted(Defect::UdpIgnored));
    }
}
