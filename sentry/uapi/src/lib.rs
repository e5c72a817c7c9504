//! The Linux ABI as the guest sees it: one file per uapi header, own `#[repr(C)]` structures, no host calls.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod errno;
pub mod falloc;
pub mod fcntl;
pub mod memfd;
pub mod poll;
pub mod signal;
pub mod stat;
pub mod sysno;
pub mod time;

pub use errno::Errno;
