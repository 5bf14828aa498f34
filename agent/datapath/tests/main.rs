//! Tests of the datapath, in one program: linking costs more than running.

mod converge;
#[cfg(feature = "planted-defects")]
mod defects;
mod fixture;
mod ground;
mod ipcache;
mod kernel;
mod kernel_ipcache;
mod plan;
mod recorded;
mod recorded_entries;
