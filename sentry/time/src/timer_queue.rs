//! Linux: kernel/time/hrtimer.c. One host thread sleeps until the earliest deadline; it exists once a timer has been set.

use crate::Clocks;
use sentry_sync::{Mutex, Parker, level};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// What a timer does when it runs out.
pub trait Expire: Send + Sync {
    /// Called on the timer thread, with no lock held, once the monotonic clock has passed the deadline.
    fn expire(&self);
}

#[derive(Default)]
struct State {
    timers: BTreeMap<(i64, u64), Weak<dyn Expire>>,
    next_id: u64,
    thread_started: bool,
}

/// Pending timers by deadline.
pub struct TimerQueue {
    clocks: Arc<Clocks>,
    state: Mutex<State, { level::TIMER_QUEUE }>,
    parker: Parker,
}

/// A pending timer; dropping it cancels. An expiry that has begun is not waited for.
pub struct TimerHandle {
    queue: Weak<TimerQueue>,
    key: (i64, u64),
}

impl TimerQueue {
    /// An empty queue on the given clocks.
    pub fn new(clocks: Arc<Clocks>) -> Arc<TimerQueue> {
        Arc::new(TimerQueue { clocks, state: Mutex::new(State::default()), parker: Parker::new() })
    }

    /// Calls `target` once, when CLOCK_MONOTONIC reaches `deadline` (nanoseconds), unless the handle or the target is
    /// dropped before.
    #[must_use]
    pub fn add(self: &Arc<Self>, deadline: i64, target: Weak<dyn Expire>) -> TimerHandle {
        let mut state = self.state.lock();
        state.next_id += 1;
        let key = (deadline, state.next_id);
        let first = state.timers.keys().next().is_none_or(|k| key < *k);
        state.timers.insert(key, target);
        let start = !std::mem::replace(&mut state.thread_started, true);
        drop(state);
        if start {
            let queue = Arc::downgrade(self);
            let spawned = std::thread::Builder::new()
                .name("timers".into())
                .stack_size(256 << 10)
                .spawn(move || TimerQueue::run(&queue));
            if spawned.is_err() {
                // The host has no thread to spare: the next timer tries again.
                self.state.lock().thread_started = false;
            }
        } else if first {
            self.parker.unpark();
        }
        TimerHandle { queue: Arc::downgrade(self), key }
    }

    /// Runs every timer whose deadline has passed; returns the next deadline.
    pub fn run_expired(&self) -> Option<i64> {
        loop {
            let mut state = self.state.lock();
            let (key, _) = state.timers.first_key_value()?;
            if key.0 > self.clocks.monotonic() {
                return Some(key.0);
            }
            let (_, target) = state.timers.pop_first()?;
            drop(state);
            if let Some(target) = target.upgrade() {
                target.expire();
            }
        }
    }

    fn run(queue: &Weak<TimerQueue>) {
        // A queue that nobody holds any more is noticed at the latest when this has passed.
        const LOOK_AGAIN: Duration = Duration::from_secs(3600);
        while let Some(q) = queue.upgrade() {
            let next = q.run_expired();
            let wait = next.map_or(LOOK_AGAIN, |d| {
                Duration::from_nanos(u64::try_from(d.saturating_sub(q.clocks.monotonic())).unwrap_or(0))
            });
            q.parker.park(Some(Instant::now() + wait.min(LOOK_AGAIN)));
        }
    }
}

impl Drop for TimerHandle {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.upgrade() {
            queue.state.lock().timers.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[derive(Default)]
    struct Count(AtomicU32);
    impl Expire for Count {
        fn expire(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn scripted_timers_fire_in_order_and_cancel() {
        let clocks = Arc::new(Clocks::scripted());
        let queue = TimerQueue::new(clocks.clone());
        queue.state.lock().thread_started = true;
        let count = Arc::new(Count::default());
        let target: Arc<dyn Expire> = count.clone();
        let _a = queue.add(10, Arc::downgrade(&target));
        let b = queue.add(20, Arc::downgrade(&target));
        let _c = queue.add(30, Arc::downgrade(&target));
        drop(b);
        clocks.advance(10);
        assert_eq!(queue.run_expired(), Some(30));
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        clocks.advance(20);
        assert_eq!(queue.run_expired(), None);
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
    }
}
