//! A stub thread that a context runs its guest code in.

use platform_host::wait;
use platform_placement::Pair;
use platform_placement::StubThread as _;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// The signal that brings a thread out of guest code. A thread that nobody traces ignores it, so that one sent too late
/// does no harm; under ptrace, even an ignored signal stops its receiver.
pub(crate) const KICK: i32 = libc::SIGURG;

/// A thread traced by the host thread that adopted it.
pub(crate) struct StubThread {
    /// The stub process.
    pub(crate) pid: i32,
    /// The thread.
    pub(crate) tid: i32,
    /// Whether it runs guest code, or is about to.
    in_guest: AtomicBool,
    /// Counts entries into guest code.
    stint: AtomicU32,
    /// Whether its registers are those its context has loaded last; stub code changes them.
    regs_loaded: AtomicBool,
    /// Whether it has ended. Its id may belong to another thread by now.
    gone: AtomicBool,
}

impl StubThread {
    pub(crate) fn new(pid: i32, tid: i32) -> StubThread {
        StubThread {
            pid,
            tid,
            in_guest: AtomicBool::new(false),
            stint: AtomicU32::new(0),
            regs_loaded: AtomicBool::new(false),
            gone: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.pid == self.tid
    }

    pub(crate) fn set_in_guest(&self, value: bool) {
        if value {
            // Written by one thread only.
            self.stint.store(self.stint().wrapping_add(1), Ordering::Relaxed);
        }
        self.in_guest.store(value, Ordering::SeqCst);
    }

    /// Brings the thread out of guest code, if it is there. To be called while it cannot be reaped.
    pub(crate) fn kick(&self) {
        if self.is_in_guest() && !self.is_gone() {
            // It fails only for a thread that is dying, whose tracer will see that.
            let _ = platform_host::process::tgkill(self.pid, self.tid, KICK);
        }
    }

    pub(crate) fn regs_loaded(&self) -> bool {
        self.regs_loaded.load(Ordering::Relaxed)
    }

    pub(crate) fn set_regs_loaded(&self, value: bool) {
        self.regs_loaded.store(value, Ordering::Relaxed);
    }

    pub(crate) fn set_gone(&self) {
        self.gone.store(true, Ordering::SeqCst);
    }
}

impl platform_placement::StubThread for StubThread {
    fn tid(&self) -> i32 {
        self.tid
    }

    fn is_in_guest(&self) -> bool {
        self.in_guest.load(Ordering::SeqCst)
    }

    fn stint(&self) -> u32 {
        self.stint.load(Ordering::Relaxed)
    }

    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    /// Reaps the threads of this one's process that have ended while their host threads were busy in the sentry.
    ///
    /// The end of a killed process's leader is reported when all its other threads have been reaped. Its host thread
    /// waits for that, and would for ever if theirs do not look.
    fn look_after(&self, all: &[Arc<Pair<StubThread>>]) {
        let idle = |thread: &StubThread| {
            thread.pid == self.pid && !thread.is_leader() && !thread.is_in_guest() && !thread.is_gone()
        };
        if !self.is_leader() {
            return;
        }
        for thread in all.iter().map(|pair| pair.thread()).filter(|thread| idle(thread)) {
            if wait::has_ended(thread.tid) {
                // In this order: the id is free once the thread is reaped.
                thread.set_gone();
                let _ = wait::reap(thread.tid);
            }
        }
    }
}

thread_local! {
    /// The stub threads the calling host thread traces: one, as a rule.
    static TRACED: RefCell<Vec<Arc<StubThread>>> = const { RefCell::new(Vec::new()) };
}

/// Notes that the calling host thread traces `thread`.
pub(crate) fn note_traced(thread: &Arc<StubThread>) {
    TRACED.with_borrow_mut(|traced| traced.push(thread.clone()));
}

/// Forgets `thread`.
pub(crate) fn forget_traced(thread: &Arc<StubThread>) {
    // A context may be dropped by a destructor that runs after the list's own; then there is nothing to forget.
    let _ = TRACED.try_with(|traced| traced.borrow_mut().retain(|other| !Arc::ptr_eq(other, thread)));
}

/// A stub thread of process `pid` that the calling host thread traces, and which is stopped since that thread is here.
pub(crate) fn traced_in(pid: i32) -> Option<Arc<StubThread>> {
    TRACED
        .try_with(|traced| {
            traced.borrow().iter().find(|thread| thread.pid == pid && !thread.is_gone()).cloned()
        })
        .ok()
        .flatten()
}
