//! The Linux ABI as the guest sees it: one file per uapi header, own `#[repr(C)]` structures, no host calls.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod errno;
pub mod fcntl;
pub mod if_;
pub mod in6;
pub mod in_;
pub mod netlink;
pub mod poll;
pub mod rtnetlink;
pub mod signal;
pub mod socket;
pub mod stat;
pub mod sysno;
pub mod tcp;
pub mod time;
pub mod un;

pub use errno::Errno;
