//! `/sys`: as much of it as programs look at to learn about processors, memory and the loopback device.
//!
//! Linux: fs/sysfs, drivers/base/cpu.c, drivers/base/topology.c, net/core/net-sysfs.c. Differs: there are no devices, so
//! there is little in it, and nothing but `transparent_hugepage/enabled` may be written.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod attribute;
mod cpu;
mod fs_type;
mod kernel;
mod net;
mod node;

pub use fs_type::{SYSFS_MAGIC, SysfsParams, SysfsType, new_super};

#[cfg(test)]
mod tests;
