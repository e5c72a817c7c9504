//! The Linux ABI as the guest sees it: one file per uapi header, own `#[repr(C)]` structures, no host calls.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod aio_abi;
pub mod auxvec;
pub mod binfmts;
pub mod errno;
pub mod eventfd;
pub mod eventpoll;
pub mod falloc;
pub mod fcntl;
pub mod if_;
pub mod in6;
pub mod in_;
pub mod inotify;
pub mod ioctl;
pub mod ipc;
pub mod memfd;
pub mod mqueue;
pub mod msg;
pub mod netlink;
pub mod poll;
pub mod posix_acl_xattr;
pub mod resource;
pub mod rtnetlink;
pub mod sched;
pub mod sem;
pub mod shm;
pub mod sigaction;
pub mod signal;
pub mod signalfd;
pub mod socket;
pub mod splice;
pub mod stat;
pub mod sysno;
pub mod tcp;
pub mod termios;
pub mod time;
pub mod timerfd;
pub mod timex;
pub mod tty_ioctl;
pub mod un;

pub use errno::Errno;
pub mod dirent;

pub mod statfs;
pub mod uio;
