//! Work that is left to a host thread. Linux: kernel/workqueue.c.
//!
//! Wait queues are woken under locks that such work would have to come before. The thread exists once there may be some.

use sentry_sync::{Mutex, Parker, level};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Something to be done with no lock held.
pub(crate) trait Deferred: Send + Sync {
    /// Does it.
    fn run(&self);
}

/// What is to be done.
#[derive(Default)]
pub(crate) struct DeferredQueue {
    pending: Mutex<Vec<Arc<dyn Deferred>>, { level::LEAF }>,
    parker: Parker,
    started: AtomicBool,
}

impl DeferredQueue {
    /// Starts the thread, if that has not been done.
    pub(crate) fn start(self: &Arc<Self>) {
        if self.started.swap(true, Ordering::Relaxed) {
            return;
        }
        let queue = Arc::downgrade(self);
        let thread = std::thread::Builder::new().name("deferred".into()).stack_size(256 << 10);
        if thread.spawn(move || DeferredQueue::run(&queue)).is_err() {
            // The host has no thread to spare: the next one tries again.
            self.started.store(false, Ordering::Relaxed);
        }
    }

    /// Leaves something to the thread.
    pub(crate) fn push(&self, work: Arc<dyn Deferred>) {
        self.pending.lock().push(work);
        self.parker.unpark();
    }

    fn run(queue: &Weak<DeferredQueue>) {
        // A kernel that is gone is noticed at the latest when this has passed.
        const LOOK_AGAIN: Duration = Duration::from_secs(3600);
        while let Some(q) = queue.upgrade() {
            let pending = std::mem::take(&mut *q.pending.lock());
            for work in pending {
                work.run();
            }
            q.parker.park(Some(Instant::now() + LOOK_AGAIN));
        }
    }
}
