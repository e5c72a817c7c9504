//! When the two sides of a hand-off look on instead of sleeping.
//!
//! Two threads that hand over through memory, each on a processor of its own, are some fifty times faster than two of
//! which one always sleeps; but each takes a processor, and one that somebody else could use. So a context is *hot* only
//! while it traps in quick succession, while there are two processors that no other hot context has claimed, and while
//! nobody else turns up there, which shows as a gap in the time-stamp counter of whoever looks on. Looking on ends after
//! [`BUDGET`]: a guest that computes or sleeps keeps nobody awake. A context that had to give up being hot waits before it
//! tries again, twice as long each time.
//!
//! A context that is not hot sleeps at every hand-off. The host's scheduler then keeps the pair on one processor, where
//! waking is cheapest.

use crate::thread::StubThread;
use platform::PlatformError;
use platform_host::affinity::{self, CpuSet};
use platform_host::tsc;
use std::arch::x86_64::_rdtsc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// How long either side looks on: about what it costs to wake a thread on another processor.
const BUDGET: Duration = Duration::from_micros(25);
/// A gap in the counter from which on somebody else has had the processor.
const GAP: Duration = Duration::from_micros(8);
/// Quick turns in a row that make a context hot.
const QUICK_TURNS: u32 = 24;
/// Turns in a row in which somebody has gone to sleep that end it.
const MAX_SLEEPS: u32 = 3;
/// Gaps in a row that end it.
const MAX_GAPS: u32 = 4;
/// Bounds of the time before the next try.
const MIN_PAUSE: Duration = Duration::from_millis(1);
const MAX_PAUSE: Duration = Duration::from_millis(250);

/// The times above in steps of the time-stamp counter.
#[derive(Clone, Copy)]
struct Ticks {
    budget: u64,
    gap: u64,
    min_pause: u64,
    max_pause: u64,
}

/// What all contexts of a platform know of each other.
pub(crate) struct Processors {
    cpus: Vec<u16>,
    everywhere: CpuSet,
    /// Whether a hot context has claimed the processor of the same index.
    claimed: Vec<AtomicBool>,
    /// Contexts in guest code, for all the sentry knows.
    in_guest: AtomicUsize,
    ticks: Ticks,
}

impl Processors {
    /// Those the calling thread may use.
    pub(crate) fn new() -> Result<Processors, PlatformError> {
        let everywhere =
            affinity::get(0).map_err(|errno| PlatformError::Host { what: "sched_getaffinity", errno })?;
        let cpus = everywhere.members();
        let claimed = cpus.iter().map(|_| AtomicBool::new(false)).collect();
        let per_micro = ticks_per_micro();
        let ticks = |time: Duration| per_micro.saturating_mul(u64::try_from(time.as_micros()).unwrap_or(0));
        let ticks = Ticks {
            budget: ticks(BUDGET),
            gap: ticks(GAP),
            min_pause: ticks(MIN_PAUSE),
            max_pause: ticks(MAX_PAUSE),
        };
        Ok(Processors { cpus, everywhere, claimed, in_guest: AtomicUsize::new(0), ticks })
    }

    /// Where threads run as the host's scheduler likes.
    pub(crate) fn everywhere(&self) -> &CpuSet {
        &self.everywhere
    }

    fn claim(&self, index: usize) -> bool {
        self.claimed.get(index).is_some_and(|claimed| !claimed.swap(true, Ordering::Relaxed))
    }

    fn release(&self, index: usize) {
        if let Some(claimed) = self.claimed.get(index) {
            claimed.store(false, Ordering::Relaxed);
        }
    }

    /// Claims the caller's processor and another one, if that leaves enough for those who are in guest code.
    fn claim_two(&self) -> Option<[usize; 2]> {
        let taken = self.claimed.iter().filter(|claimed| claimed.load(Ordering::Relaxed)).count();
        // Each hot pair is in guest code at most half of the time, and its processors are counted already.
        let others = self.in_guest.load(Ordering::Relaxed).saturating_sub(taken / 2);
        if taken + others + 2 > self.cpus.len() {
            return None;
        }
        let here = affinity::current_cpu();
        let own = self.cpus.iter().position(|cpu| *cpu == here)?;
        if !self.claim(own) {
            return None;
        }
        // From the other end, so that pairs that start together rarely meet.
        let other = (0..self.cpus.len()).rev().find(|index| self.claim(*index));
        if other.is_none() {
            self.release(own);
        }
        other.map(|other| [own, other])
    }
}

fn now() -> u64 {
    // SAFETY: reads a counter, which user mode may.
    unsafe { _rdtsc() }
}

/// Steps of the counter in a microsecond, at least 1.
fn ticks_per_micro() -> u64 {
    const SPAN_NANOS: i64 = 200_000;
    let first = tsc::sample();
    loop {
        let last = tsc::sample();
        let nanos = last.nanos.saturating_sub(first.nanos);
        if nanos >= SPAN_NANOS {
            let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
            return (last.tsc.wrapping_sub(first.tsc).saturating_mul(1000) / nanos).max(1);
        }
        std::hint::spin_loop();
    }
}

/// The pace of one context.
#[derive(Default)]
pub(crate) struct Pace {
    /// The processors claimed, while the context is hot.
    hot: Option<[usize; 2]>,
    /// Quick turns in a row while it is not; sleeps and gaps in a row while it is.
    quick: u32,
    sleeps: u32,
    gaps: u32,
    /// When the guest was last let go, and when it last came back.
    released: u64,
    trapped: u64,
    /// When the context became hot.
    since: u64,
    /// Not to be tried again before this.
    pause: u64,
    pause_until: u64,
}

impl Pace {
    /// To be called before the thread is let go. Gives how long the stub may look on at its next trap, in ticks.
    pub(crate) fn before_release(
        &mut self,
        processors: &Processors,
        thread: &StubThread,
        stub_sleeps: bool,
    ) -> u32 {
        let ticks = processors.ticks;
        let start = now();
        let turn = start.wrapping_sub(self.trapped);
        self.released = start;
        if self.hot.is_some() {
            self.sleeps = if stub_sleeps { self.sleeps + 1 } else { self.sleeps };
            if self.sleeps >= MAX_SLEEPS || self.gaps >= MAX_GAPS {
                self.cool(processors, thread);
            }
        } else if turn > ticks.budget {
            self.quick = 0;
        } else if self.quick >= QUICK_TURNS && start.wrapping_sub(self.pause_until).cast_signed() >= 0 {
            self.heat(processors, thread, start);
        }
        processors.in_guest.fetch_add(1, Ordering::Relaxed);
        if self.hot.is_some() { u32::try_from(ticks.budget).unwrap_or(u32::MAX) } else { 0 }
    }

    /// Looks on until `is_back`, within the budget, if the context is hot. Tells whether it came true.
    pub(crate) fn look_on(&mut self, processors: &Processors, is_back: impl Fn() -> bool) -> bool {
        if self.hot.is_none() {
            return false;
        }
        let ticks = processors.ticks;
        let mut last = self.released;
        loop {
            if is_back() {
                self.sleeps = 0;
                self.gaps = 0;
                return true;
            }
            std::hint::spin_loop();
            let time = now();
            if time.wrapping_sub(last) > ticks.gap {
                self.gaps += 1;
            }
            last = time;
            if time.wrapping_sub(self.released) > ticks.budget {
                self.sleeps += 1;
                return false;
            }
        }
    }

    /// To be called when the thread is back.
    pub(crate) fn after_trap(&mut self, processors: &Processors) {
        processors.in_guest.fetch_sub(1, Ordering::Relaxed);
        self.trapped = now();
        let quick = self.trapped.wrapping_sub(self.released) <= processors.ticks.budget;
        self.quick = if quick { self.quick.saturating_add(1) } else { 0 };
    }

    fn heat(&mut self, processors: &Processors, thread: &StubThread, start: u64) {
        let Some(claim) = processors.claim_two() else {
            self.back_off(processors, start);
            return;
        };
        let cpu = processors.cpus.get(claim[1]).copied().unwrap_or(0);
        // The host thread is left where it is: whatever it starts would inherit a binding.
        let _ = affinity::set(thread.tid, &CpuSet::single(cpu));
        (self.hot, self.since, self.sleeps, self.gaps) = (Some(claim), start, 0, 0);
    }

    /// Ends being hot, if the context is.
    pub(crate) fn cool(&mut self, processors: &Processors, thread: &StubThread) {
        let Some(claim) = self.hot.take() else { return };
        claim.into_iter().for_each(|index| processors.release(index));
        let _ = affinity::set(thread.tid, &processors.everywhere);
        let end = now();
        if end.wrapping_sub(self.since) > processors.ticks.max_pause {
            self.pause = 0;
        }
        self.back_off(processors, end);
    }

    fn back_off(&mut self, processors: &Processors, start: u64) {
        let Ticks { min_pause, max_pause, .. } = processors.ticks;
        self.pause = (self.pause * 2).clamp(min_pause, max_pause);
        self.pause_until = start.wrapping_add(self.pause);
        self.quick = 0;
    }
}
