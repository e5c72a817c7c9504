//! Linux: include/uapi/linux/sem.h and arch/x86/include/uapi/asm/sembuf.h.

use crate::ipc::Ipc64Perm;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Undo the operation when the process ends.
pub const SEM_UNDO: i16 = 0x1000;

/// Process that changed a semaphore last.
pub const GETPID: i32 = 11;
/// Value of a semaphore.
pub const GETVAL: i32 = 12;
/// Values of all.
pub const GETALL: i32 = 13;
/// Number of those who wait for a greater value.
pub const GETNCNT: i32 = 14;
/// Number of those who wait for zero.
pub const GETZCNT: i32 = 15;
/// Set a value.
pub const SETVAL: i32 = 16;
/// Set all values.
pub const SETALL: i32 = 17;
/// As IPC_STAT, by index.
pub const SEM_STAT: i32 = 18;
/// Look at what is in use.
pub const SEM_INFO: i32 = 19;
/// As SEM_STAT, whatever the mode.
pub const SEM_STAT_ANY: i32 = 20;

/// Greatest value of a semaphore.
pub const SEMVMX: i32 = 32767;
/// Greatest adjustment at exit.
pub const SEMAEM: i32 = SEMVMX;
/// Sets a namespace may have.
pub const SEMMNI: i32 = 32000;
/// Semaphores a set may have.
pub const SEMMSL: i32 = 32000;
/// Semaphores a namespace may have.
pub const SEMMNS: i32 = SEMMNI * SEMMSL;
/// Operations of one call.
pub const SEMOPM: i32 = 500;

/// `struct sembuf`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Sembuf {
    /// Which semaphore.
    pub sem_num: u16,
    /// What is added to it; 0 waits for zero.
    pub sem_op: i16,
    /// IPC_NOWAIT, SEM_UNDO.
    pub sem_flg: i16,
}

/// `struct semid64_ds`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs)]
pub struct Semid64Ds {
    pub sem_perm: Ipc64Perm,
    pub sem_otime: i64,
    pub unused1: u64,
    pub sem_ctime: i64,
    pub unused2: u64,
    pub sem_nsems: u64,
    pub unused3: u64,
    pub unused4: u64,
}

/// `struct seminfo`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs)]
pub struct Seminfo {
    pub semmap: i32,
    pub semmni: i32,
    pub semmns: i32,
    pub semmnu: i32,
    pub semmsl: i32,
    pub semopm: i32,
    pub semume: i32,
    pub semusz: i32,
    pub semvmx: i32,
    pub semaem: i32,
}

const _: () = assert!(size_of::<Semid64Ds>() == 104 && size_of::<Sembuf>() == 6);
