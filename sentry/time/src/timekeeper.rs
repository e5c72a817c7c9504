//! Linux: kernel/time/timekeeping.c. One line over the time-stamp counter serves the sentry's own readings and, through
//! the [`VvarPage`], those of the guests' vDSO, so that both agree to the nanosecond.
//!
//! No timer keeps the line fresh: it holds for at most a second, and whoever reads the clock after that, a guest by
//! making the system call, has it renewed. A renewed line starts no lower than the old one ended.

use crate::line::{Line, nanos, rate};
use platform_host::time::{HostClock, now};
use platform_host::tsc::{Sample, ahead_of_monotonic, is_invariant, rdtsc_ordered, sample};
use platform_host::vdso::Vvar;
use sentry_sync::{Mutex, level};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering, fence};

/// The page of clock parameters that guests have mapped.
pub trait VvarPage: Send + Sync {
    /// Makes the sequence count odd, with the effect of a full barrier.
    fn begin(&self);
    /// Replaces everything but the sequence count, and makes that even again.
    fn commit(&self, data: &Vvar);
}

/// The shortest stretch a rate is first taken from: two readings are some 100 ns wrong at worst, so 50 ppm.
const FIRST_BASELINE: i64 = 2_000_000;
/// A rate is used for this many times the stretch it was measured over, which bounds the error by as many readings'.
const TRUST: u64 = 4;
/// The longest a line holds.
const MAX_WINDOW: u64 = 1_000_000_000;
/// After this long without a sample, the rate is measured anew: NTP on the host may have changed it since.
const STALE: i64 = 16_000_000_000;
/// How long the old rate serves meanwhile: at 50 ppm, 1 µs.
const STALE_WINDOW: u64 = 20_000_000;
/// A line that is this far off when it is renewed casts doubt on the counter.
const DOUBT: u64 = 1_000_000;
/// So many doubts in a row and the counter is not used any more.
const MAX_DOUBTS: u32 = 8;
/// Attempts at a consistent reading before waiting for the thread that renews the line.
const SPINS: u32 = 64;
/// Clocks are taken to have kept their distance if it has changed by less than this: it is what reading them may be off.
const JITTER: i64 = 500;

/// What a reader needs, published under a sequence count.
#[derive(Default)]
struct Published {
    seq: AtomicU32,
    tsc: AtomicU64,
    max_delta: AtomicU64,
    mult: AtomicU64,
    base: AtomicI64,
}

struct State {
    line: Line,
    /// The samples the rate is taken between: one at least a second old, one at most, once there are.
    reference: Sample,
    middle: Sample,
    last: Sample,
    /// No reading was later than this, but for those from `line`.
    floor: i64,
    /// When the distances to the other clocks were last looked at.
    followed: i64,
    doubts: u32,
    page: Option<Arc<dyn VvarPage>>,
    getcpu: bool,
}

/// CLOCK_MONOTONIC and its distance to the other clocks.
pub(crate) struct Timekeeper {
    published: Published,
    usable: AtomicBool,
    /// CLOCK_REALTIME less CLOCK_MONOTONIC on the host.
    realtime: AtomicI64,
    /// CLOCK_BOOTTIME less CLOCK_MONOTONIC on the host.
    boottime: AtomicI64,
    /// What clock_settime(2) has added to CLOCK_REALTIME.
    set_realtime: AtomicI64,
    state: Mutex<State, { level::CLOCK }>,
}

impl Timekeeper {
    pub(crate) fn new() -> Timekeeper {
        let first = sample();
        Timekeeper {
            published: Published::default(),
            usable: AtomicBool::new(is_invariant()),
            realtime: AtomicI64::new(ahead_of_monotonic(HostClock::Realtime).0),
            boottime: AtomicI64::new(ahead_of_monotonic(HostClock::Boottime).0),
            set_realtime: AtomicI64::new(0),
            state: Mutex::new(State {
                line: Line::default(),
                reference: first,
                middle: first,
                last: first,
                floor: first.nanos,
                followed: first.nanos,
                doubts: 0,
                page: None,
                getcpu: false,
            }),
        }
    }

    /// CLOCK_MONOTONIC in nanoseconds.
    pub(crate) fn monotonic(&self) -> i64 {
        self.published.read(rdtsc_ordered).unwrap_or_else(|| self.update())
    }

    /// CLOCK_REALTIME less CLOCK_MONOTONIC.
    pub(crate) fn realtime_offset(&self) -> i64 {
        self.realtime.load(Ordering::Relaxed).saturating_add(self.set_realtime.load(Ordering::Relaxed))
    }

    /// CLOCK_BOOTTIME less CLOCK_MONOTONIC.
    pub(crate) fn boottime_offset(&self) -> i64 {
        self.boottime.load(Ordering::Relaxed)
    }

    /// Adds to CLOCK_REALTIME.
    pub(crate) fn adjust_realtime(&self, delta: i64) {
        let mut state = self.state.lock();
        let sum = self.set_realtime.load(Ordering::Relaxed).saturating_add(delta);
        self.set_realtime.store(sum, Ordering::Relaxed);
        let line = state.line;
        self.publish(&mut state, |_| line);
    }

    /// Has guests read the clocks from `page`, from now on.
    pub(crate) fn attach(&self, page: Arc<dyn VvarPage>, getcpu: bool) {
        let mut state = self.state.lock();
        state.page = Some(page);
        state.getcpu = getcpu;
        let line = state.line;
        self.publish(&mut state, |_| line);
    }

    /// Renews the line, if there can be one, and reads CLOCK_MONOTONIC.
    #[cold]
    fn update(&self) -> i64 {
        let mut state = self.state.lock();
        // Another thread may have done it meanwhile.
        if let Some(nanos) = self.published.read(rdtsc_ordered) {
            return nanos;
        }
        let usable = self.usable.load(Ordering::Relaxed);
        let next = usable.then(sample).and_then(|s| Some((s, state.next_rate(s)?)));
        if usable && state.doubts > MAX_DOUBTS {
            self.usable.store(false, Ordering::Relaxed);
            self.publish(&mut state, |_| Line::default());
            return state.host_monotonic();
        }
        self.follow_host(&mut state);
        let Some((sample, (mult, window))) = next else {
            return state.host_monotonic();
        };
        self.renew(&mut state, sample, mult, window);
        state.line.base
    }

    /// Starts a new line, now, from what the host's clock showed at `sample`.
    fn renew(&self, state: &mut State, sample: Sample, mult: u64, window: u64) {
        let floor = state.floor;
        self.publish(state, |old| {
            let tsc = rdtsc_ordered();
            let host = sample.nanos.saturating_add(nanos(tsc.saturating_sub(sample.tsc), mult));
            Line::new(tsc, host, old.last_read(tsc).max(floor), mult, window)
        });
    }

    /// Notes where the host's other clocks stand, at most once in a window.
    fn follow_host(&self, state: &mut State) {
        let window = i64::try_from(MAX_WINDOW).unwrap_or(i64::MAX);
        if state.last.nanos.saturating_sub(state.followed) < window {
            return;
        }
        state.followed = state.last.nanos;
        for (clock, offset) in [(HostClock::Realtime, &self.realtime), (HostClock::Boottime, &self.boottime)]
        {
            let (ahead, uncertain) = ahead_of_monotonic(clock);
            let moved = ahead.saturating_sub(offset.load(Ordering::Relaxed));
            if moved.saturating_abs() > uncertain.saturating_add(JITTER) {
                offset.store(ahead, Ordering::Relaxed);
            }
        }
    }

    /// Replaces the line with what `next` makes of it. From before `next` is called until both pages are replaced,
    /// nobody reads: so what anybody has read from the old line was read at a lower counter than `next` sees.
    fn publish(&self, state: &mut State, next: impl FnOnce(&Line) -> Line) {
        if let Some(page) = &state.page {
            page.begin();
        }
        let p = &self.published;
        let seq = p.seq.load(Ordering::Relaxed);
        p.seq.store(seq.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let line = next(&state.line);
        // Where the old line's last reader may have been, for when there is no line to go on from.
        state.floor = state.floor.max(state.line.last_read(rdtsc_ordered()));
        state.line = line;
        p.tsc.store(line.tsc, Ordering::Relaxed);
        p.max_delta.store(line.max_delta, Ordering::Relaxed);
        p.mult.store(line.mult, Ordering::Relaxed);
        p.base.store(line.base, Ordering::Relaxed);
        p.seq.store(seq.wrapping_add(2), Ordering::Release);
        if let Some(page) = &state.page {
            page.commit(&self.vvar(line, state.getcpu));
        }
    }

    /// The parameters as guests read them. A clock that stands before its epoch is left to the system call, and all
    /// are while there is no line.
    fn vvar(&self, line: Line, getcpu: bool) -> Vvar {
        let mut vvar = Vvar {
            tsc: line.tsc,
            max_delta: line.max_delta,
            mult: line.mult,
            getcpu: getcpu.into(),
            ..Vvar::default()
        };
        let realtime = line.base.saturating_add(self.realtime_offset());
        let boottime = line.base.saturating_add(self.boottime_offset());
        // By id, fine and coarse: the latter are as fine here.
        let clocks = [(0, realtime), (1, line.base), (5, realtime), (6, line.base), (7, boottime)];
        for (id, base) in clocks {
            let slot = vvar.base.get_mut(id);
            if let (Some(slot), Ok(base), true) = (slot, u64::try_from(base), line.mult != 0) {
                *slot = base;
                vvar.clocks |= 1 << id;
            }
        }
        vvar
    }
}

impl Published {
    /// Nanoseconds, if the line still holds. `tsc` reads the counter, and orders itself.
    fn read(&self, tsc: impl Fn() -> u64) -> Option<i64> {
        for _ in 0..SPINS {
            let seq = self.seq.load(Ordering::Acquire);
            let line = Line {
                tsc: self.tsc.load(Ordering::Relaxed),
                max_delta: self.max_delta.load(Ordering::Relaxed),
                mult: self.mult.load(Ordering::Relaxed),
                base: self.base.load(Ordering::Relaxed),
            };
            let tsc = tsc();
            fence(Ordering::Acquire);
            if seq & 1 == 0 && self.seq.load(Ordering::Relaxed) == seq {
                return line.at(tsc).filter(|_| line.mult != 0);
            }
            std::hint::spin_loop();
        }
        None
    }
}

impl State {
    /// The host's CLOCK_MONOTONIC, but nothing earlier than what was read before. There must be no line that still
    /// holds.
    fn host_monotonic(&mut self) -> i64 {
        let host = now(HostClock::Monotonic);
        self.last.nanos = host;
        self.floor = self.floor.max(self.line.last_read(rdtsc_ordered())).max(host);
        self.floor
    }

    /// Takes a sample in; the rate from here on, and for how many nanoseconds to trust it. `None` until there is one.
    fn next_rate(&mut self, sample: Sample) -> Option<(u64, u64)> {
        let known = (self.line.mult != 0).then_some(self.line.mult);
        let idle = sample.nanos.saturating_sub(self.last.nanos) > STALE;
        let off = self.line.beyond(sample.tsc).abs_diff(sample.nanos);
        self.doubts = if known.is_some() && !idle && off > DOUBT { self.doubts + 1 } else { 0 };
        self.last = sample;
        if !idle && sample.nanos.saturating_sub(self.reference.nanos) >= FIRST_BASELINE {
            if let Some(mult) = rate(self.reference, sample) {
                let baseline = sample.nanos.abs_diff(self.reference.nanos);
                if sample.nanos.saturating_sub(self.middle.nanos) >= 1_000_000_000 {
                    self.reference = std::mem::replace(&mut self.middle, sample);
                }
                return Some((mult, baseline.saturating_mul(TRUST).min(MAX_WINDOW)));
            }
            // The counter was set back, or is none.
            self.doubts += 1;
            (self.reference, self.middle) = (sample, sample);
            return None;
        }
        if idle {
            (self.reference, self.middle) = (sample, sample);
        }
        known.map(|mult| (mult, STALE_WINDOW))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform_host::vdso::CLOCKS;

    /// 2.5 GHz.
    const RATE: u64 = (1 << 32) * 2 / 5;
    const MS: i64 = 1_000_000;

    fn state() -> State {
        let start = at(0, 0);
        State {
            line: Line::default(),
            reference: start,
            middle: start,
            last: start,
            floor: 0,
            followed: 0,
            doubts: 0,
            page: None,
            getcpu: false,
        }
    }

    /// A sample at a number of milliseconds, with the counter `off` nanoseconds wrong.
    fn at(ms: i64, off: i64) -> Sample {
        Sample { tsc: (1u64 << 60).wrapping_add_signed((ms * MS + off) * 5 / 2), nanos: ms * MS }
    }

    fn near(mult: u64) -> bool {
        mult.abs_diff(RATE) < RATE / 10_000
    }

    #[test]
    fn trust_grows_with_the_stretch_measured() {
        let mut s = state();
        assert_eq!(s.next_rate(at(1, 0)), None);
        let mut window = 0;
        for (ms, expected) in [(2, 8), (10, 40), (50, 200), (300, 1000), (1300, 1000), (2300, 1000)] {
            let (mult, ns) = s.next_rate(at(ms, 0)).unwrap_or_default();
            assert!(near(mult) && ns >= window);
            window = ns;
            assert_eq!(ns, expected * MS.unsigned_abs());
            s.line = Line { mult, max_delta: u64::MAX, tsc: at(ms, 0).tsc, base: ms * MS };
        }
        assert_eq!((s.reference.nanos, s.middle.nanos), (1300 * MS, 2300 * MS));
        assert_eq!(s.doubts, 0);
    }

    #[test]
    fn after_a_long_rest_the_rate_is_measured_anew() {
        let mut s = state();
        s.line = Line { mult: RATE, max_delta: 1, tsc: at(0, 0).tsc, base: 0 };
        assert_eq!(s.next_rate(at(3_600_000, 40 * MS)), Some((RATE, STALE_WINDOW)));
        assert_eq!(s.doubts, 0);
        assert_eq!(s.reference.nanos, 3_600_000 * MS);
        let (_, window) = s.next_rate(at(3_600_025, 40 * MS)).unwrap_or_default();
        assert_eq!(window, 100 * MS.unsigned_abs());
    }

    #[test]
    fn a_counter_that_jumps_about_falls_into_doubt() {
        let mut s = state();
        for round in 1..=i64::from(MAX_DOUBTS) + 1 {
            s.line = Line { mult: RATE, max_delta: 1, tsc: at(round * 500, 0).tsc, base: round * 500 * MS };
            assert_eq!(i64::from(s.doubts), round - 1);
            s.next_rate(at(round * 500 + 400, if round % 2 == 0 { -3 } else { 5 } * MS));
        }
        assert!(s.doubts > MAX_DOUBTS);
        // Set back, there is no rate to be had.
        let mut s = state();
        assert_eq!(s.next_rate(at(500, -600 * MS)), None);
        assert_eq!(s.reference.nanos, 500 * MS);
    }

    #[test]
    fn readers_never_go_back_while_the_line_is_renewed_all_the_time() {
        let t = Timekeeper::new();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut last = 0;
                    while !done.load(Ordering::Relaxed) {
                        let nanos = t.monotonic();
                        assert!(nanos >= last, "{last} then {nanos}");
                        last = nanos;
                    }
                });
            }
            let first = sample();
            while rate(first, sample()).is_none() || sample().nanos - first.nanos < 20 * MS {
                std::hint::spin_loop();
            }
            let mult = rate(first, sample()).unwrap_or(0);
            for round in 0..200_000u64 {
                // Up to 1000 ppm too fast or too slow, over windows of which some run out.
                let wrong = mult - mult / 1000 + mult / 50_000 * (round * 7919 % 100);
                t.renew(&mut t.state.lock(), sample(), wrong, 500 + round * 104_729 % 100_000);
            }
            done.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn clocks_before_their_epoch_and_clocks_without_a_line_are_not_published() {
        let t = Timekeeper::new();
        assert_eq!(t.vvar(Line::default(), true).clocks, 0);
        let line = Line { tsc: 1, max_delta: 2, mult: RATE, base: 10 };
        t.realtime.store(-11, Ordering::Relaxed);
        t.boottime.store(5, Ordering::Relaxed);
        let vvar = t.vvar(line, true);
        assert_eq!(vvar.clocks, 1 << 1 | 1 << 6 | 1 << 7);
        let mut base = [0; CLOCKS];
        (base[1], base[6], base[7]) = (10, 10, 15);
        assert_eq!((vvar.base, vvar.getcpu), (base, 1));
    }
}
