//! Guests with chosen kernels.
//!
//! A guest is a kernel, a first file system made in memory ([`initramfs`]: programs of the host with their libraries, files,
//! modules, a job) and QEMU. It needs no root, no disk image and no network of the host; it says what happens over one virtio
//! port ([`protocol`]), and how it ended is told apart: exit code, panic, want of memory, hang ([`End`]). Guests that are to
//! reach each other are joined by cables ([`cable`]).
//!
//! Where kernels come from is the part of [`fetch`].

mod cache;
mod console;
mod content;
mod cpio;
mod effort;
mod error;
pub mod fetch;
mod guest;
mod kernel;
mod library;
mod module;
mod nic;
pub mod protocol;
mod qemu;

pub use cache::Cache;
pub use console::{Death, death};
pub use content::{Content, initramfs};
pub use cpio::Archive;
pub use effort::Effort;
pub use error::VmError;
pub use guest::{End, GuestOptions, Said, run, slowness};
pub use kernel::{Kernel, MODULES_REQUIRED, MODULES_WISHED};
pub use library::libraries;
pub use module::{Module, ModuleTree};
pub use nic::{NICS_MAX, Nic, Plug, cable};
pub use qemu::{Accelerator, Machine, MachineNic, QEMU};
