//! Linux: include/linux/poll.h, `struct poll_table_struct`.

use sentry_sync::{Registration, WaitQueue, Wake};
use smallvec::SmallVec;
use std::sync::Arc;

/// Collects the queues that a file's [`crate::FileOps::poll`] would wait on, and waits on them if it has a waker.
///
/// Waits end when the table is dropped.
pub struct PollTable {
    waker: Option<Arc<dyn Wake>>,
    /// Events the caller wants to be woken for; errors and hang-ups always are.
    key: u32,
    exclusive: bool,
    registrations: SmallVec<[Registration; 2]>,
}

impl PollTable {
    /// A table that registers nothing: for a look at the present state.
    pub fn query() -> PollTable {
        PollTable { waker: None, key: u32::MAX, exclusive: false, registrations: SmallVec::new() }
    }

    /// A table whose waker is called for `events` (POLLERR and POLLHUP included).
    pub fn new(events: u32, waker: Arc<dyn Wake>) -> PollTable {
        let key = events | sentry_uapi::poll::POLLERR | sentry_uapi::poll::POLLHUP;
        PollTable { waker: Some(waker), key, exclusive: false, registrations: SmallVec::new() }
    }

    /// As [`PollTable::new`], as an exclusive waiter.
    pub fn new_exclusive(events: u32, waker: Arc<dyn Wake>) -> PollTable {
        PollTable { exclusive: true, ..PollTable::new(events, waker) }
    }

    /// Called by `poll` for each queue it depends on, before it looks at its state. Linux: `poll_wait`.
    pub fn wait(&mut self, queue: &WaitQueue) {
        let Some(waker) = &self.waker else { return };
        self.registrations.push(if self.exclusive {
            queue.register_exclusive(self.key, waker.clone())
        } else {
            queue.register(self.key, waker.clone())
        });
    }
}
