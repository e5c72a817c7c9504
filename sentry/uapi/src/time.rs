//! Linux: include/uapi/linux/time_types.h.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct timespec` with 64-bit fields.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Timespec {
    /// Seconds.
    pub tv_sec: i64,
    /// Nanoseconds, below a thousand million in a valid value.
    pub tv_nsec: i64,
}

/// `struct timeval`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Timeval {
    /// Seconds.
    pub tv_sec: i64,
    /// Microseconds.
    pub tv_usec: i64,
}

/// Nanoseconds in a second.
pub const NSEC_PER_SEC: i64 = 1_000_000_000;

impl Timespec {
    /// From a count of nanoseconds.
    pub const fn from_nanos(ns: i64) -> Timespec {
        Timespec { tv_sec: ns.div_euclid(NSEC_PER_SEC), tv_nsec: ns.rem_euclid(NSEC_PER_SEC) }
    }

    /// As nanoseconds, saturated. Linux: `timespec64_to_ns` with `KTIME_MAX` as the limit.
    pub const fn to_nanos(self) -> i64 {
        self.tv_sec.saturating_mul(NSEC_PER_SEC).saturating_add(self.tv_nsec)
    }

    /// Whether both fields are in range and the time is not negative. Linux: `timespec64_valid`.
    pub const fn is_valid(self) -> bool {
        self.tv_sec >= 0 && self.tv_nsec >= 0 && self.tv_nsec < NSEC_PER_SEC
    }
}

/// `struct itimerspec` with 64-bit fields.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Itimerspec {
    /// Period; zero for a timer that runs out once.
    pub it_interval: Timespec,
    /// When it runs out first; zero disarms it.
    pub it_value: Timespec,
}

impl Itimerspec {
    /// Whether both times are valid. Linux: `itimerspec64_valid`.
    pub const fn is_valid(self) -> bool {
        self.it_interval.is_valid() && self.it_value.is_valid()
    }
}

/// Wall-clock time.
pub const CLOCK_REALTIME: i32 = 0;
/// Time since boot, without suspension.
pub const CLOCK_MONOTONIC: i32 = 1;
/// Time since boot, with suspension.
pub const CLOCK_BOOTTIME: i32 = 7;
/// As CLOCK_REALTIME; its timers wake a suspended system.
pub const CLOCK_REALTIME_ALARM: i32 = 8;
/// As CLOCK_BOOTTIME; its timers wake a suspended system.
pub const CLOCK_BOOTTIME_ALARM: i32 = 9;
