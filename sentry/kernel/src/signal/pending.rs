//! Linux: include/linux/signal_types.h, `struct sigpending`.

use crate::signal::SYNCHRONOUS;
use sentry_uapi::signal::{SIGRTMIN, SigInfo, SigSet};
use std::collections::VecDeque;

/// Signals that wait to be delivered, with what is known of each.
#[derive(Default)]
pub struct Pending {
    set: SigSet,
    queue: VecDeque<SigInfo>,
}

impl Pending {
    /// The signals that are pending.
    pub fn set(&self) -> SigSet {
        self.set
    }

    /// Number of queued entries.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Adds a signal. A standard signal that is pending already is not queued again; returns whether it was queued.
    /// Without `room` (RLIMIT_SIGPENDING) the signal becomes pending without its siginfo. Linux: `__send_signal_locked`.
    pub fn add(&mut self, info: SigInfo, room: bool) -> bool {
        let signo = info.si_signo;
        if signo < SIGRTMIN && self.set.contains(signo) {
            return false;
        }
        self.set.add(signo);
        if room {
            self.queue.push_back(info);
        }
        true
    }

    /// Takes the next signal out of `from`: those an instruction caused first, then the lowest number; of one number the
    /// oldest. Linux: `__dequeue_signal`, `next_signal`.
    pub fn take(&mut self, from: SigSet) -> Option<SigInfo> {
        let ready = self.set.intersection(from);
        let sync = ready.intersection(SYNCHRONOUS);
        let signo = if sync.is_empty() { ready } else { sync }.first()?;
        Some(self.take_one(signo))
    }

    /// Takes the oldest entry of one signal, which is pending.
    fn take_one(&mut self, signo: i32) -> SigInfo {
        let at = self.queue.iter().position(|i| i.si_signo == signo);
        let info = at.and_then(|at| self.queue.remove(at));
        if !self.queue.iter().any(|i| i.si_signo == signo) {
            self.set.remove(signo);
        }
        // What was sent when there was no room is known by its number only.
        info.unwrap_or_else(|| SigInfo::new(signo, 0))
    }

    /// Forgets all of a set. Linux: `flush_sigqueue_mask`.
    pub fn discard(&mut self, set: SigSet) {
        self.set = self.set.difference(set);
        self.queue.retain(|i| !set.contains(i.si_signo));
    }

    /// Forgets one queued entry that matches; for a POSIX timer that is deleted or sent again.
    pub fn find_mut(&mut self, matches: impl Fn(&SigInfo) -> bool) -> Option<&mut SigInfo> {
        self.queue.iter_mut().find(|i| matches(i))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sentry_uapi::signal::{SIGSEGV, SIGTERM, SIGUSR1};

    #[test]
    fn standard_signals_merge_and_realtime_ones_queue_in_order() {
        let mut p = Pending::default();
        assert!(p.add(SigInfo::from_process(SIGTERM, 0, 1, 0), true));
        assert!(!p.add(SigInfo::from_process(SIGTERM, 0, 2, 0), true));
        for n in 0..3 {
            assert!(p.add(SigInfo::from_process(40, 0, n, 0), true));
        }
        assert!(p.add(SigInfo::new(SIGSEGV, 1), true));
        assert_eq!(p.take(SigSet::of(SIGUSR1)), None);
        let order: Vec<(i32, i32)> =
            std::iter::from_fn(|| p.take(SigSet::FULL)).map(|i| (i.si_signo, i.word(0))).collect();
        assert_eq!(order, [(SIGSEGV, 0), (SIGTERM, 1), (40, 0), (40, 1), (40, 2)]);
        assert!(p.is_empty());
    }
}
