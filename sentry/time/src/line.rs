//! Linux: kernel/time/timekeeping.c, `struct tk_read_base`: a clock as a straight line over the time-stamp counter.

use platform_host::tsc::Sample;

/// Nanoseconds on CLOCK_MONOTONIC as a function of the counter, for a stretch of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    /// Counter at the start.
    pub(crate) tsc: u64,
    /// Ticks for which the line holds.
    pub(crate) max_delta: u64,
    /// Nanoseconds a tick, times 2^32.
    pub(crate) mult: u64,
    /// Nanoseconds at the start.
    pub(crate) base: i64,
}

/// The counter's rates that are believed: 100 MHz to 20 GHz, as nanoseconds a tick times 2^32.
const MULT: std::ops::RangeInclusive<u64> = (1 << 32) / 20..=10 << 32;

impl Line {
    /// Nanoseconds at `tsc`, where the line holds.
    pub(crate) fn at(&self, tsc: u64) -> Option<i64> {
        let delta = tsc.wrapping_sub(self.tsc);
        (delta <= self.max_delta).then(|| self.base.saturating_add(nanos(delta, self.mult)))
    }

    /// Nanoseconds at `tsc` if the line went on.
    pub(crate) fn beyond(&self, tsc: u64) -> i64 {
        self.base.saturating_add(nanos(tsc.saturating_sub(self.tsc), self.mult))
    }

    /// The latest time anybody can have read from the line when the counter is at `tsc`.
    pub(crate) fn last_read(&self, tsc: u64) -> i64 {
        self.base.saturating_add(nanos(tsc.saturating_sub(self.tsc).min(self.max_delta), self.mult))
    }

    /// A line that starts at `tsc`, where the host's clock shows `host`, and holds for `window` nanoseconds. It starts
    /// at `floor` if that is later, and then runs slower, so as to meet the host's clock at its end; but not slower
    /// than half as fast.
    pub(crate) fn new(tsc: u64, host: i64, floor: i64, mult: u64, window: u64) -> Line {
        let ahead = u64::try_from(floor.saturating_sub(host)).unwrap_or(0).min(window / 2);
        let slowed = u128::from(mult) * u128::from(window - ahead) / u128::from(window.max(1));
        let max_delta = (u128::from(window) << 32) / u128::from(mult.max(1));
        Line {
            tsc,
            max_delta: u64::try_from(max_delta).unwrap_or(0),
            mult: u64::try_from(slowed).unwrap_or(mult),
            base: host.max(floor),
        }
    }
}

/// Ticks as nanoseconds.
pub(crate) fn nanos(ticks: u64, mult: u64) -> i64 {
    i64::try_from((u128::from(ticks) * u128::from(mult)) >> 32).unwrap_or(i64::MAX)
}

/// The rate between two samples, if it is one that a counter can have.
pub(crate) fn rate(from: Sample, to: Sample) -> Option<u64> {
    let nanos = u128::try_from(to.nanos.checked_sub(from.nanos)?).ok()?;
    let ticks = u128::from(to.tsc.checked_sub(from.tsc)?);
    let mult = u64::try_from((nanos << 32).checked_div(ticks)?).ok()?;
    MULT.contains(&mult).then_some(mult)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2.5 GHz.
    const RATE: u64 = (1 << 32) * 2 / 5;

    #[test]
    fn a_line_holds_for_its_window_only() {
        let line = Line::new(1000, 500, 0, RATE, 1_000_000);
        assert_eq!(line.at(1000), Some(500));
        assert_eq!(line.at(999), None);
        assert!(line.at(1000 + 2_500_000).is_some());
        assert_eq!(line.at(1000 + 2_500_010), None);
        assert_eq!(line.last_read(u64::MAX), line.at(1000 + line.max_delta).unwrap_or(0));
        assert_eq!(line.last_read(0), 500);
    }

    #[test]
    fn a_line_that_is_ahead_meets_the_host_at_its_end() {
        let (host, window) = (10_000_000, 1_000_000);
        let line = Line::new(0, host, host + 1000, RATE, window);
        assert_eq!(line.at(0), Some(host + 1000));
        let end = line.at(line.max_delta).unwrap_or(0);
        assert!((end - host - 1_000_000).abs() <= 1, "{end}");
        let far = Line::new(0, host, host * 10, RATE, window);
        assert_eq!(far.mult, RATE / 2);
    }

    #[test]
    fn absurd_rates_are_not_believed() {
        let sample = |tsc, nanos| Sample { tsc, nanos };
        assert_eq!(rate(sample(0, 0), sample(2500, 1000)), Some(RATE));
        assert_eq!(rate(sample(0, 0), sample(0, 1000)), None);
        assert_eq!(rate(sample(10, 0), sample(0, 1000)), None);
        assert_eq!(rate(sample(0, 10), sample(10, 0)), None);
        assert_eq!(rate(sample(0, 0), sample(1, 1000)), None);
        assert_eq!(rate(sample(0, 0), sample(1000, 1)), None);
    }
}
