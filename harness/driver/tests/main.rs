//! Tests of the driver, in one program: linking costs more than running.
#![expect(clippy::print_stderr, reason = "tests tell how long things take and why they skip")]

mod control;
mod etcd_users;
mod netns;
mod programs;
mod support;
