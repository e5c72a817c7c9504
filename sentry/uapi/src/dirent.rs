//! Linux: include/linux/dirent.h and fs/readdir.c: heads of directory entries, the name follows.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct linux_dirent` of getdents(2) without its name; the type is the last byte of the entry.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct LinuxDirent {
    /// Inode number.
    pub d_ino: u64,
    /// Position behind the entry.
    pub d_off: u64,
    /// Bytes of the entry.
    pub d_reclen: u16,
}

/// `struct linux_dirent64` of getdents64(2) without its name.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct LinuxDirent64 {
    /// Inode number.
    pub d_ino: u64,
    /// Position behind the entry.
    pub d_off: u64,
    /// Bytes of the entry.
    pub d_reclen: u16,
    /// `DT_*`.
    pub d_type: u8,
}

const _: () = assert!(size_of::<LinuxDirent64>() == 19);
const _: () = assert!(size_of::<LinuxDirent>() == 18);
