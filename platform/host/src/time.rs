//! clock_gettime(2) of the host, which its vDSO answers without a system call.

/// Host clocks the sentry reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostClock {
    /// CLOCK_REALTIME.
    Realtime,
    /// CLOCK_MONOTONIC.
    Monotonic,
    /// CLOCK_BOOTTIME.
    Boottime,
    /// CLOCK_THREAD_CPUTIME_ID of the calling thread.
    ThreadCpu,
}

/// Nanoseconds on a host clock.
pub fn now(clock: HostClock) -> i64 {
    let id = match clock {
        HostClock::Realtime => libc::CLOCK_REALTIME,
        HostClock::Monotonic => libc::CLOCK_MONOTONIC,
        HostClock::Boottime => libc::CLOCK_BOOTTIME,
        HostClock::ThreadCpu => libc::CLOCK_THREAD_CPUTIME_ID,
    };
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes the one structure it is given.
    unsafe { libc::clock_gettime(id, &raw mut ts) };
    ts.tv_sec * 1_000_000_000 + ts.tv_nsec
}
