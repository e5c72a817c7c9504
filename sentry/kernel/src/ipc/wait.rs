//! Sleepers that are handed what they wait for. Linux: the `status` of a `sem_queue`, the `r_msg` of a `msg_receiver`.

use crate::CurrentTask;
use fs_vfs::{Sleep, TaskContext};
use sentry_sync::{ANY_EVENT, Mutex, Wake, WakeList, level};
use sentry_uapi::Errno;
use std::sync::Arc;
use std::time::Instant;

/// One task that sleeps until somebody gives it an outcome.
pub(crate) struct Waiter<T> {
    outcome: Mutex<Option<T>, { level::LEAF }>,
    waker: Arc<dyn Wake>,
}

impl<T> Waiter<T> {
    pub(crate) fn new(task: &CurrentTask) -> Arc<Waiter<T>> {
        Arc::new(Waiter { outcome: Mutex::new(None), waker: task.waker() })
    }

    /// Ends the sleep.
    pub(crate) fn complete(&self, outcome: T) {
        *self.outcome.lock() = Some(outcome);
        WakeList::new().wake(&self.waker, ANY_EVENT);
    }

    /// The outcome, if there is one.
    pub(crate) fn take(&self) -> Option<T> {
        self.outcome.lock().take()
    }

    /// Sleeps until there is an outcome, or gives `None` when the deadline passes. No lock is held.
    ///
    /// # Errors
    /// `ERESTARTSYS` when a signal is pending.
    pub(crate) fn wait(&self, task: &CurrentTask, deadline: Option<Instant>) -> Result<Option<T>, Errno> {
        loop {
            if let Some(outcome) = self.take() {
                return Ok(Some(outcome));
            }
            if task.sleep(deadline)? == Sleep::TimedOut {
                return Ok(None);
            }
        }
    }
}
