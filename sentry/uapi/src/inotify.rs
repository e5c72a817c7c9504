//! Linux: include/uapi/linux/inotify.h.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Close on exec.
pub const IN_CLOEXEC: u32 = 0o2_000_000;
/// Do not block.
pub const IN_NONBLOCK: u32 = 0o4000;

/// Every event that can be asked for.
pub const IN_ALL_EVENTS: u32 = 0xfff;
/// The file itself was removed.
pub const IN_DELETE_SELF: u32 = 0x400;
/// The file itself was moved.
pub const IN_MOVE_SELF: u32 = 0x800;
/// Its filesystem was unmounted.
pub const IN_UNMOUNT: u32 = 0x2000;
/// Events have been lost.
pub const IN_Q_OVERFLOW: u32 = 0x4000;
/// The watch is gone.
pub const IN_IGNORED: u32 = 0x8000;
/// Watch directories only.
pub const IN_ONLYDIR: u32 = 0x0100_0000;
/// Do not follow a symbolic link.
pub const IN_DONT_FOLLOW: u32 = 0x0200_0000;
/// No events on files without a name.
pub const IN_EXCL_UNLINK: u32 = 0x0400_0000;
/// Fail if there is a watch already.
pub const IN_MASK_CREATE: u32 = 0x1000_0000;
/// Add to the events of an existing watch.
pub const IN_MASK_ADD: u32 = 0x2000_0000;
/// It happened to a directory.
pub const IN_ISDIR: u32 = 0x4000_0000;
/// Remove the watch after one event.
pub const IN_ONESHOT: u32 = 0x8000_0000;

/// ioctl: the next watch descriptor to give out.
pub const INOTIFY_IOC_SETNEXTWD: u32 = 0x4004_4900;

/// `struct inotify_event`, which `len` bytes of name follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct InotifyEvent {
    /// Watch descriptor; -1 for an overflow.
    pub wd: i32,
    /// What happened.
    pub mask: u32,
    /// Joins the two halves of a move.
    pub cookie: u32,
    /// Length of the name with its padding.
    pub len: u32,
}

const _: () = assert!(size_of::<InotifyEvent>() == size_of::<linux_raw_sys::general::inotify_event>());
