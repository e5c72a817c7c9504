//! A stub process: its threads, and the map operations it has yet to carry out.
//!
//! Operations are queued while no thread runs guest code, and carried out by the next thread that is about to. The two
//! sides meet without a lock: whoever enters guest code counts itself in, then looks for queued operations; whoever
//! queues operations does so, then looks at the count. Both in sequential order, so at least one sees the other.

use crate::Shared;
use crate::control_file::{Call, QueueSlot};
use crate::filter::HUGE_ADVICE;
use crate::stub_code::{THREAD_FLAGS, USER_END, USER_START};
use crate::thread::{StubThread, traced_in};
use crate::tracee;
use crate::zygote::FreshStub;
use parking_lot::{Condvar, Mutex, MutexGuard};
use platform::{Backing, MapOp, PlatformError, PlatformStats};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EBUSY, EINVAL, ESRCH};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Parked threads an address space keeps for its next contexts.
const MAX_SPARE: usize = 4;
/// Queued operations above which the queue is carried out at the next opportunity rather than grown.
const MAX_PENDING: usize = 4096;

/// A thread that is parked and traced by nobody.
pub(crate) struct Spare {
    pub(crate) tid: i32,
    /// Whether it has never run guest code, so that its extended state is the initial one.
    pub(crate) fresh: bool,
}

#[derive(Default)]
struct State {
    pending: Vec<MapOp>,
    /// Number of operations queued, and of those carried out, ever.
    queued: u64,
    done: u64,
    /// A batch has failed: what is mapped is unknown, and guest code must not run any more.
    failed: Option<Errno>,
    members: Vec<Arc<StubThread>>,
    spare: Vec<Spare>,
    /// Places for threads that are about to park.
    claimed: usize,
}

/// A stub process, killed and reaped when this is dropped.
pub(crate) struct StubProcess {
    pub(crate) id: u64,
    pub(crate) pid: i32,
    shared: Arc<Shared>,
    /// `None` only in `drop`.
    queue: Option<QueueSlot>,
    /// Whether a thread other than the leader was still traced when the last context left.
    traced: Mutex<Option<i32>>,
    /// Whether the process itself has been reaped.
    reaped: AtomicBool,
    has_pending: AtomicBool,
    in_guest: AtomicUsize,
    state: Mutex<State>,
    /// Signalled when operations have been carried out.
    flushed: Condvar,
}

impl StubProcess {
    pub(crate) fn new(id: u64, stub: FreshStub, shared: Arc<Shared>) -> StubProcess {
        let spare = vec![Spare { tid: stub.pid, fresh: true }];
        StubProcess {
            id,
            pid: stub.pid,
            shared,
            queue: Some(stub.queue),
            traced: Mutex::new(None),
            reaped: AtomicBool::new(false),
            has_pending: AtomicBool::new(false),
            in_guest: AtomicUsize::new(0),
            state: Mutex::new(State { spare, ..State::default() }),
            flushed: Condvar::new(),
        }
    }

    /// Counts `thread`, which the caller traces, as running guest code, unless there is something to carry out first.
    /// Tells whether it may go.
    pub(crate) fn try_enter(&self, thread: &StubThread) -> bool {
        thread.set_in_guest(true);
        self.in_guest.fetch_add(1, Ordering::SeqCst);
        if self.has_pending.load(Ordering::SeqCst) {
            self.exit(thread);
            return false;
        }
        true
    }

    /// Undoes [`Self::try_enter`] when the thread has stopped.
    pub(crate) fn exit(&self, thread: &StubThread) {
        thread.set_in_guest(false);
        self.in_guest.fetch_sub(1, Ordering::SeqCst);
        if self.has_pending.load(Ordering::SeqCst) {
            // Somebody may wait for this; the lock keeps the signal from falling between their look and their wait.
            let _state = self.state.lock();
            self.flushed.notify_all();
        }
    }

    /// Carries out what is queued, through a stopped thread that the caller traces.
    pub(crate) fn flush(&self, thread: &StubThread) -> Result<(), PlatformError> {
        self.flush_locked(&mut self.state.lock(), thread)
    }

    fn flush_locked(
        &self,
        state: &mut MutexGuard<'_, State>,
        thread: &StubThread,
    ) -> Result<(), PlatformError> {
        if let Some(errno) = state.failed {
            return Err(failure(errno));
        }
        if state.pending.is_empty() {
            self.has_pending.store(false, Ordering::SeqCst);
            return Ok(());
        }
        let Some(queue) = &self.queue else { return Ok(()) };
        let ops = std::mem::take(&mut state.pending);
        let calls: Vec<Call> = ops.iter().map(|op| self.encode(op)).collect();
        thread.set_regs_loaded(false);
        let result = tracee::run_calls(thread.tid, &self.shared.entry, queue, &calls);
        PlatformStats::count(&self.shared.stats.map_batches);
        self.shared.stats.map_ops.fetch_add(u64::try_from(ops.len()).unwrap_or(0), Ordering::Relaxed);
        state.done = state.queued;
        let result = match result {
            Ok(Ok(())) => {
                self.has_pending.store(false, Ordering::SeqCst);
                Ok(())
            }
            // From here on nobody enters guest code: `has_pending` stays set and `failed` is found behind it.
            Ok(Err(errno)) => {
                state.failed = Some(errno);
                Err(failure(errno))
            }
            Err(error) => {
                thread.set_gone();
                state.failed = Some(ESRCH);
                Err(error)
            }
        };
        self.flushed.notify_all();
        result
    }

    fn encode(&self, op: &MapOp) -> Call {
        let nr = |number: libc::c_long| u64::try_from(number).unwrap_or(u64::MAX);
        match op {
            MapOp::Map { addr, len, prot, backing, populate } => {
                let populate = if *populate { libc::MAP_POPULATE } else { 0 };
                let flags = u64::try_from(libc::MAP_SHARED | libc::MAP_FIXED | populate).unwrap_or(0);
                let (fd, offset) = match backing {
                    Backing::Memory { offset } => (self.shared.memory_fd(), *offset),
                    Backing::HostFile { fd, offset } => {
                        (u64::try_from(fd.as_raw_fd()).unwrap_or(u64::MAX), *offset)
                    }
                };
                [nr(libc::SYS_mmap), *addr, *len, u64::from(prot.bits()), flags, fd, offset]
            }
            MapOp::Unmap { addr, len } => [nr(libc::SYS_munmap), *addr, *len, 0, 0, 0, 0],
            MapOp::Protect { addr, len, prot } => {
                [nr(libc::SYS_mprotect), *addr, *len, u64::from(prot.bits()), 0, 0, 0]
            }
            MapOp::AdviseHuge { addr, len } => [nr(libc::SYS_madvise), *addr, *len, HUGE_ADVICE, 0, 0, 0],
        }
    }

    /// [`platform::AddressSpace::apply`].
    pub(crate) fn apply(&self, ops: Vec<MapOp>) -> Result<(), PlatformError> {
        if ops.is_empty() {
            return Ok(());
        }
        if !ops.iter().all(|op| op.is_well_formed(USER_START, USER_END)) {
            return Err(PlatformError::Host { what: "map operation", errno: EINVAL });
        }
        let mut state = self.state.lock();
        if let Some(errno) = state.failed {
            return Err(failure(errno));
        }
        state.queued += u64::try_from(ops.len()).unwrap_or(0);
        state.pending.extend(ops);
        self.has_pending.store(true, Ordering::SeqCst);
        let deferrable = self.in_guest.load(Ordering::SeqCst) == 0;
        if deferrable && state.pending.len() < MAX_PENDING {
            return Ok(());
        }
        // The threads of a process share their memory map: one that stands still here serves them all.
        if let Some(thread) = traced_in(self.pid) {
            return self.flush_locked(&mut state, &thread);
        }
        if deferrable {
            return Ok(());
        }
        // None of ours: the threads in guest code come out, and the first of them does it.
        let goal = state.queued;
        state.members.iter().for_each(|member| member.kick());
        while state.done < goal && self.in_guest.load(Ordering::SeqCst) != 0 {
            self.flushed.wait(&mut state);
        }
        match state.failed {
            Some(errno) => Err(failure(errno)),
            None => Ok(()),
        }
    }

    /// A parked thread for a new context, made by `thread`, a stopped one that the caller traces, when there is none.
    pub(crate) fn take_or_clone(&self, thread: &StubThread) -> Result<Spare, PlatformError> {
        let mut state = self.state.lock();
        if let Some(spare) = state.spare.pop() {
            return Ok(spare);
        }
        thread.set_regs_loaded(false);
        let tid = tracee::clone(thread.tid, self.shared.entry.thread, THREAD_FLAGS, 0)?;
        PlatformStats::count(&self.shared.stats.stub_threads);
        Ok(Spare { tid, fresh: false })
    }

    /// A parked thread for a context that comes from another address space.
    pub(crate) fn take(&self) -> Result<Spare, PlatformError> {
        let spare = self.state.lock().spare.pop();
        spare.ok_or(PlatformError::Host { what: "switch without new_sibling", errno: EBUSY })
    }

    /// Gives back a parked thread.
    pub(crate) fn give_back(&self, spare: Spare) {
        self.state.lock().spare.push(spare);
    }

    /// Claims a place among the parked threads, for a later [`Self::park_claimed`]. The leader always gets one: when it
    /// ended, the process would be a zombie with living threads.
    pub(crate) fn claim_place(&self, tid: i32) -> bool {
        let mut state = self.state.lock();
        let welcome = tid == self.pid || state.spare.len() + state.claimed < MAX_SPARE;
        state.claimed += usize::from(welcome);
        welcome
    }

    /// Puts a thread that has been parked into the place claimed for it.
    pub(crate) fn park_claimed(&self, spare: Spare) {
        let mut state = self.state.lock();
        state.claimed -= 1;
        state.spare.push(spare);
    }

    pub(crate) fn join(&self, thread: &Arc<StubThread>) {
        self.state.lock().members.push(thread.clone());
    }

    pub(crate) fn part(&self, thread: &Arc<StubThread>) {
        self.state.lock().members.retain(|member| !Arc::ptr_eq(member, thread));
    }

    /// Notes that `thread` was found to have ended, by its tracer.
    pub(crate) fn note_end(&self, thread: &StubThread) {
        thread.set_gone();
        if thread.is_leader() {
            self.reaped.store(true, Ordering::SeqCst);
        }
    }

    /// Notes that `thread` is still traced while the last user of the process goes.
    pub(crate) fn leave_traced(&self, thread: &StubThread) {
        if !thread.is_leader() {
            *self.traced.lock() = Some(thread.tid);
        }
    }
}

impl Drop for StubProcess {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take()
            && !self.reaped.load(Ordering::SeqCst)
        {
            self.shared.keeper.bury(self.pid, self.traced.lock().take(), queue);
        }
    }
}

/// The error of a process whose mappings are unknown since an operation failed, or that was killed over it (`ESRCH`).
fn failure(errno: Errno) -> PlatformError {
    match errno {
        ESRCH => PlatformError::Gone("the stub was killed".into()),
        errno => tracee::call_error("map operation")(errno),
    }
}
