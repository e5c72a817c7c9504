//! Linux: kernel/time/timekeeping.c.

use platform_host::time::{HostClock, now};
use sentry_uapi::time::Timespec;
use std::sync::atomic::{AtomicI64, Ordering};

enum Source {
    Host,
    /// Nanoseconds of the monotonic clock, moved by hand.
    Scripted(AtomicI64),
}

/// The clocks of one kernel. All values are nanoseconds unless said otherwise.
pub struct Clocks {
    source: Source,
    /// What clock_settime(2) has added to the real-time clock.
    realtime_offset: AtomicI64,
    boot: i64,
}

/// Where a scripted real-time clock stands when the monotonic one is 0: 2020-01-01.
const SCRIPTED_EPOCH: i64 = 1_577_836_800_000_000_000;

impl Clocks {
    /// Clocks that follow the host's.
    pub fn host() -> Clocks {
        Clocks { source: Source::Host, realtime_offset: AtomicI64::new(0), boot: now(HostClock::Monotonic) }
    }

    /// Clocks that stand still until [`Clocks::advance`].
    pub fn scripted() -> Clocks {
        Clocks { source: Source::Scripted(AtomicI64::new(0)), realtime_offset: AtomicI64::new(0), boot: 0 }
    }

    /// CLOCK_MONOTONIC.
    pub fn monotonic(&self) -> i64 {
        match &self.source {
            Source::Host => now(HostClock::Monotonic),
            Source::Scripted(t) => t.load(Ordering::Relaxed),
        }
    }

    /// CLOCK_BOOTTIME.
    pub fn boottime(&self) -> i64 {
        match &self.source {
            Source::Host => now(HostClock::Boottime),
            Source::Scripted(t) => t.load(Ordering::Relaxed),
        }
    }

    /// CLOCK_REALTIME.
    pub fn realtime_nanos(&self) -> i64 {
        let base = match &self.source {
            Source::Host => now(HostClock::Realtime),
            Source::Scripted(t) => SCRIPTED_EPOCH + t.load(Ordering::Relaxed),
        };
        base.saturating_add(self.realtime_offset.load(Ordering::Relaxed))
    }

    /// CLOCK_REALTIME, for file times. Linux: `ktime_get_coarse_real_ts64`, here as fine as the clock is.
    pub fn realtime(&self) -> Timespec {
        Timespec::from_nanos(self.realtime_nanos())
    }

    /// Sets CLOCK_REALTIME of this kernel.
    pub fn set_realtime(&self, nanos: i64) {
        let delta = nanos.saturating_sub(self.realtime_nanos());
        self.realtime_offset.fetch_add(delta, Ordering::Relaxed);
    }

    /// CLOCK_MONOTONIC when the kernel was made.
    pub fn boot(&self) -> i64 {
        self.boot
    }

    /// Moves scripted clocks on; clocks that follow the host take no notice.
    pub fn advance(&self, nanos: i64) {
        if let Source::Scripted(t) = &self.source {
            t.fetch_add(nanos, Ordering::Relaxed);
        }
    }
}
