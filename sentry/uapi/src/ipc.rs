//! Linux: include/uapi/linux/ipc.h and include/uapi/asm-generic/ipcbuf.h.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The key of an object that no key finds.
pub const IPC_PRIVATE: i32 = 0;
/// Make the object if there is none.
pub const IPC_CREAT: i32 = 0o1000;
/// Fail if there is one.
pub const IPC_EXCL: i32 = 0o2000;
/// Fail rather than wait.
pub const IPC_NOWAIT: i32 = 0o4000;

/// Remove the object.
pub const IPC_RMID: i32 = 0;
/// Change owner and mode.
pub const IPC_SET: i32 = 1;
/// Look at the object.
pub const IPC_STAT: i32 = 2;
/// Look at the limits.
pub const IPC_INFO: i32 = 3;

/// `struct ipc64_perm` as x86-64 has it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs)]
pub struct Ipc64Perm {
    pub key: i32,
    pub uid: u32,
    pub gid: u32,
    pub cuid: u32,
    pub cgid: u32,
    pub mode: u32,
    pub seq: u16,
    pub pad: [u16; 3],
    pub unused: [u64; 2],
}

const _: () = assert!(size_of::<Ipc64Perm>() == 48);
