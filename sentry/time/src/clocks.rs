//! Linux: kernel/time/timekeeping.c.

use crate::ntp::Ntp;
use crate::timekeeper::{Timekeeper, VvarPage};
use sentry_sync::{Mutex, level};
use sentry_uapi::time::Timespec;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

enum Source {
    Host(Box<Timekeeper>),
    Scripted {
        /// Nanoseconds of the monotonic clock, moved by hand.
        now: AtomicI64,
        /// How far the real-time clock is ahead of it.
        realtime: AtomicI64,
    },
}

/// The clocks of one kernel. All values are nanoseconds unless said otherwise.
pub struct Clocks {
    source: Source,
    boot: i64,
    pub(crate) ntp: Mutex<Ntp, { level::LEAF }>,
}

/// Where a scripted real-time clock stands when the monotonic one is 0: 2020-01-01.
const SCRIPTED_EPOCH: i64 = 1_577_836_800_000_000_000;

impl Clocks {
    /// Clocks that follow the host's.
    pub fn host() -> Clocks {
        let timekeeper = Box::new(Timekeeper::new());
        let boot = timekeeper.monotonic();
        Clocks { source: Source::Host(timekeeper), boot, ntp: Mutex::new(Ntp::new()) }
    }

    /// Clocks that stand still until [`Clocks::advance`].
    pub fn scripted() -> Clocks {
        let source = Source::Scripted { now: AtomicI64::new(0), realtime: AtomicI64::new(SCRIPTED_EPOCH) };
        Clocks { source, boot: 0, ntp: Mutex::new(Ntp::new()) }
    }

    /// Has guests read these clocks from `page`, instead of from one attached before. `getcpu` says that `rdtscp` gives
    /// them the number of their CPU. Scripted clocks leave the page alone, so that every reading is a system call.
    pub fn attach_vvar(&self, page: Arc<dyn VvarPage>, getcpu: bool) {
        if let Source::Host(t) = &self.source {
            t.attach(page, getcpu);
        }
    }

    /// CLOCK_MONOTONIC.
    pub fn monotonic(&self) -> i64 {
        match &self.source {
            Source::Host(t) => t.monotonic(),
            Source::Scripted { now, .. } => now.load(Ordering::Relaxed),
        }
    }

    /// CLOCK_BOOTTIME.
    pub fn boottime(&self) -> i64 {
        match &self.source {
            Source::Host(t) => t.monotonic().saturating_add(t.boottime_offset()),
            Source::Scripted { now, .. } => now.load(Ordering::Relaxed),
        }
    }

    /// CLOCK_REALTIME.
    pub fn realtime_nanos(&self) -> i64 {
        match &self.source {
            Source::Host(t) => t.monotonic().saturating_add(t.realtime_offset()),
            Source::Scripted { now, realtime } => {
                now.load(Ordering::Relaxed).saturating_add(realtime.load(Ordering::Relaxed))
            }
        }
    }

    /// CLOCK_REALTIME, for file times. Linux: `ktime_get_coarse_real_ts64`, here as fine as the clock is.
    pub fn realtime(&self) -> Timespec {
        Timespec::from_nanos(self.realtime_nanos())
    }

    /// Sets CLOCK_REALTIME of this kernel.
    pub fn set_realtime(&self, nanos: i64) {
        let delta = nanos.saturating_sub(self.realtime_nanos());
        match &self.source {
            Source::Host(t) => t.adjust_realtime(delta),
            Source::Scripted { realtime, .. } => {
                realtime.fetch_add(delta, Ordering::Relaxed);
            }
        }
    }

    /// CLOCK_MONOTONIC when the kernel was made.
    pub fn boot(&self) -> i64 {
        self.boot
    }

    /// Moves scripted clocks on; clocks that follow the host take no notice.
    pub fn advance(&self, nanos: i64) {
        if let Source::Scripted { now, .. } = &self.source {
            now.fetch_add(nanos, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform_host::time::{HostClock, now};
    use std::time::{Duration, Instant};

    #[test]
    fn host_clocks_stay_by_the_host_and_never_go_back() {
        let clocks = Clocks::host();
        let end = Instant::now() + Duration::from_millis(1500);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut last = 0;
                    let mut worst = 0;
                    while Instant::now() < end {
                        let before = now(HostClock::Monotonic);
                        let ours = clocks.monotonic();
                        let after = now(HostClock::Monotonic);
                        assert!(ours >= last, "{last} then {ours}");
                        last = ours;
                        worst = worst.max(before - ours).max(ours - after);
                    }
                    assert!(worst < 5_000, "off by {worst} ns");
                });
            }
        });
        assert!((clocks.realtime_nanos() - now(HostClock::Realtime)).abs() < 1_000_000);
        assert!((clocks.boottime() - now(HostClock::Boottime)).abs() < 1_000_000);
    }

    #[test]
    fn setting_the_time_moves_the_real_time_clock_only() {
        for clocks in [Clocks::host(), Clocks::scripted()] {
            let monotonic = clocks.monotonic();
            clocks.set_realtime(1_000_000_000_000);
            assert!((clocks.realtime_nanos() - 1_000_000_000_000).abs() < 100_000_000);
            assert!(clocks.monotonic() - monotonic < 100_000_000);
        }
    }
}
