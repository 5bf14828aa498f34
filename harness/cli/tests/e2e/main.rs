//! Whole runs of the program. Tests named `root_…` bring real meshes up; `just test-root` runs them, one at a time.
#![expect(clippy::print_stderr, reason = "a test that skips says why")]

mod bad_input;
mod cleanliness;
mod failover;
mod faults_by_hand;
mod kept_mesh;
mod meshbed;
mod planted_defects;
mod recorded;
mod verdicts;
