//! `/dev`: a tmpfs that is filled when it is made, and the drivers of the memory devices in it.
//!
//! Linux: drivers/base/devtmpfs.c and drivers/char/mem.c, drivers/char/random.c. Differs: there is no hot plug; the
//! directories and links that a distribution's start-up scripts make are there from the beginning.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod mem;
mod random;
mod tree;

pub use mem::register_mem_devices;
pub use tree::{DevtmpfsParams, DevtmpfsType, new_super};

#[cfg(test)]
mod tests;
