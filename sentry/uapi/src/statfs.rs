//! Linux: include/uapi/asm-generic/statfs.h and include/linux/statfs.h.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct statfs` of a 64-bit task.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs)]
pub struct Statfs {
    pub f_type: u64,
    pub f_bsize: u64,
    pub f_blocks: u64,
    pub f_bfree: u64,
    pub f_bavail: u64,
    pub f_files: u64,
    pub f_ffree: u64,
    pub f_fsid: [i32; 2],
    pub f_namelen: u64,
    pub f_frsize: u64,
    pub f_flags: u64,
    pub f_spare: [u64; 4],
}

const _: () = assert!(size_of::<Statfs>() == size_of::<linux_raw_sys::general::statfs64>());

/// Mounted read-only.
pub const ST_RDONLY: u64 = 0x1;
/// Set-ID bits have no effect.
pub const ST_NOSUID: u64 = 0x2;
/// Device nodes cannot be opened.
pub const ST_NODEV: u64 = 0x4;
/// Nothing can be executed.
pub const ST_NOEXEC: u64 = 0x8;
/// `f_flags` is filled in.
pub const ST_VALID: u64 = 0x20;
/// Access times stay.
pub const ST_NOATIME: u64 = 0x400;
/// Access times of directories stay.
pub const ST_NODIRATIME: u64 = 0x800;
/// Access times move now and then.
pub const ST_RELATIME: u64 = 0x1000;
/// Symbolic links are not followed.
pub const ST_NOSYMFOLLOW: u64 = 0x2000;
