//! The only crate that makes raw host system calls for the kernel above. Everything here is a thin, safe-to-call shape
//! around one host facility; policy lives with the callers.
#![deny(missing_docs)]

pub mod affinity;
pub mod auxv;
pub mod call;
pub mod capability;
pub mod clone;
pub mod cpu;
pub mod eventfd;
pub mod fd;
pub mod file_window;
pub mod fs;
pub mod futex;
pub mod io;
pub mod memfd;
pub mod mount;
pub mod poller;
pub mod process;
pub mod program;
pub mod ptrace;
pub mod random;
pub mod time;
pub mod tsc;
pub mod tty;
pub mod uaccess;
pub mod vdso;
pub mod wait;
pub mod xstate;
