//! The only crate that makes raw host system calls for the kernel above. Everything here is a thin, safe-to-call shape
//! around one host facility; policy lives with the callers.

pub mod fs;
pub mod io;
pub mod memfd;
pub mod random;
pub mod time;
pub mod uaccess;
