//! CPU time of tasks, counted in steps of the time-stamp counter: reading a clock twice in every system call would cost
//! more than many calls do. Linux: kernel/sched/cputime.c.

use platform_host::tsc::{self, Sample};
use std::sync::OnceLock;

/// The rate is fixed after this time, in nanoseconds, from when on it is exact enough.
const SETTLED: i64 = 20_000_000;

/// Turns steps of the counter into time.
pub(crate) struct CpuClock {
    origin: Sample,
    /// Nanoseconds per step, in steps of 2 to the power of -32.
    rate: OnceLock<u64>,
}

impl CpuClock {
    /// A clock that begins to learn the counter's rate now.
    pub(crate) fn new() -> CpuClock {
        CpuClock { origin: tsc::sample(), rate: OnceLock::new() }
    }

    /// Nanoseconds that so many steps take.
    pub(crate) fn nanos(&self, ticks: u64) -> u64 {
        let rate = self.rate.get().copied().unwrap_or_else(|| self.measure());
        u64::try_from((u128::from(ticks) * u128::from(rate)) >> 32).unwrap_or(u64::MAX)
    }

    fn measure(&self) -> u64 {
        let now = tsc::sample();
        let nanos = now.nanos.saturating_sub(self.origin.nanos);
        let ticks = now.tsc.wrapping_sub(self.origin.tsc).max(1);
        let rate = (u128::from(nanos.max(1).unsigned_abs()) << 32) / u128::from(ticks);
        let rate = u64::try_from(rate).unwrap_or(u64::MAX);
        if nanos >= SETTLED { *self.rate.get_or_init(|| rate) } else { rate }
    }
}

impl Default for CpuClock {
    fn default() -> CpuClock {
        CpuClock::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn steps_become_the_time_they_took() {
        let clock = CpuClock::new();
        let (began, from) = (Instant::now(), tsc::rdtsc());
        std::thread::sleep(Duration::from_millis(60));
        let counted = Duration::from_nanos(clock.nanos(tsc::rdtsc() - from));
        let elapsed = began.elapsed();
        assert!(counted.abs_diff(elapsed) < Duration::from_millis(5), "{counted:?} for {elapsed:?}");
    }
}
