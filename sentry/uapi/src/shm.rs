//! Linux: include/uapi/linux/shm.h and include/uapi/asm-generic/shmbuf.h.

use crate::ipc::Ipc64Perm;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// In huge pages.
pub const SHM_HUGETLB: i32 = 0o4000;
/// Not counted against what may be promised.
pub const SHM_NORESERVE: i32 = 0o10000;
/// Attach for reading.
pub const SHM_RDONLY: i32 = 0o10000;
/// Round the address down.
pub const SHM_RND: i32 = 0o20000;
/// Replace what is mapped there.
pub const SHM_REMAP: i32 = 0o40000;
/// Attach for executing.
pub const SHM_EXEC: i32 = 0o100_000;

/// Keep in memory.
pub const SHM_LOCK: i32 = 11;
/// Undo SHM_LOCK.
pub const SHM_UNLOCK: i32 = 12;
/// As IPC_STAT, by index.
pub const SHM_STAT: i32 = 13;
/// Look at what is in use.
pub const SHM_INFO: i32 = 14;
/// As SHM_STAT, whatever the mode.
pub const SHM_STAT_ANY: i32 = 15;

/// In the mode: goes with the last attachment.
pub const SHM_DEST: u32 = 0o1000;
/// In the mode: kept in memory.
pub const SHM_LOCKED: u32 = 0o2000;

/// Segments a namespace may have.
pub const SHMMNI: i32 = 4096;
/// Bytes a segment may have.
pub const SHMMAX: u64 = u64::MAX - (1 << 24);
/// Pages a namespace may have.
pub const SHMALL: u64 = u64::MAX - (1 << 24);

/// `struct shmid64_ds`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs)]
pub struct Shmid64Ds {
    pub shm_perm: Ipc64Perm,
    pub shm_segsz: u64,
    pub shm_atime: i64,
    pub shm_dtime: i64,
    pub shm_ctime: i64,
    pub shm_cpid: i32,
    pub shm_lpid: i32,
    pub shm_nattch: u64,
    pub unused: [u64; 2],
}

/// `struct shminfo64`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs)]
pub struct Shminfo64 {
    pub shmmax: u64,
    pub shmmin: u64,
    pub shmmni: u64,
    pub shmseg: u64,
    pub shmall: u64,
    pub unused: [u64; 4],
}

/// `struct shm_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs)]
pub struct ShmInfo {
    pub used_ids: i32,
    pub pad: u32,
    pub shm_tot: u64,
    pub shm_rss: u64,
    pub shm_swp: u64,
    pub swap_attempts: u64,
    pub swap_successes: u64,
}

const _: () = assert!(size_of::<Shmid64Ds>() == 112 && size_of::<ShmInfo>() == 48);
