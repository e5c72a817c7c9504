//! A stub process: its guest threads, and the map operations it has yet to carry out.
//!
//! Operations are queued as long as no guest code has run in the stub. From then on each batch is carried out before
//! [`platform::AddressSpace::apply`] returns: whether a guest thread stands still now is something only the guest knows,
//! as the words that say so lie in its reach. The two sides meet without a lock: whoever enters guest code for the first
//! time says so, then looks for queued operations; whoever queues operations does so, then looks whether guest code has
//! been entered. Both in sequential order, so at least one sees the other.

use crate::Shared;
use crate::filter::HUGE_ADVICE;
use crate::layout::{MAX_THREADS, SLOT_SIZE, SLOTS, USER_END, USER_START};
use crate::mapper::{Call, Mapper, call_error, gone, plain};
use crate::thread::{self, StubThread};
use crate::zygote::FreshStub;
use parking_lot::{Mutex, MutexGuard};
use platform::{Backing, MapOp, PlatformError, PlatformStats};
use platform_host::process;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, EINVAL, ESRCH};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Queued operations above which the queue is carried out rather than grown.
const MAX_PENDING: usize = 4096;

struct State {
    pending: Vec<MapOp>,
    /// A batch has failed: what is mapped is unknown, and guest code must not run any more.
    failed: Option<Errno>,
    /// Contexts that have a thread here.
    members: usize,
    /// The last context has left: nothing of the guest's is mapped any more.
    retired: bool,
    /// Threads without a context.
    spare: Vec<Arc<StubThread>>,
    /// Nothing of the guest's is mapped.
    is_empty: bool,
    /// Slots used so far.
    threads: u32,
    /// `None` only in `drop`.
    mapper: Option<Mapper>,
}

/// A stub process. When this is dropped it goes back to the keeper.
pub(crate) struct StubProcess {
    pub(crate) id: u64,
    pub(crate) pid: i32,
    shared: Arc<Shared>,
    /// Whether guest code has run.
    entered: AtomicBool,
    has_pending: AtomicBool,
    state: Mutex<State>,
}

impl StubProcess {
    pub(crate) fn new(id: u64, stub: FreshStub, shared: Arc<Shared>) -> StubProcess {
        let FreshStub { mapper, threads } = stub;
        StubProcess {
            id,
            pid: mapper.pid(),
            shared,
            entered: AtomicBool::new(false),
            has_pending: AtomicBool::new(false),
            state: Mutex::new(State {
                pending: Vec::new(),
                failed: None,
                members: 0,
                retired: false,
                threads: u32::try_from(threads.len()).unwrap_or(MAX_THREADS),
                spare: threads,
                is_empty: true,
                mapper: Some(mapper),
            }),
        }
    }

    /// Says that guest code is about to run, and tells whether it may: not if there is something to carry out first.
    pub(crate) fn try_enter(&self) -> bool {
        if !self.entered.load(Ordering::Relaxed) {
            self.entered.store(true, Ordering::SeqCst);
        }
        !self.has_pending.load(Ordering::SeqCst)
    }

    /// Carries out what is queued.
    pub(crate) fn flush(&self) -> Result<(), PlatformError> {
        self.flush_locked(&mut self.state.lock())
    }

    fn flush_locked(&self, state: &mut MutexGuard<'_, State>) -> Result<(), PlatformError> {
        if let Some(errno) = state.failed {
            return Err(failure(errno));
        }
        let ops = std::mem::take(&mut state.pending);
        let calls: Vec<Call> = ops.iter().map(|op| self.encode(op)).collect();
        state.is_empty = false;
        let Some(mapper) = &mut state.mapper else { return Ok(()) };
        let result = mapper.run(&calls);
        PlatformStats::count(&self.shared.stats.map_batches);
        self.shared.stats.map_ops.fetch_add(u64::try_from(ops.len()).unwrap_or(0), Ordering::Relaxed);
        let failed = match result {
            Ok(Ok(())) => {
                self.has_pending.store(false, Ordering::SeqCst);
                return Ok(());
            }
            Ok(Err(errno)) => errno,
            Err(_) => ESRCH,
        };
        // From here on nobody enters guest code: the mark is found there, and `failed` behind it. Who is in it must go,
        // since the frames behind a mapping that has not gone are about to be given to others.
        state.failed = Some(failed);
        self.has_pending.store(true, Ordering::SeqCst);
        self.kill_and_wait();
        Err(failure(failed))
    }

    /// Ends the process, and returns when nothing runs in it any more.
    fn kill_and_wait(&self) {
        process::kill_process(self.pid);
        platform_host::wait::await_end(self.pid);
    }

    fn encode(&self, op: &MapOp) -> Call {
        match op {
            MapOp::Map { addr, len, prot, backing, populate } => {
                let populate = if *populate { libc::MAP_POPULATE } else { 0 };
                let flags = u64::try_from(libc::MAP_SHARED | libc::MAP_FIXED | populate).unwrap_or(0);
                let (fd, offset) = match backing {
                    Backing::Memory { offset } => (self.shared.memory_file.as_raw_fd(), *offset),
                    Backing::HostFile { fd, offset } => (fd.as_raw_fd(), *offset),
                };
                let fd = u64::try_from(fd).unwrap_or(u64::MAX);
                plain(libc::SYS_mmap, [*addr, *len, u64::from(prot.bits()), flags, fd, offset])
            }
            MapOp::Unmap { addr, len } => plain(libc::SYS_munmap, [*addr, *len, 0, 0, 0, 0]),
            MapOp::Protect { addr, len, prot } => {
                plain(libc::SYS_mprotect, [*addr, *len, u64::from(prot.bits()), 0, 0, 0])
            }
            MapOp::AdviseHuge { addr, len } => plain(libc::SYS_madvise, [*addr, *len, HUGE_ADVICE, 0, 0, 0]),
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
        if state.retired {
            return Ok(());
        }
        state.pending.extend(ops);
        self.has_pending.store(true, Ordering::SeqCst);
        if !self.entered.load(Ordering::SeqCst) && state.pending.len() < MAX_PENDING {
            return Ok(());
        }
        self.flush_locked(&mut state)
    }

    /// A thread for a context. To be given back by [`Self::part`].
    pub(crate) fn join(&self) -> Result<Arc<StubThread>, PlatformError> {
        let mut state = self.state.lock();
        if state.retired {
            return Err(gone());
        }
        let thread = match state.spare.pop() {
            Some(thread) => thread,
            None => self.start_thread(&mut state)?,
        };
        state.members += 1;
        Ok(thread)
    }

    fn start_thread(&self, state: &mut State) -> Result<Arc<StubThread>, PlatformError> {
        let index = state.threads;
        if index == MAX_THREADS {
            return Err(PlatformError::OutOfMemory(EAGAIN));
        }
        let slot = self.shared.control.allocate_slot()?;
        let Some(mapper) = &mut state.mapper else { return Err(gone()) };
        let addr = SLOTS + u64::from(index) * SLOT_SIZE;
        let thread = thread::start(mapper, self.shared.control.raw_fd(), addr, slot)?;
        state.threads += 1;
        PlatformStats::count(&self.shared.stats.stub_threads);
        Ok(Arc::new(thread))
    }

    /// Takes back a context's thread. With the last one, everything of the guest's is unmapped: its frames are given to
    /// others before the process is gone.
    pub(crate) fn part(&self, thread: Arc<StubThread>) {
        let mut state = self.state.lock();
        state.spare.push(thread);
        state.members -= 1;
        if state.members > 0 {
            return;
        }
        state.retired = true;
        if state.failed.is_some() || state.is_empty {
            return;
        }
        let unmap = plain(libc::SYS_munmap, [USER_START, USER_END - USER_START, 0, 0, 0, 0]);
        let Some(mapper) = &mut state.mapper else { return };
        state.is_empty = matches!(mapper.run(&[unmap]), Ok(Ok(())));
        if !state.is_empty {
            self.kill_and_wait();
        }
    }
}

impl Drop for StubProcess {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        if let Some(mapper) = state.mapper.take() {
            let stub = FreshStub { mapper, threads: std::mem::take(&mut state.spare) };
            self.shared.keeper.take_back(stub, state.is_empty && state.failed.is_none());
        }
    }
}

/// The error of a process whose mappings are unknown since an operation failed, or that is gone (`ESRCH`).
fn failure(errno: Errno) -> PlatformError {
    match errno {
        ESRCH => gone(),
        errno => call_error("map operation")(errno),
    }
}
