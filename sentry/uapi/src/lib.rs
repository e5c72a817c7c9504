//! The Linux ABI as the guest sees it: one file per uapi header, own `#[repr(C)]` structures, no host calls.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod errno;
pub mod eventfd;
pub mod eventpoll;
pub mod fcntl;
pub mod inotify;
pub mod ioctl;
pub mod poll;
pub mod signal;
pub mod signalfd;
pub mod splice;
pub mod stat;
pub mod sysno;
pub mod time;
pub mod timerfd;

pub use errno::Errno;
