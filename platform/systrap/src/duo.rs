//! Pairs of processors that hot contexts share: one serves the calls that guest code on the other makes.

use crate::pace::Ticks;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Turns since they were last looked at.
struct TurnCount {
    turns: AtomicU64,
    looked_at: AtomicU64,
}

impl TurnCount {
    fn new(now: u64) -> TurnCount {
        TurnCount { turns: AtomicU64::new(0), looked_at: AtomicU64::new(now) }
    }

    fn add(&self, turns: u64) {
        self.turns.fetch_add(turns, Ordering::Relaxed);
    }

    fn restart(&self, now: u64) {
        self.turns.store(0, Ordering::Relaxed);
        self.looked_at.store(now, Ordering::Relaxed);
    }

    /// What the turns would have cost by hand-offs, and in what time they were made; once in a window.
    fn look(&self, now: u64, ticks: &Ticks) -> Option<(u64, u64)> {
        let since = self.looked_at.load(Ordering::Relaxed);
        let span = now.wrapping_sub(since);
        let is_due = span.cast_signed() > ticks.window.cast_signed()
            && self.looked_at.compare_exchange(since, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        is_due.then(|| (self.turns.swap(0, Ordering::Relaxed).saturating_mul(ticks.hand_off), span))
    }
}

/// Two processors. On one are the host threads of all members, on the other their stubs.
pub(crate) struct Duo {
    host: u16,
    stub: u16,
    members: AtomicUsize,
    /// Turns of all members.
    turns: TurnCount,
    /// When a member was in it last.
    used_at: AtomicU64,
    /// It does not pay, or all members sleep: they are to leave, and others may have the processors.
    over: AtomicBool,
}

impl Duo {
    /// The processor of the host threads.
    pub(crate) fn host(&self) -> u16 {
        self.host
    }

    /// The processor of the stubs.
    pub(crate) fn stub(&self) -> u16 {
        self.stub
    }

    /// Whether it has more than one member.
    pub(crate) fn is_shared(&self) -> bool {
        self.members.load(Ordering::Relaxed) > 1
    }

    /// Counts turns of a member.
    pub(crate) fn count(&self, turns: u64) {
        self.turns.add(turns);
    }

    /// Notes that a member is there. Whether it may stay.
    pub(crate) fn is_open(&self, now: u64) -> bool {
        self.used_at.store(now, Ordering::Relaxed);
        !self.over.load(Ordering::Relaxed)
    }

    /// Whether it pays to share it: as long as what the calls served in the last while would have cost by hand-offs on one
    /// processor makes up for the one that runs no guest code.
    pub(crate) fn pays(&self, now: u64, ticks: &Ticks) -> bool {
        self.turns.look(now, ticks).is_none_or(|(cost, span)| cost >= span)
    }
}

/// What all contexts of a platform know of each other.
pub(crate) struct Processors {
    cpus: Vec<u16>,
    duos: Mutex<Vec<Arc<Duo>>>,
    /// Processors of duos, and their members.
    taken: AtomicUsize,
    members: AtomicUsize,
    /// Contexts in guest code, for all the sentry knows.
    in_guest: AtomicUsize,
    /// Contexts that do little but call.
    brisk: AtomicUsize,
    /// Turns by hand-offs.
    turns: TurnCount,
    /// Until when hand-offs are known to take most of the processors' time, and until when others like the one that has
    /// just become hot are waited for.
    crowded_until: AtomicU64,
    invited_until: AtomicU64,
    pub(crate) ticks: Ticks,
}

impl Processors {
    /// For pairs that run on `cpus`.
    pub(crate) fn new(cpus: Vec<u16>) -> Processors {
        Processors {
            cpus,
            duos: Mutex::default(),
            taken: AtomicUsize::new(0),
            members: AtomicUsize::new(0),
            in_guest: AtomicUsize::new(0),
            brisk: AtomicUsize::new(0),
            turns: TurnCount::new(0),
            crowded_until: AtomicU64::new(0),
            invited_until: AtomicU64::new(0),
            ticks: Ticks::measure(),
        }
    }

    /// Counts a context in or out of guest code.
    pub(crate) fn set_in_guest(&self, come: bool) {
        if come {
            self.in_guest.fetch_add(1, Ordering::Relaxed);
        } else {
            self.in_guest.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Counts a context in or out of those that do little but call.
    pub(crate) fn set_brisk(&self, come: bool) {
        if come {
            self.brisk.fetch_add(1, Ordering::Relaxed);
        } else {
            self.brisk.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Counts turns of a context that is not hot, and finds out whether there is much else that the processors do.
    pub(crate) fn count(&self, turns: u64, now: u64) {
        self.turns.add(turns);
        let Some((cost, span)) = self.turns.look(now, &self.ticks) else { return };
        // One caller alone can take a whole processor that way. With more in guest code than there are processors for, it is
        // the callers that are many; with fewer, the others may compute.
        let quarters = if self.in_guest.load(Ordering::Relaxed) >= self.cpus.len() { 2 } else { 3 };
        let cpus = u64::try_from(self.cpus.len()).unwrap_or(1);
        if cost > (span / 4).saturating_mul(quarters).saturating_mul(cpus) {
            self.crowded_until.store(self.soon(now), Ordering::Relaxed);
        }
    }

    /// When two windows have passed.
    fn soon(&self, now: u64) -> u64 {
        now.wrapping_add(self.ticks.window.saturating_mul(2))
    }

    /// Whether contexts that may share processors are waited for.
    pub(crate) fn is_inviting(&self, now: u64) -> bool {
        self.invited_until.load(Ordering::Relaxed).wrapping_sub(now).cast_signed() > 0
    }

    /// Whether hand-offs take most of the processors' time.
    pub(crate) fn is_crowded(&self, now: u64) -> bool {
        self.crowded_until.load(Ordering::Relaxed).wrapping_sub(now).cast_signed() > 0
    }

    /// Whether there are more contexts that want a processor than hot ones leave, of `active` in all. Those that do little
    /// but call may share theirs.
    pub(crate) fn is_short(&self, active: usize) -> bool {
        self.taken.load(Ordering::Relaxed) + active.saturating_sub(self.brisk.load(Ordering::Relaxed))
            > self.cpus.len()
    }

    /// Makes a context hot that runs on the processor `here`, one of `active`: with two processors of its own, if that
    /// leaves enough for the others, else with others of its kind if it `may_share`, and there is hardly anybody else.
    pub(crate) fn claim(&self, here: u16, active: usize, may_share: bool, now: u64) -> Option<Arc<Duo>> {
        let mut duos = self.duos.lock();
        // A member that sleeps, be it in wait4(2) for the one that asks, needs no processor.
        let is_idle = |duo: &Arc<Duo>| {
            now.wrapping_sub(duo.used_at.load(Ordering::Relaxed)).cast_signed()
                > self.ticks.window.cast_signed()
        };
        let idle: Vec<Arc<Duo>> = duos.iter().filter(|duo| is_idle(duo)).cloned().collect();
        idle.iter().for_each(|duo| self.dissolve_locked(&mut duos, duo));
        let free = |cpu: u16| !duos.iter().any(|duo| duo.host == cpu || duo.stub == cpu);
        let members = self.members.load(Ordering::Relaxed);
        let taken = 2 * duos.len();
        let others =
            self.in_guest.load(Ordering::Relaxed).max(active.saturating_sub(1)).saturating_sub(members);
        let fits = |others: usize| taken + others + 2 <= self.cpus.len();
        let all = (self.in_guest.load(Ordering::Relaxed) + 1).max(active);
        let computing =
            if self.is_crowded(now) { 0 } else { all.saturating_sub(self.brisk.load(Ordering::Relaxed)) };
        let host = Some(here).filter(|cpu| free(*cpu));
        // From the other end, so that pairs that start together rarely meet.
        let stub = self.cpus.iter().rev().copied().find(|cpu| *cpu != here && free(*cpu));
        if let (Some(host), Some(stub)) = (host, stub)
            && (fits(others) || (may_share && duos.is_empty() && fits(computing)))
        {
            if !fits(others) {
                self.invited_until.store(self.soon(now), Ordering::Relaxed);
            }
            let duo = Arc::new(Duo {
                host,
                stub,
                members: AtomicUsize::new(1),
                turns: TurnCount::new(now),
                used_at: AtomicU64::new(now),
                over: AtomicBool::new(false),
            });
            duos.push(duo.clone());
            self.taken.fetch_add(2, Ordering::Relaxed);
            self.members.fetch_add(1, Ordering::Relaxed);
            return Some(duo);
        }
        if !may_share || taken + computing > self.cpus.len() {
            return None;
        }
        let duo = duos.iter().min_by_key(|duo| duo.members.load(Ordering::Relaxed))?;
        if duo.members.fetch_add(1, Ordering::Relaxed) == 1 {
            duo.turns.restart(now);
        }
        self.members.fetch_add(1, Ordering::Relaxed);
        Some(duo.clone())
    }

    /// Takes back what [`Self::claim`] gave.
    pub(crate) fn release(&self, duo: &Arc<Duo>) {
        let mut duos = self.duos.lock();
        if duos.iter().any(|other| Arc::ptr_eq(other, duo)) {
            self.members.fetch_sub(1, Ordering::Relaxed);
        }
        if duo.members.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.dissolve_locked(&mut duos, duo);
        }
    }

    /// Gives up a pair of processors, whose members leave it when they come by.
    pub(crate) fn dissolve(&self, duo: &Arc<Duo>) {
        self.dissolve_locked(&mut self.duos.lock(), duo);
    }

    fn dissolve_locked(&self, duos: &mut Vec<Arc<Duo>>, duo: &Arc<Duo>) {
        duo.over.store(true, Ordering::Relaxed);
        if let Some(index) = duos.iter().position(|other| Arc::ptr_eq(other, duo)) {
            duos.swap_remove(index);
            self.taken.fetch_sub(2, Ordering::Relaxed);
            self.members.fetch_sub(duo.members.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_beside_others_that_compute_makes_no_crowd() {
        let processors = Processors::new(vec![0, 1]);
        let (window, hand_off) = (processors.ticks.window, processors.ticks.hand_off);
        let mut now = 0;
        // In tenths of the time of one processor.
        let mut is_crowded_after = |tenths: u64| {
            let span = 10 * window;
            now += span;
            processors.count(span / hand_off * tenths / 10, now);
            processors.is_crowded(now)
        };
        assert!(!is_crowded_after(12));
        assert!(is_crowded_after(16));
        assert!(!is_crowded_after(1));
        processors.set_in_guest(true);
        processors.set_in_guest(true);
        assert!(is_crowded_after(12));
        assert!(!is_crowded_after(8));
    }
}
