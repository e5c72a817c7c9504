//! procfs: the kernel's own state as files.
//!
//! Linux: fs/proc. An instance shows the processes of one pid namespace. Most files are text that is made when a file is
//! read from its start; see [`fs_kernfs`]. What a file shows of a process is looked up anew each time, so an open file or
//! a cached name keeps nothing of a process alive.
//!
//! Locks: nothing here holds one while it calls another part of the kernel; the tree of processes is locked for single
//! look-ups only.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod net;
mod pid;
mod procfs;
mod records;
mod root;
mod seq;
mod sys;
#[cfg(test)]
mod tests;

pub use procfs::{HidePid, ProcFs, ProcOptions, ProcParams};
