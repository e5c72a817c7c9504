//! Linux: kernel/sched/syscalls.c. Which processors a host thread may run on.

use crate::call::check_int;
use sentry_uapi::Errno;

/// A set of processors, as `cpu_set_t` has it (processors above 1023 are left out).
#[derive(Clone, Copy)]
pub struct CpuSet(libc::cpu_set_t);

impl CpuSet {
    /// The set without members.
    pub fn empty() -> CpuSet {
        // SAFETY: cpu_set_t is an array of integers, for which all bits zero is a value.
        CpuSet(unsafe { std::mem::zeroed() })
    }

    /// The set of one processor.
    pub fn single(cpu: u16) -> CpuSet {
        let mut set = CpuSet::empty();
        if usize::from(cpu) < Self::capacity() {
            // SAFETY: the index was checked against the size of the set.
            unsafe { libc::CPU_SET(usize::from(cpu), &mut set.0) };
        }
        set
    }

    /// The members, in ascending order.
    pub fn members(&self) -> Vec<u16> {
        let isset = |cpu: &u16| {
            // SAFETY: the index is below the size of the set.
            unsafe { libc::CPU_ISSET(usize::from(*cpu), &self.0) }
        };
        (0..u16::try_from(Self::capacity()).unwrap_or(u16::MAX)).filter(isset).collect()
    }

    fn capacity() -> usize {
        size_of::<libc::cpu_set_t>() * 8
    }
}

/// The processors thread `tid` may run on; 0 is the calling thread.
///
/// # Errors
/// As for sched_getaffinity(2).
pub fn get(tid: i32) -> Result<CpuSet, Errno> {
    let mut set = CpuSet::empty();
    // SAFETY: the set is written within its size.
    check_int(unsafe { libc::sched_getaffinity(tid, size_of::<libc::cpu_set_t>(), &mut set.0) })?;
    Ok(set)
}

/// Restricts thread `tid`, which may belong to another process, to `set`; 0 is the calling thread.
///
/// # Errors
/// As for sched_setaffinity(2).
pub fn set(tid: i32, set: &CpuSet) -> Result<(), Errno> {
    // SAFETY: the set is read within its size.
    check_int(unsafe { libc::sched_setaffinity(tid, size_of::<libc::cpu_set_t>(), &set.0) }).map(drop)
}

/// The processor the calling thread is on at this moment.
pub fn current_cpu() -> u16 {
    // SAFETY: no arguments.
    u16::try_from(unsafe { libc::sched_getcpu() }).unwrap_or(0)
}
