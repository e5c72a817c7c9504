//! Host system calls, each wrapped once. Nothing outside the `platform` folder makes one.
#![deny(missing_docs)]

pub mod affinity;
pub mod call;
pub mod process;
pub mod ptrace;
pub mod wait;
