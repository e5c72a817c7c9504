//! Linux: include/linux/poll.h, `struct poll_table_struct`.

use sentry_sync::{Registration, WaitQueue, Wake, Woken};
use sentry_uapi::poll::{POLLERR, POLLHUP};
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Collects the queues that a file's [`crate::FileOps::poll`] would wait on, and waits on them if it has a waker.
///
/// Waits end when the table is dropped.
pub struct PollTable {
    waker: Option<Arc<dyn Wake>>,
    /// Events the caller wants to be woken for; errors and hang-ups always are.
    key: u32,
    kind: Kind,
    registrations: SmallVec<[Registration; 2]>,
    /// The exclusive wait of a blocking read or write.
    io: Option<IoWait>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Shared,
    Exclusive,
    Io,
}

impl PollTable {
    /// A table that registers nothing: for a look at the present state.
    pub fn query() -> PollTable {
        PollTable { waker: None, key: u32::MAX, kind: Kind::Shared, registrations: SmallVec::new(), io: None }
    }

    /// A table whose waker is called for `events` (POLLERR and POLLHUP included).
    pub fn new(events: u32, waker: Arc<dyn Wake>) -> PollTable {
        PollTable { waker: Some(waker), key: events | POLLERR | POLLHUP, ..PollTable::query() }
    }

    /// As [`PollTable::new`], as an exclusive waiter.
    pub fn new_exclusive(events: u32, waker: Arc<dyn Wake>) -> PollTable {
        PollTable { kind: Kind::Exclusive, ..PollTable::new(events, waker) }
    }

    /// The table of a blocking read or write rather than of poll(2): it waits for one of `events` in order to act on it.
    pub(crate) fn for_io(events: u32, waker: Arc<dyn Wake>) -> PollTable {
        PollTable { kind: Kind::Io, ..PollTable::new(events, waker) }
    }

    /// Called by `poll` for each queue it depends on, before it looks at its state. Linux: `poll_wait`.
    pub fn wait(&mut self, queue: &WaitQueue) {
        let Some(waker) = &self.waker else { return };
        self.registrations.push(if self.kind == Kind::Exclusive {
            queue.register_exclusive(self.key, waker.clone())
        } else {
            queue.register(self.key, waker.clone())
        });
    }

    /// The events a blocking read or write waits for; `None` in a table of poll(2), select(2) or epoll. A file that can
    /// hand on what a reader or writer leaves over may then use [`PollTable::wait_io`].
    pub fn io_events(&self) -> Option<u32> {
        (self.kind == Kind::Io).then_some(self.key)
    }

    /// As [`PollTable::wait`], for a blocking read or write: one wake-up reaches one of those waiting so. The file sees to
    /// it that whoever finds more than it takes wakes the next. Linux: `wait_event_interruptible_exclusive`.
    pub fn wait_io(&mut self, queue: &WaitQueue) {
        let Some(waker) = &self.waker else { return };
        let once = Arc::new(WakeOnce::new(waker.clone()));
        let registration = queue.register_exclusive(self.key, once.clone());
        self.io =
            Some(IoWait { registration: Some(registration), once, queue: queue.clone(), key: self.key });
    }

    /// The events of the files to come. Linux: `_key`.
    pub(crate) fn set_events(&mut self, events: u32) {
        self.key = events | POLLERR | POLLHUP;
    }

    /// Registers nothing more: something has been found, or everything is registered. Linux: `_qproc = NULL`.
    pub(crate) fn stop(&mut self) {
        self.waker = None;
    }

    /// Before another look at the state: what wakes the queues from here on may choose this waiter again.
    pub(crate) fn rearm(&self) {
        if let Some(io) = &self.io {
            io.once.rearm();
        }
    }
}

/// An exclusive wait on the one queue of a blocking read or write.
struct IoWait {
    registration: Option<Registration>,
    once: Arc<WakeOnce>,
    queue: WaitQueue,
    key: u32,
}

impl Drop for IoWait {
    /// A wake-up that chose this waiter after it last looked is somebody else's: it is handed on.
    fn drop(&mut self) {
        self.registration = None;
        if self.once.chosen.load(Ordering::SeqCst) {
            self.queue.wake(self.key);
        }
    }
}

/// An exclusive waiter that counts as off the queue once it has been chosen, until it is armed again; so the next
/// wake-up goes to the next waiter, though this one is still registered. Linux: `autoremove_wake_function`.
pub(crate) struct WakeOnce {
    chosen: AtomicBool,
    waker: Arc<dyn Wake>,
}

impl WakeOnce {
    pub(crate) fn new(waker: Arc<dyn Wake>) -> WakeOnce {
        WakeOnce { chosen: AtomicBool::new(false), waker }
    }

    pub(crate) fn rearm(&self) {
        self.chosen.store(false, Ordering::SeqCst);
    }
}

impl Wake for WakeOnce {
    fn wake(&self, events: u32) -> Woken {
        if self.chosen.swap(true, Ordering::SeqCst) { Woken::NOBODY } else { self.waker.wake(events) }
    }

    fn rouse(&self) {
        self.waker.rouse();
    }
}
