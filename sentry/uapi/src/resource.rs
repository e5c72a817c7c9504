//! Linux: include/uapi/asm-generic/resource.h and include/uapi/linux/resource.h.

use crate::time::Timeval;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// No limit.
pub const RLIM_INFINITY: u64 = u64::MAX;
/// Number of resource limits.
pub const RLIM_NLIMITS: usize = 16;
/// CPU time in seconds.
pub const RLIMIT_CPU: usize = 0;
/// Size of a file.
pub const RLIMIT_FSIZE: usize = 1;
/// Size of the data segment.
pub const RLIMIT_DATA: usize = 2;
/// Size of the stack.
pub const RLIMIT_STACK: usize = 3;
/// Size of a core file.
pub const RLIMIT_CORE: usize = 4;
/// Resident set; not enforced.
pub const RLIMIT_RSS: usize = 5;
/// Number of processes of the user.
pub const RLIMIT_NPROC: usize = 6;
/// Number of open files.
pub const RLIMIT_NOFILE: usize = 7;
/// Locked memory.
pub const RLIMIT_MEMLOCK: usize = 8;
/// Address space.
pub const RLIMIT_AS: usize = 9;
/// Number of file locks; not enforced.
pub const RLIMIT_LOCKS: usize = 10;
/// Number of pending signals.
pub const RLIMIT_SIGPENDING: usize = 11;
/// Bytes in message queues.
pub const RLIMIT_MSGQUEUE: usize = 12;
/// Highest nice value, as 20 - nice.
pub const RLIMIT_NICE: usize = 13;
/// Highest real-time priority.
pub const RLIMIT_RTPRIO: usize = 14;
/// Real-time CPU time without blocking, in microseconds.
pub const RLIMIT_RTTIME: usize = 15;

/// `struct rlimit64`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Rlimit {
    /// The limit in force.
    pub cur: u64,
    /// How far it may be raised.
    pub max: u64,
}

/// `struct rusage`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs)]
pub struct Rusage {
    pub ru_utime: Timeval,
    pub ru_stime: Timeval,
    pub ru_maxrss: i64,
    pub ru_ixrss: i64,
    pub ru_idrss: i64,
    pub ru_isrss: i64,
    pub ru_minflt: i64,
    pub ru_majflt: i64,
    pub ru_nswap: i64,
    pub ru_inblock: i64,
    pub ru_oublock: i64,
    pub ru_msgsnd: i64,
    pub ru_msgrcv: i64,
    pub ru_nsignals: i64,
    pub ru_nvcsw: i64,
    pub ru_nivcsw: i64,
}

const _: () = assert!(size_of::<Rusage>() == size_of::<linux_raw_sys::general::rusage>());
