//! The lanes of the chart, one file each. Each draws itself below what is there already.

pub(super) mod axis;
pub(super) mod faults;
pub(super) mod logs;
pub(super) mod maps;
pub(super) mod objects;
pub(super) mod requests;
pub(super) mod steps;
