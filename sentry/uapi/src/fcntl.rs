//! Linux: include/uapi/asm-generic/fcntl.h and include/uapi/linux/fcntl.h.

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

bitflags! {
    /// Flags of open(2) and of open files.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct OpenFlags: u32 {
        /// Write only. Reading only is the absence of this and the next.
        const WRONLY = 0o1;
        /// Read and write.
        const RDWR = 0o2;
        /// Make the file if it is missing.
        const CREAT = 0o100;
        /// Fail if it exists.
        const EXCL = 0o200;
        /// Do not make a terminal the controlling one.
        const NOCTTY = 0o400;
        /// Truncate to nothing.
        const TRUNC = 0o1000;
        /// Write at the end.
        const APPEND = 0o2000;
        /// Do not block.
        const NONBLOCK = 0o4000;
        /// Writes reach the medium with the data needed to read them back.
        const DSYNC = 0o10000;
        /// Signal-driven I/O.
        const ASYNC = 0o20000;
        /// Bypass caches.
        const DIRECT = 0o40000;
        /// Allow large files; always on in a 64-bit kernel.
        const LARGEFILE = 0o100_000;
        /// Must be a directory.
        const DIRECTORY = 0o200_000;
        /// Do not follow a symbolic link at the end.
        const NOFOLLOW = 0o400_000;
        /// Do not update the access time.
        const NOATIME = 0o1_000_000;
        /// Close on exec.
        const CLOEXEC = 0o2_000_000;
        /// Writes reach the medium; includes `DSYNC`.
        const SYNC = 0o4_010_000;
        /// A place in the tree only, no access to the file.
        const PATH = 0o10_000_000;
        /// An unnamed regular file; includes `DIRECTORY`.
        const TMPFILE = 0o20_200_000;
        /// An unassigned or out-of-range access mode, kept for open(2)'s checks.
        const _ = !0;
    }
}

impl OpenFlags {
    /// Whether the access mode allows reading (mode 3, used for ioctls only, does not).
    pub fn readable(self) -> bool {
        self.bits() & 3 == 0 || self.bits() & 3 == 2
    }

    /// Whether the access mode allows writing.
    pub fn writable(self) -> bool {
        self.bits() & 3 == 1 || self.bits() & 3 == 2
    }
}

/// Use the working directory.
pub const AT_FDCWD: i32 = -100;
/// Do not follow a symbolic link at the end.
pub const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
/// Check with the effective ids (faccessat2).
pub const AT_EACCESS: u32 = 0x200;
/// Remove a directory (unlinkat).
pub const AT_REMOVEDIR: u32 = 0x200;
/// Follow a symbolic link at the end (linkat).
pub const AT_SYMLINK_FOLLOW: u32 = 0x400;
/// Do not trigger automounts.
pub const AT_NO_AUTOMOUNT: u32 = 0x800;
/// An empty path stands for the descriptor itself.
pub const AT_EMPTY_PATH: u32 = 0x1000;
/// Kind of agreement with a server asked of statx(2).
pub const AT_STATX_SYNC_TYPE: u32 = 0x6000;
/// All open-file flags that fcntl(F_SETFD) knows.
pub const FD_CLOEXEC: u64 = 1;

macro_rules! fcntl_commands {
    ($($name:ident = $value:literal;)*) => {
        $(#[doc = concat!("fcntl(2) command ", stringify!($value), ".")] pub const $name: u32 = $value;)*
    };
}

fcntl_commands! {
    F_DUPFD = 0; F_GETFD = 1; F_SETFD = 2; F_GETFL = 3; F_SETFL = 4; F_GETLK = 5; F_SETLK = 6; F_SETLKW = 7;
    F_SETOWN = 8; F_GETOWN = 9; F_SETSIG = 10; F_GETSIG = 11; F_SETOWN_EX = 15; F_GETOWN_EX = 16;
    F_GETOWNER_UIDS = 17; F_OFD_GETLK = 36; F_OFD_SETLK = 37; F_OFD_SETLKW = 38; F_SETLEASE = 1024;
    F_GETLEASE = 1025; F_NOTIFY = 1026; F_DUPFD_CLOEXEC = 1030; F_SETPIPE_SZ = 1031; F_GETPIPE_SZ = 1032;
    F_ADD_SEALS = 1033; F_GET_SEALS = 1034; F_GET_RW_HINT = 1035; F_SET_RW_HINT = 1036;
    F_GET_FILE_RW_HINT = 1037; F_SET_FILE_RW_HINT = 1038;
}

/// fcntl(F_NOTIFY): a file was read.
pub const DN_ACCESS: u64 = 0x1;
/// fcntl(F_NOTIFY): a file was written or truncated.
pub const DN_MODIFY: u64 = 0x2;
/// fcntl(F_NOTIFY): an entry was made or moved into the directory.
pub const DN_CREATE: u64 = 0x4;
/// fcntl(F_NOTIFY): an entry was removed or moved away.
pub const DN_DELETE: u64 = 0x8;
/// fcntl(F_NOTIFY): an entry got another name in the directory.
pub const DN_RENAME: u64 = 0x10;
/// fcntl(F_NOTIFY): attributes of a file changed.
pub const DN_ATTRIB: u64 = 0x20;
/// fcntl(F_NOTIFY): until it is taken back, not only once.
pub const DN_MULTISHOT: u64 = 0x8000_0000;

/// Longest path with its terminating zero.
pub const PATH_MAX: usize = 4096;
/// Longest name of a directory entry.
pub const NAME_MAX: usize = 255;

/// Shared lock.
pub const F_RDLCK: i16 = 0;
/// Exclusive lock.
pub const F_WRLCK: i16 = 1;
/// No lock.
pub const F_UNLCK: i16 = 2;

/// flock(2): shared lock.
pub const LOCK_SH: u32 = 1;
/// flock(2): exclusive lock.
pub const LOCK_EX: u32 = 2;
/// flock(2): do not wait.
pub const LOCK_NB: u32 = 4;
/// flock(2): unlock.
pub const LOCK_UN: u32 = 8;
/// flock(2): a mandatory lock; ignored.
pub const LOCK_MAND: u32 = 32;

/// `struct flock`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Flock {
    /// `F_RDLCK`, `F_WRLCK` or `F_UNLCK`.
    pub l_type: i16,
    /// What `l_start` counts from: `SEEK_*`.
    pub l_whence: i16,
    /// Not used.
    pub pad0: i32,
    /// First byte.
    pub l_start: i64,
    /// Number of bytes; 0 for all that follow, negative for those before.
    pub l_len: i64,
    /// Holder of a lock in the way; -1 if it is an open file.
    pub l_pid: i32,
    /// Not used.
    pub pad1: i32,
}

const _: () = assert!(size_of::<Flock>() == size_of::<linux_raw_sys::general::flock>());
