//! Linux: kernel/sched/wait.c. Waiters are wakers rather than tasks, so that epoll and poll(2) wait alike.

use crate::{Mutex, WakeList, level};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Something that wants to hear of events.
pub trait Wake: Send + Sync {
    /// Called under the queue's lock, from any thread: it may take only locks of higher level, and must not block.
    fn wake(&self, events: u32) -> Woken;

    /// Called after [`Wake::wake`] has asked for it, without the queue's lock; perhaps when the waiter has left the queue.
    fn rouse(&self) {}
}

/// What a wake-up has done.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Woken {
    /// It counts towards the limit on exclusive waiters.
    pub counts: bool,
    /// Somebody sleeps who is to be roused: [`Wake::rouse`].
    pub sleeps: bool,
}

impl Woken {
    /// Nobody was woken, or nobody who counts.
    pub const NOBODY: Woken = Woken { counts: false, sleeps: false };
}

struct Waiter {
    id: u64,
    events: u32,
    exclusive: bool,
    waker: Arc<dyn Wake>,
}

struct Inner {
    waiters: Mutex<Vec<Waiter>, { level::WAIT_QUEUE }>,
    /// Number of waiters, read without the lock: waking an empty queue must cost next to nothing.
    len: AtomicUsize,
    next_id: AtomicU64,
}

/// A set of waiters. A clone is the same queue.
#[derive(Clone)]
pub struct WaitQueue {
    inner: Arc<Inner>,
}

/// A place in a [`WaitQueue`], left when dropped.
pub struct Registration {
    inner: Arc<Inner>,
    id: u64,
}

/// All events: what a waker that looks for itself registers with.
pub const ANY_EVENT: u32 = u32::MAX;

impl WaitQueue {
    /// An empty queue.
    pub fn new() -> WaitQueue {
        WaitQueue {
            inner: Arc::new(Inner {
                waiters: Mutex::new(Vec::new()),
                len: AtomicUsize::new(0),
                next_id: AtomicU64::new(0),
            }),
        }
    }

    /// Adds a waiter for `events` (poll(2) bits).
    ///
    /// Register first and check the condition afterwards; an event in between is then not lost.
    #[must_use]
    pub fn register(&self, events: u32, waker: Arc<dyn Wake>) -> Registration {
        self.add(events, false, waker)
    }

    /// As [`WaitQueue::register`]; of the exclusive waiters one wake-up reaches only as many as it asks for.
    #[must_use]
    pub fn register_exclusive(&self, events: u32, waker: Arc<dyn Wake>) -> Registration {
        self.add(events, true, waker)
    }

    fn add(&self, events: u32, exclusive: bool, waker: Arc<dyn Wake>) -> Registration {
        let id = self.inner.next_id.fetch_add(1, Ordering::Relaxed);
        let mut waiters = self.inner.waiters.lock();
        waiters.push(Waiter { id, events, exclusive, waker });
        self.inner.len.store(waiters.len(), Ordering::SeqCst);
        Registration { inner: self.inner.clone(), id }
    }

    /// Wakes every waiter interested in one of `events`, and one exclusive waiter.
    pub fn wake(&self, events: u32) {
        self.wake_nr(events, 1);
    }

    /// Wakes every waiter interested in one of `events`, exclusive or not.
    pub fn wake_all(&self, events: u32) {
        self.wake_nr(events, usize::MAX);
    }

    fn wake_nr(&self, events: u32, mut exclusive_left: usize) {
        if self.inner.len.load(Ordering::SeqCst) == 0 {
            return;
        }
        // Who sleeps is roused without the lock, which is the first it takes to leave the queue.
        let mut woken = WakeList::new();
        let waiters = self.inner.waiters.lock();
        for w in waiters.iter().filter(|w| w.events & events != 0) {
            if w.exclusive && exclusive_left == 0 {
                continue;
            }
            if woken.wake(&w.waker, events) && w.exclusive {
                exclusive_left -= 1;
            }
        }
    }

    /// Whether anybody waits.
    pub fn has_waiters(&self) -> bool {
        self.inner.len.load(Ordering::SeqCst) != 0
    }
}

impl Default for WaitQueue {
    fn default() -> Self {
        WaitQueue::new()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut waiters = self.inner.waiters.lock();
        // Order matters for exclusive waiters: the longest-waiting one is woken first.
        if let Some(at) = waiters.iter().position(|w| w.id == self.id) {
            let gone = waiters.remove(at);
            self.inner.len.store(waiters.len(), Ordering::SeqCst);
            drop(waiters);
            drop(gone);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[derive(Default)]
    struct Count(AtomicU32);
    impl Wake for Count {
        fn wake(&self, _events: u32) -> Woken {
            self.0.fetch_add(1, Ordering::Relaxed);
            Woken { counts: true, sleeps: true }
        }

        fn rouse(&self) {
            self.0.fetch_add(100, Ordering::Relaxed);
        }
    }

    #[test]
    fn exclusive_waiters_are_woken_one_at_a_time_and_oldest_first() {
        let q = WaitQueue::new();
        let (a, b, c) = (Arc::<Count>::default(), Arc::<Count>::default(), Arc::<Count>::default());
        let _ra = q.register_exclusive(1, a.clone());
        let _rb = q.register_exclusive(1, b.clone());
        let rc = q.register(2, c.clone());
        q.wake(1);
        assert_eq!((a.0.load(Ordering::Relaxed), b.0.load(Ordering::Relaxed)), (101, 0));
        q.wake_all(3);
        assert_eq!((a.0.load(Ordering::Relaxed), b.0.load(Ordering::Relaxed)), (202, 101));
        assert_eq!(c.0.load(Ordering::Relaxed), 101);
        drop(rc);
        q.wake(2);
        assert_eq!(c.0.load(Ordering::Relaxed), 101);
        assert!(q.has_waiters());
    }

    /// Leaves its queue when it is roused.
    struct Leaver(Mutex<Option<Registration>, { level::LEAF }>);
    impl Wake for Leaver {
        fn wake(&self, _events: u32) -> Woken {
            Woken { counts: true, sleeps: true }
        }

        fn rouse(&self) {
            let registration = self.0.lock().take();
            drop(registration);
        }
    }

    #[test]
    fn who_is_roused_finds_the_queue_unlocked() {
        let q = WaitQueue::new();
        let leaver = Arc::new(Leaver(Mutex::new(None)));
        *leaver.0.lock() = Some(q.register(1, leaver.clone()));
        q.wake(1);
        assert!(!q.has_waiters());
    }
}
