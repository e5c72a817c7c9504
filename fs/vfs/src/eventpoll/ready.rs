//! The ready list of an epoll instance, and the items that queue on it.

use super::{Key, key_of};
use crate::poll::WakeOnce;
use crate::{File, Sleep, TaskContext};
use sentry_sync::{ANY_EVENT, Mutex, WaitQueue, Wake, Woken, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::EINTR;
use sentry_uapi::eventpoll::{EPOLLET, EPOLLEXCLUSIVE, EPOLLONESHOT, EPOLLWAKEUP, EpollEvent};
use sentry_uapi::poll::{POLLIN, POLLOUT, POLLRDNORM};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

/// Bits of an interest that are no events. Linux: `EP_PRIVATE_BITS`.
const PRIVATE: u32 = EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE;

/// A watched descriptor. Linux: `struct epitem`.
///
/// The atomics are read and written under the lock of the ready list; they are atomics only to be shared.
pub(super) struct Item {
    file: Weak<File>,
    key: Key,
    ready: Arc<Ready>,
    events: AtomicU32,
    data: AtomicU64,
    queued: AtomicBool,
    removed: AtomicBool,
}

impl Item {
    pub(super) fn new(file: &Arc<File>, fd: i32, event: EpollEvent, ready: Arc<Ready>) -> Item {
        Item {
            file: Arc::downgrade(file),
            key: key_of(file, fd),
            ready,
            events: AtomicU32::new(event.events),
            data: AtomicU64::new(event.data),
            queued: AtomicBool::new(false),
            removed: AtomicBool::new(false),
        }
    }

    /// The file, while it is open.
    pub(super) fn file(&self) -> Option<Arc<File>> {
        self.file.upgrade()
    }

    pub(super) fn is_open(&self) -> bool {
        self.file.strong_count() > 0
    }

    pub(super) fn key(&self) -> Key {
        self.key
    }

    /// Events asked for, and the caller's own number.
    pub(super) fn interest(&self) -> (u32, u64) {
        let _list = self.ready.list.lock();
        (self.events.load(Ordering::Relaxed), self.data.load(Ordering::Relaxed))
    }

    /// Those of `revents` it asks for; none while EPOLLONESHOT has disabled it. Under the list's lock.
    fn matching(&self, revents: u32) -> u32 {
        if self.removed.load(Ordering::Relaxed) {
            0
        } else {
            revents & self.events.load(Ordering::Relaxed) & !PRIVATE
        }
    }
}

/// What the queues of a watched file call.
pub(super) struct ItemWaker(pub(super) Arc<Item>);

impl Wake for ItemWaker {
    /// Linux: `ep_poll_callback`.
    fn wake(&self, events: u32) -> Woken {
        let item = &self.0;
        let mut list = item.ready.list.lock();
        if item.matching(events) == 0 {
            return Woken::NOBODY;
        }
        let interest = item.events.load(Ordering::Relaxed);
        list.push_back(item);
        item.ready.update_len(&list);
        drop(list);
        let awaited = item.ready.waiters.has_waiters();
        // Only an exclusive watch is asked: this instance is the one of several that takes the event, if somebody waits
        // here, and for that direction.
        let counts = awaited
            && match events & (POLLIN | POLLOUT) {
                0 => true,
                POLLIN => interest & POLLIN != 0,
                POLLOUT => interest & POLLOUT != 0,
                _ => false,
            };
        Woken { counts, sleeps: awaited || item.ready.pollers.has_waiters() }
    }

    fn rouse(&self) {
        self.0.ready.wake();
    }
}

#[derive(Default)]
struct List {
    items: VecDeque<Arc<Item>>,
    /// Items on it that have been removed since.
    removed: usize,
}

impl List {
    fn push_back(&mut self, item: &Arc<Item>) {
        if !item.queued.swap(true, Ordering::Relaxed) {
            self.items.push_back(item.clone());
        }
    }

    fn push_front(&mut self, item: &Arc<Item>) {
        if !item.queued.swap(true, Ordering::Relaxed) {
            self.items.push_front(item.clone());
        }
    }
}

/// An event about to be reported, and what to restore should that fail.
pub(super) struct Claim {
    pub(super) event: EpollEvent,
    interest: u32,
}

/// The ready list of an instance and those who wait for it to fill. Outlives the instance where a waker is running.
pub(super) struct Ready {
    list: Mutex<List, { level::LEAF }>,
    /// Length of the list, to be read without the lock.
    len: AtomicUsize,
    /// In epoll_wait(2).
    waiters: WaitQueue,
    /// Watching the instance itself, by poll(2) or another instance. Linux: `poll_wait`.
    pub(super) pollers: WaitQueue,
}

impl Ready {
    pub(super) fn new() -> Ready {
        Ready {
            list: Mutex::new(List::default()),
            len: AtomicUsize::new(0),
            waiters: WaitQueue::new(),
            pollers: WaitQueue::new(),
        }
    }

    fn update_len(&self, list: &List) {
        self.len.store(list.items.len(), Ordering::SeqCst);
    }

    /// Items on the list, whether they turn out to be ready or not.
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::SeqCst)
    }

    /// Whether somebody waits in epoll_wait(2).
    #[cfg(test)]
    pub(super) fn is_awaited(&self) -> bool {
        self.waiters.has_waiters()
    }

    fn wake(&self) {
        self.waiters.wake(POLLIN);
        self.pollers.wake(POLLIN | POLLRDNORM);
    }

    /// Lets the next waiter have what the last one left.
    pub(super) fn wake_next(&self) {
        if self.len() > 0 {
            self.waiters.wake(POLLIN);
        }
    }

    /// Waits for the list to fill. `None` when it is time to look; else how the wait ended, for after another look.
    pub(super) fn wait(
        &self,
        ctx: &dyn TaskContext,
        deadline: Option<Instant>,
    ) -> Option<Result<usize, Errno>> {
        let registration = self.waiters.register_exclusive(ANY_EVENT, Arc::new(WakeOnce::new(ctx.waker())));
        let ended = if self.len() > 0 {
            None
        } else {
            match ctx.sleep(deadline) {
                Ok(Sleep::Woken) => None,
                Ok(Sleep::TimedOut) => Some(Ok(0)),
                Err(_) => Some(Err(EINTR)),
            }
        };
        drop(registration);
        ended
    }

    /// Puts an item on the list if it asks for one of `revents`.
    pub(super) fn notice(&self, item: &Arc<Item>, revents: u32) {
        let mut list = self.list.lock();
        if item.matching(revents) == 0 {
            return;
        }
        list.push_back(item);
        self.update_len(&list);
        drop(list);
        self.wake();
    }

    /// EPOLL_CTL_MOD. False for an exclusive watch, which cannot be changed.
    pub(super) fn set_interest(&self, item: &Item, event: EpollEvent) -> bool {
        let _list = self.list.lock();
        if item.events.load(Ordering::Relaxed) & EPOLLEXCLUSIVE != 0 {
            return false;
        }
        item.events.store(event.events, Ordering::Relaxed);
        item.data.store(event.data, Ordering::Relaxed);
        true
    }

    /// Takes the first item off the list. From then on a waker may put it back.
    pub(super) fn pop(&self) -> Option<Arc<Item>> {
        let mut list = self.list.lock();
        let found = loop {
            let Some(item) = list.items.pop_front() else { break None };
            item.queued.store(false, Ordering::Relaxed);
            if !item.removed.load(Ordering::Relaxed) {
                break Some(item);
            }
            list.removed = list.removed.saturating_sub(1);
        };
        self.update_len(&list);
        found
    }

    /// Makes an event out of an item that was found in state `revents`, unless it does not ask for any of that. Of two
    /// threads that have found a EPOLLONESHOT item ready only one gets it. One with level semantics goes back to the end
    /// of the list.
    pub(super) fn claim(&self, item: &Arc<Item>, revents: u32) -> Option<Claim> {
        let mut list = self.list.lock();
        let events = item.matching(revents);
        if events == 0 {
            return None;
        }
        let interest = item.events.load(Ordering::Relaxed);
        if interest & EPOLLONESHOT != 0 {
            item.events.store(interest & PRIVATE, Ordering::Relaxed);
        } else if interest & EPOLLET == 0 {
            list.push_back(item);
            self.update_len(&list);
        }
        Some(Claim { event: EpollEvent { events, data: item.data.load(Ordering::Relaxed) }, interest })
    }

    /// Takes a claim back.
    pub(super) fn unclaim(&self, item: &Arc<Item>, claim: &Claim) {
        let mut list = self.list.lock();
        let disabled = claim.interest & EPOLLONESHOT != 0;
        if disabled && item.events.load(Ordering::Relaxed) == claim.interest & PRIVATE {
            item.events.store(claim.interest, Ordering::Relaxed);
        }
        if !item.removed.load(Ordering::Relaxed) {
            list.push_front(item);
        }
        self.update_len(&list);
    }

    /// Puts a popped item back if it asks for one of `revents`, which is the result, or if it is not `settled` that it
    /// does not.
    pub(super) fn keep(&self, item: &Arc<Item>, revents: u32, settled: bool) -> bool {
        let mut list = self.list.lock();
        let is_ready = item.matching(revents) != 0;
        if is_ready {
            list.push_front(item);
        } else if !settled && !item.removed.load(Ordering::Relaxed) {
            list.push_back(item);
        }
        self.update_len(&list);
        is_ready
    }

    /// Ends an item's part in the list for good.
    pub(super) fn forget(&self, item: &Item) {
        let mut list = self.list.lock();
        if item.removed.swap(true, Ordering::Relaxed) || !item.queued.load(Ordering::Relaxed) {
            return;
        }
        // Most of the list may be left-overs before it is cleared of them; so each removal costs little.
        list.removed += 1;
        let mut dropped = VecDeque::new();
        if list.removed * 2 > list.items.len() {
            let all = std::mem::take(&mut list.items);
            let (gone, kept) = all.into_iter().partition(|i| i.removed.load(Ordering::Relaxed));
            dropped = gone;
            list.items = kept;
            list.removed = 0;
        }
        self.update_len(&list);
        drop(list);
        drop(dropped);
    }

    /// Empties the list of an instance that is gone, whose items refer to it.
    pub(super) fn clear(&self) {
        let mut list = self.list.lock();
        let all = std::mem::take(&mut *list);
        self.update_len(&list);
        drop(list);
        drop(all);
    }
}
