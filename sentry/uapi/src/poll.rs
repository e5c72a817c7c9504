//! Linux: include/uapi/asm-generic/poll.h and include/uapi/linux/eventpoll.h. The low bits of both are the same.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Data to read.
pub const POLLIN: u32 = 0x1;
/// Urgent data.
pub const POLLPRI: u32 = 0x2;
/// Room to write.
pub const POLLOUT: u32 = 0x4;
/// Error; always reported.
pub const POLLERR: u32 = 0x8;
/// Hang-up; always reported.
pub const POLLHUP: u32 = 0x10;
/// Not an open descriptor.
pub const POLLNVAL: u32 = 0x20;
/// As POLLIN.
pub const POLLRDNORM: u32 = 0x40;
/// Priority band readable.
pub const POLLRDBAND: u32 = 0x80;
/// As POLLOUT.
pub const POLLWRNORM: u32 = 0x100;
/// Priority band writable.
pub const POLLWRBAND: u32 = 0x200;
/// A message; what a change in a directory is signalled as.
pub const POLLMSG: u32 = 0x400;
/// The peer has shut down writing.
pub const POLLRDHUP: u32 = 0x2000;

/// `struct pollfd`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Pollfd {
    /// The descriptor; a negative one is ignored.
    pub fd: i32,
    /// Events asked for.
    pub events: u16,
    /// Events that hold.
    pub revents: u16,
}

const _: () = assert!(size_of::<Pollfd>() == size_of::<linux_raw_sys::general::pollfd>());
