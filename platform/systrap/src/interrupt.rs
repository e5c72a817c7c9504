//! Requests to leave guest code.

use crate::thread::StubThread;
use parking_lot::Mutex;
use platform::Interrupter;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A context's request flag, and the guest thread a request is sent to.
///
/// The requester sets the flag, then looks whether the thread is in guest code; the context counts its thread in, then
/// looks at the flag. So one of them sees the other. A signal that comes before the thread is let go is lost, so the
/// context looks again when it has let it go. The signal carries no meaning: one that arrives late finds no flag and is
/// passed over.
#[derive(Default)]
pub(crate) struct SystrapInterrupter {
    requested: AtomicBool,
    /// Cleared, under the lock, before the thread's id can be used again.
    target: Mutex<Option<Arc<StubThread>>>,
}

impl SystrapInterrupter {
    pub(crate) fn set_target(&self, thread: Option<Arc<StubThread>>) {
        *self.target.lock() = thread;
    }

    /// Whether there is a request.
    pub(crate) fn is_requested(&self) -> bool {
        self.requested.load(Ordering::SeqCst)
    }

    /// Consumes the request, if there is one.
    pub(crate) fn take(&self) -> bool {
        self.is_requested() && self.requested.swap(false, Ordering::SeqCst)
    }
}

impl Interrupter for SystrapInterrupter {
    fn interrupt(&self) {
        self.requested.store(true, Ordering::SeqCst);
        if let Some(thread) = &*self.target.lock() {
            thread.kick();
        }
    }
}
