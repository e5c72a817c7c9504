//! The sentry's half of the hand-off: whose turn it is, and who sleeps. The other half is in [`crate::stub_code`].
//!
//! Whoever ends its turn exchanges the word, and wakes the other side if the old value says that it sleeps; whoever wants
//! to sleep says so in the word first, and sleeps only as long as that stands.

use crate::layout::state;
use platform_host::futex::{self, Woken};
use sentry_uapi::Errno;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The word, and the queue of those who sleep on it.
pub(crate) trait Turn {
    fn load(&self) -> u32;
    fn swap(&self, value: u32) -> u32;
    /// The value found, which is `old` if it has been exchanged.
    fn compare_exchange(&self, old: u32, new: u32) -> u32;
    /// Sleeps while the word has this value, but not for ever.
    fn wait(&self, value: u32) -> Result<Woken, Errno>;
    fn wake(&self);
}

/// A thread that stays in guest code for this long is looked after.
const PATIENCE: Duration = Duration::from_secs(1);

impl Turn for AtomicU32 {
    fn load(&self) -> u32 {
        self.load(Ordering::Acquire)
    }

    fn swap(&self, value: u32) -> u32 {
        self.swap(value, Ordering::SeqCst)
    }

    fn compare_exchange(&self, old: u32, new: u32) -> u32 {
        match self.compare_exchange(old, new, Ordering::Acquire, Ordering::Acquire) {
            Ok(found) | Err(found) => found,
        }
    }

    fn wait(&self, value: u32) -> Result<Woken, Errno> {
        futex::wait(self, value, PATIENCE)
    }

    fn wake(&self) {
        futex::wake(self);
    }
}

/// Whether the stub has ended its turn. A value that the protocol does not know is a guest's, and as good as a trap.
pub(crate) fn is_back(turn: &impl Turn) -> bool {
    !matches!(turn.load(), state::RUNNING | state::RUNNING_ASLEEP)
}

/// Ends the sentry's turn.
pub(crate) fn release(turn: &impl Turn) {
    if turn.swap(state::RUNNING) == state::TRAPPED_ASLEEP {
        turn.wake();
    }
}

/// Sleeps until the stub has ended its turn, or something is to be looked after. Tells which.
pub(crate) fn sleep(turn: &impl Turn) -> Result<bool, Errno> {
    loop {
        let found = turn.compare_exchange(state::RUNNING, state::RUNNING_ASLEEP);
        if !matches!(found, state::RUNNING | state::RUNNING_ASLEEP) {
            return Ok(true);
        }
        if turn.wait(state::RUNNING_ASLEEP)? == Woken::TimedOut {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    //! A model of both halves and of a kick, in all orders in which they may meet.
    #![allow(clippy::unwrap_used)]

    use super::*;
    use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst};
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    /// A load in sequential order: loom takes loads for acquiring ones at most, but never lets an exchange see the past.
    fn sees(flag: &AtomicBool) -> bool {
        flag.fetch_or(false, SeqCst)
    }

    struct Shared {
        word: AtomicU32,
        /// The lock of the futex.
        queue: Mutex<()>,
        changed: Condvar,
        in_guest: AtomicBool,
        /// Requests that are not consumed. The context has a flag; the number tells the model when all are.
        requested: AtomicUsize,
        /// That one has been sent since the stub was let go.
        kicked: AtomicBool,
        /// The signal, pending.
        pending: AtomicBool,
        /// That the sentry wants the stub to end.
        over: AtomicBool,
    }

    impl Shared {
        fn new() -> Arc<Shared> {
            Arc::new(Shared {
                word: AtomicU32::new(state::TRAPPED),
                queue: Mutex::new(()),
                changed: Condvar::new(),
                in_guest: AtomicBool::new(false),
                requested: AtomicUsize::new(0),
                kicked: AtomicBool::new(false),
                pending: AtomicBool::new(false),
                over: AtomicBool::new(false),
            })
        }

        /// The signal: pending, and an end to sleep.
        fn kick(&self) {
            if sees(&self.in_guest) && !self.kicked.swap(true, SeqCst) {
                self.pending.swap(true, SeqCst);
                let _queue = self.queue.lock().unwrap();
                self.changed.notify_all();
            }
        }

        fn interrupt(&self) {
            self.requested.fetch_add(1, SeqCst);
            self.kick();
        }

        fn is_requested(&self) -> bool {
            self.requested.fetch_add(0, SeqCst) > 0
        }

        /// What a stub thread's release does.
        fn release(&self) {
            release(self);
            self.kicked.swap(false, SeqCst);
            if self.is_requested() {
                self.kick();
            }
        }
    }

    impl Turn for Shared {
        fn load(&self) -> u32 {
            self.word.fetch_or(0, SeqCst)
        }

        fn swap(&self, value: u32) -> u32 {
            self.word.swap(value, SeqCst)
        }

        fn compare_exchange(&self, old: u32, new: u32) -> u32 {
            self.word.compare_exchange(old, new, SeqCst, SeqCst).unwrap_or_else(|found| found)
        }

        fn wait(&self, value: u32) -> Result<Woken, Errno> {
            let queue = self.queue.lock().unwrap();
            if self.load() == value {
                drop(self.changed.wait(queue).unwrap());
            }
            Ok(Woken::Maybe)
        }

        fn wake(&self) {
            let _queue = self.queue.lock().unwrap();
            self.changed.notify_all();
        }
    }

    /// What the stub tells the sentry.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Told {
        Trapped,
        Kicked,
    }

    /// The stub, from a trap to the next: waits for its turn, enters guest code, which traps at once or runs until it is
    /// kicked.
    fn stub(shared: &Shared, endless: bool) -> Told {
        // The stub's wait, during which a kick means this entry only if the stub has been let go.
        loop {
            if shared.pending.swap(false, SeqCst) && shared.load() >= state::RUNNING {
                return Told::Kicked;
            }
            if shared.load() >= state::RUNNING {
                break;
            }
            if shared.compare_exchange(state::TRAPPED, state::TRAPPED_ASLEEP) >= state::RUNNING {
                break;
            }
            let queue = shared.queue.lock().unwrap();
            // A signal that is pending ends the sleep before it begins.
            if !sees(&shared.pending) && shared.load() == state::TRAPPED_ASLEEP {
                drop(shared.changed.wait(queue).unwrap());
            }
        }
        // Guest code.
        loop {
            if shared.pending.swap(false, SeqCst) {
                return Told::Kicked;
            }
            if !endless {
                return Told::Trapped;
            }
            let queue = shared.queue.lock().unwrap();
            if !sees(&shared.pending) {
                drop(shared.changed.wait(queue).unwrap());
            }
        }
    }

    fn publish(shared: &Shared) {
        if shared.swap(state::TRAPPED) == state::RUNNING_ASLEEP {
            shared.wake();
        }
    }

    /// What a context's switch does. Gives the number of requests it has consumed, if it has not let the stub go.
    fn switch(shared: &Shared) -> usize {
        shared.in_guest.swap(true, SeqCst);
        let consumed = shared.requested.swap(0, SeqCst);
        if consumed == 0 {
            shared.release();
            while !sleep(shared).unwrap() {}
            assert!(is_back(shared));
        }
        shared.in_guest.swap(false, SeqCst);
        consumed
    }

    fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.check(model);
    }

    #[test]
    fn no_turn_is_lost() {
        check(3, || {
            let shared = Shared::new();
            let other = shared.clone();
            let stub = thread::spawn(move || {
                for _ in 0..2 {
                    assert_eq!(stub(&other, false), Told::Trapped);
                    publish(&other);
                }
            });
            assert_eq!(switch(&shared), 0);
            assert_eq!(switch(&shared), 0);
            stub.join().unwrap();
        });
    }

    /// Endless guest code ends for every request, also for one that comes when the one before it is being consumed.
    fn requests_are_heeded(count: usize, preemptions: usize) {
        check(preemptions, move || {
            let shared = Shared::new();
            let (other, third) = (shared.clone(), shared.clone());
            let requester = thread::spawn(move || (0..count).for_each(|_| third.interrupt()));
            let stub = thread::spawn(move || {
                while !sees(&other.over) {
                    assert_eq!(stub(&other, true), Told::Kicked);
                    publish(&other);
                }
            });
            let mut consumed = 0;
            while consumed < count {
                consumed += switch(&shared);
            }
            requester.join().unwrap();
            // For the stub to come to an end.
            shared.over.swap(true, SeqCst);
            shared.in_guest.swap(true, SeqCst);
            release(&*shared);
            shared.kicked.swap(false, SeqCst);
            shared.kick();
            stub.join().unwrap();
        });
    }

    #[test]
    fn no_request_to_leave_endless_guest_code_is_lost() {
        requests_are_heeded(1, 3);
    }

    #[test]
    fn no_request_is_lost_behind_one_that_came_too_early() {
        requests_are_heeded(2, 2);
    }
}
