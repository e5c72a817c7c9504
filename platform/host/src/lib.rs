//! The only crate that makes raw host system calls for the kernel above. Everything here is a thin, safe-to-call shape
//! around one host facility; policy lives with the callers.
#![deny(missing_docs)]

pub mod affinity;
pub mod call;
pub mod cpu;
pub mod auxv;
pub mod fs;
pub mod io;
pub mod memfd;
pub mod process;
pub mod ptrace;
pub mod time;
pub mod tsc;
pub mod capability;
pub mod clone;
pub mod fd;
pub mod mount;
pub mod tty;
pub mod uaccess;
pub mod wait;
pub mod vdso;
