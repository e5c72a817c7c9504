//! When the two sides of a hand-off look on instead of sleeping.
//!
//! Two threads that hand over through memory, each on a processor of its own, are some fifty times faster than two of
//! which one always sleeps; but each takes a processor, and one that somebody else could use. So a context is *hot* only
//! while it traps in quick succession, while there are two processors that no other hot context has claimed, and while
//! nobody else turns up there, which shows as a gap in the time-stamp counter of whoever looks on. Looking on ends after
//! [`BUDGET`]: a guest that computes or sleeps keeps nobody awake.
//!
//! Where more contexts are quick than there are pairs of processors, they share one ([`crate::duo`]): the host threads of all
//! take turns on one processor, their stubs on the other. A call then costs as little as that of a context that has both
//! for itself, and the scheduler's slices are long beside it; handing over by sleeping, each call costs two switches.
//!
//! None of this says whether it pays. With other programs about, two threads that must run at the same time get on only
//! when both have their processors, and calls that outlast the budget wake the stub across processors. So a context has
//! an account of what it gains and loses, and gives up when that is empty; those that share have one in common. One that gave
//! up waits before it tries again, twice as long each time, unless what it gained was more than what it lost.
//!
//! A context that is not hot sleeps at every hand-off, with both sides on one processor ([`platform_placement`]), where
//! waking is cheapest.

use crate::duo::{Duo, Processors};
use crate::thread::StubThread;
use platform_host::tsc;
use platform_placement::Pair;
use std::arch::x86_64::_rdtsc;
use std::sync::Arc;
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
/// What a turn gains in which nobody sleeps, and what it loses when the stub has to be woken. A turn that outlasts the
/// budget loses all its time.
const GAIN: Duration = Duration::from_micros(6);
const WAKE: Duration = Duration::from_micros(60);
/// What a try may lose.
const STAKE: Duration = Duration::from_micros(500);
/// Most that one turn counts for: a slice of time that the scheduler gave to somebody else.
const MAX_TURN: Duration = Duration::from_millis(4);
/// Bounds of the time before the next try.
const MIN_PAUSE: Duration = Duration::from_millis(1);
const MAX_PAUSE: Duration = Duration::from_millis(1000);

/// What a turn costs whose two hand-offs are made by sleeping.
const HAND_OFF: Duration = Duration::from_micros(8);
/// What a turn takes at most, hand-offs included, of a context that gains by sharing: with less to do between its calls than
/// these cost, it gets on faster with half of a processor than with a whole one. They cost [`HAND_OFF`] where the machine has
/// nothing else to do, and half as much again where it has.
const BRISK: Duration = Duration::from_micros(20);
/// How often it is looked whether sharing pays.
const WINDOW: Duration = Duration::from_millis(2);
/// Turns that are counted at a time.
const TURNS_TOLD: u64 = 16;
/// After this time of looking on, others get their turn on the processor, where there may be some.
const YIELD: Duration = Duration::from_micros(2);

/// The times above in steps of the time-stamp counter.
pub(crate) struct Ticks {
    budget: u64,
    gap: u64,
    win: u64,
    wake: u64,
    stake: u64,
    max_turn: u64,
    min_pause: u64,
    max_pause: u64,
    yield_after: u64,
    brisk: u64,
    pub(crate) hand_off: u64,
    pub(crate) window: u64,
}

impl Ticks {
    /// For this machine, which takes a moment.
    pub(crate) fn measure() -> Ticks {
        let per_micro = ticks_per_micro();
        let ticks = |time: Duration| per_micro.saturating_mul(u64::try_from(time.as_micros()).unwrap_or(0));
        Ticks {
            budget: ticks(BUDGET),
            gap: ticks(GAP),
            win: ticks(GAIN),
            wake: ticks(WAKE),
            stake: ticks(STAKE),
            max_turn: ticks(MAX_TURN),
            min_pause: ticks(MIN_PAUSE),
            max_pause: ticks(MAX_PAUSE),
            yield_after: ticks(YIELD),
            brisk: ticks(BRISK),
            hand_off: ticks(HAND_OFF),
            window: ticks(WINDOW),
        }
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
    /// Where it runs while it is hot, and where it was before.
    hot: Option<Arc<Duo>>,
    home: u16,
    /// Quick turns in a row while it is not, and such as make it worth sharing; sleeps and gaps in a row while it is.
    quick: u32,
    brisk: u32,
    sleeps: u32,
    gaps: u32,
    /// Turns that have not been told, and whether it counts among the brisk ones.
    turns: u64,
    is_counted: bool,
    /// What it has gained since it is hot, in steps of the counter, with what it may lose.
    gain: i64,
    /// The same since it is hot, without bounds: what the try was worth.
    earned: i64,
    /// Whether the stub slept when the guest was last let go.
    stub_slept: bool,
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
        pair: &Pair<StubThread>,
        active: usize,
        stub_sleeps: bool,
    ) -> u32 {
        let ticks = &processors.ticks;
        let start = now();
        self.stub_slept = stub_sleeps;
        self.released = start;
        self.turns += 1;
        if let Some(duo) = &self.hot {
            self.sleeps = if stub_sleeps { self.sleeps + 1 } else { self.sleeps };
            let goes_on = if !duo.is_open(start) {
                false
            } else if duo.is_shared() {
                if self.turns >= TURNS_TOLD {
                    duo.count(std::mem::take(&mut self.turns));
                }
                let pays = duo.pays(start, ticks);
                if !pays {
                    processors.dissolve(duo);
                }
                pays
            } else if processors.is_crowded(start) {
                // The others are about to come.
                true
            } else {
                let is_short = processors.is_short(active) && !processors.is_inviting(start);
                self.sleeps < MAX_SLEEPS && self.gaps < MAX_GAPS && self.gain >= 0 && !is_short
            };
            if !goes_on {
                self.cool(processors, pair);
            }
        } else {
            if self.turns >= TURNS_TOLD {
                processors.count(std::mem::take(&mut self.turns), start);
            }
            if start.wrapping_sub(self.trapped) > ticks.budget {
                (self.quick, self.brisk) = (0, 0);
            }
            if (self.quick >= QUICK_TURNS || processors.is_crowded(start))
                && start.wrapping_sub(self.pause_until).cast_signed() >= 0
            {
                self.heat(processors, pair, active, start);
            }
        }
        processors.set_in_guest(true);
        if self.hot.is_some() { u32::try_from(ticks.budget).unwrap_or(u32::MAX) } else { 0 }
    }

    /// Looks on until `is_back`, within the budget, if the context is hot. Tells whether it came true.
    pub(crate) fn look_on(&mut self, processors: &Processors, is_back: impl Fn() -> bool) -> bool {
        let Some(duo) = &self.hot else { return false };
        let ticks = &processors.ticks;
        let is_shared = duo.is_shared();
        let (mut last, mut yielded, mut looked) = (self.released, self.released, 0);
        loop {
            if is_back() {
                self.sleeps = 0;
                self.gaps = 0;
                return true;
            }
            std::hint::spin_loop();
            let time = now();
            let step = time.wrapping_sub(last);
            if step > ticks.gap && !is_shared {
                self.gaps += 1;
            }
            // What others have had of the processor is no time of looking on.
            looked += if is_shared { step.min(ticks.gap) } else { step };
            last = time;
            if looked > ticks.budget {
                self.sleeps += 1;
                return false;
            }
            if is_shared && time.wrapping_sub(yielded) > ticks.yield_after {
                std::thread::yield_now();
                yielded = now();
                last = yielded;
            }
        }
    }

    /// To be called when the thread is back.
    pub(crate) fn after_trap(&mut self, processors: &Processors) {
        processors.set_in_guest(false);
        self.trapped = now();
        let ticks = &processors.ticks;
        let run = self.trapped.wrapping_sub(self.released);
        if self.hot.is_some() {
            let outlasted = if run > ticks.budget { run.min(ticks.max_turn) } else { 0 };
            let loss = outlasted + if self.stub_slept { ticks.wake } else { 0 };
            let change = if loss > 0 { -loss.cast_signed() } else { ticks.win.cast_signed() };
            self.gain = self.gain.saturating_add(change).min(ticks.max_turn.cast_signed());
            self.earned = self.earned.saturating_add(change);
        }
        let in_a_row = |count: u32, limit: u64| if run <= limit { count.saturating_add(1) } else { 0 };
        self.quick = in_a_row(self.quick, ticks.budget);
        self.brisk = in_a_row(self.brisk, ticks.brisk);
        self.count_brisk(processors);
    }

    fn count_brisk(&mut self, processors: &Processors) {
        let is_brisk = self.hot.is_some() || self.brisk >= QUICK_TURNS;
        if is_brisk != self.is_counted {
            self.is_counted = is_brisk;
            processors.set_brisk(is_brisk);
        }
    }

    fn heat(&mut self, processors: &Processors, pair: &Pair<StubThread>, active: usize, start: u64) {
        let may_share = self.brisk >= QUICK_TURNS || processors.is_crowded(start);
        let Some(duo) = processors.claim(pair.cpu(), active, may_share, start) else {
            self.back_off(processors, start);
            return;
        };
        self.home = pair.cpu();
        pair.part(duo.host(), duo.stub());
        (self.hot, self.since, self.sleeps, self.gaps) = (Some(duo), start, 0, 0);
        self.gain = processors.ticks.stake.cast_signed();
        self.earned = 0;
    }

    /// Ends being hot, if the context is.
    fn cool(&mut self, processors: &Processors, pair: &Pair<StubThread>) {
        let Some(duo) = self.hot.take() else { return };
        processors.release(&duo);
        pair.reunite(self.home);
        let end = now();
        let lasted = end.wrapping_sub(self.since);
        let had_room = self.gaps < MAX_GAPS && !duo.is_shared();
        if had_room && self.earned > 0 {
            // A few long calls in a row have ended it, which say nothing of those to come.
            self.pause = 0;
        } else if lasted > self.pause.saturating_mul(4) {
            // It was worth the wait.
            self.pause /= 4;
        }
        self.back_off(processors, end);
    }

    /// To be called when the context leaves its thread.
    pub(crate) fn end(&mut self, processors: &Processors, pair: &Pair<StubThread>) {
        self.cool(processors, pair);
        self.brisk = 0;
        self.count_brisk(processors);
    }

    fn back_off(&mut self, processors: &Processors, start: u64) {
        let Ticks { min_pause, max_pause, .. } = processors.ticks;
        self.pause = (self.pause * 2).clamp(min_pause, max_pause);
        self.pause_until = start.wrapping_add(self.pause);
        (self.quick, self.brisk) = (0, 0);
    }
}
