//! A process: what its threads share. Linux: include/linux/sched/signal.h, `struct signal_struct`.

use crate::signal::{Pending, SigHand};
use crate::timer::ProcessTimers;
use crate::{Kernel, Pid, Task};
use sentry_auth::{Cred, NprocCount};
use sentry_sync::{Mutex, MutexGuard, RwLock, WaitQueue, level};
use sentry_uapi::resource::{
    RLIM_INFINITY, RLIM_NLIMITS, RLIMIT_CORE, RLIMIT_MEMLOCK, RLIMIT_MSGQUEUE, RLIMIT_NICE, RLIMIT_NOFILE,
    RLIMIT_NPROC, RLIMIT_RTPRIO, RLIMIT_SIGPENDING, RLIMIT_STACK, Rlimit,
};
use sentry_uapi::signal::SigSet;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Weak};

/// Resource use, in nanoseconds and counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Time in guest code.
    pub utime: u64,
    /// Time in the sentry.
    pub stime: u64,
    /// Times it went to sleep.
    pub nvcsw: u64,
    /// Page faults.
    pub minflt: u64,
    /// Largest resident set, in KiB.
    pub maxrss: u64,
}

impl Usage {
    /// Adds another's use.
    pub fn add(&mut self, other: &Usage) {
        self.utime += other.utime;
        self.stime += other.stime;
        self.nvcsw += other.nvcsw;
        self.minflt += other.minflt;
        self.maxrss = self.maxrss.max(other.maxrss);
    }
}

/// Progress of a stop that SIGSTOP and its like began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopState {
    Running,
    /// So many threads have yet to stop.
    Stopping {
        signo: i32,
        remaining: usize,
    },
    Stopped {
        signo: i32,
    },
}

/// Signals and the fate of a process.
pub struct SignalState {
    pub(crate) shared: Pending,
    /// The wait status all threads are ending with.
    pub(crate) group_exit: Option<i32>,
    /// The thread that is ending all others to execute a program.
    pub(crate) exec_thread: Option<u32>,
    pub(crate) stop: StopState,
    /// A stop wait4(2) has not been told of.
    pub(crate) stop_report: Option<i32>,
    /// A continuation wait4(2) has not been told of.
    pub(crate) continued_report: bool,
}

/// What is left of a leader that has ended, until its process is reaped: `/proc/[pid]` still shows it.
#[derive(Clone)]
pub struct DeadLeader {
    /// Its name.
    pub comm: Vec<u8>,
    /// Its credentials.
    pub cred: Arc<Cred>,
}

/// A process.
pub struct ThreadGroup {
    /// Its id: the pid of its leader.
    pub pid: Arc<Pid>,
    /// The kernel it runs on.
    pub kernel: Weak<Kernel>,
    sighand: RwLock<Arc<SigHand>, { level::LEAF }>,
    signal: Mutex<SignalState, { level::SIGHAND }>,
    /// Woken when a child ends, stops or goes on.
    pub(crate) wait_chldexit: WaitQueue,
    /// Woken when a signal becomes pending: signalfd.
    pub(crate) signal_queue: WaitQueue,
    /// Woken when the process ends: pidfds.
    pub(crate) exit_queue: WaitQueue,
    rlimits: Mutex<[Rlimit; RLIM_NLIMITS], { level::LEAF }>,
    /// Use of threads that have ended.
    pub(crate) dead_threads: Mutex<Usage, { level::LEAF }>,
    /// Use of children that were waited for.
    pub(crate) dead_children: Mutex<Usage, { level::LEAF }>,
    pub(crate) timers: Mutex<ProcessTimers, { level::TIMERS }>,
    /// `/proc/[pid]/oom_score_adj`.
    pub oom_score_adj: AtomicI32,
    /// First process of a pid namespace: only what it handles reaches it from inside. Linux: SIGNAL_UNKILLABLE.
    pub(crate) unkillable: AtomicBool,
    /// The last thread is gone.
    pub(crate) dead: AtomicBool,
    /// CLOCK_BOOTTIME at its start.
    pub start_time: i64,
    /// PR_SET_CHILD_SUBREAPER here or in an ancestor: worth looking for one.
    pub(crate) has_child_subreaper: AtomicBool,
    /// Registered for expedited barriers: bit 0 for memory, bit 1 for instruction streams.
    membarrier: AtomicI32,
    /// Real user id of the thread that changed it last; outlives the threads.
    pub(crate) last_uid: Mutex<sentry_auth::Kuid, { level::LEAF }>,
    pub(crate) dead_leader: Mutex<Option<DeadLeader>, { level::LEAF }>,
    /// What the leader, a zombie now, counts against RLIMIT_NPROC.
    pub(crate) dead_leader_nproc: Mutex<Option<NprocCount>, { level::LEAF }>,
}

impl ThreadGroup {
    pub(crate) fn new(
        kernel: &Arc<Kernel>,
        pid: Arc<Pid>,
        sighand: Arc<SigHand>,
        rlimits: [Rlimit; RLIM_NLIMITS],
    ) -> Arc<ThreadGroup> {
        Arc::new(ThreadGroup {
            pid,
            kernel: Arc::downgrade(kernel),
            sighand: RwLock::new(sighand),
            signal: Mutex::new(SignalState {
                shared: Pending::default(),
                group_exit: None,
                exec_thread: None,
                stop: StopState::Running,
                stop_report: None,
                continued_report: false,
            }),
            wait_chldexit: WaitQueue::new(),
            signal_queue: WaitQueue::new(),
            exit_queue: WaitQueue::new(),
            rlimits: Mutex::new(rlimits),
            dead_threads: Mutex::new(Usage::default()),
            dead_children: Mutex::new(Usage::default()),
            timers: Mutex::new(ProcessTimers::default()),
            oom_score_adj: AtomicI32::new(0),
            unkillable: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            start_time: kernel.clocks.boottime(),
            has_child_subreaper: AtomicBool::new(false),
            membarrier: AtomicI32::new(0),
            last_uid: Mutex::new(sentry_auth::Kuid::GLOBAL_ROOT),
            dead_leader: Mutex::new(None),
            dead_leader_nproc: Mutex::new(None),
        })
    }

    /// Global number of the process.
    pub fn id(&self) -> u32 {
        self.pid.global()
    }

    /// membarrier(2): registers the process for expedited barriers.
    pub fn register_membarrier(&self, sync_core: bool) {
        self.membarrier.fetch_or(if sync_core { 2 } else { 1 }, Ordering::Relaxed);
    }

    /// Whether it is registered.
    pub fn has_membarrier(&self, sync_core: bool) -> bool {
        self.membarrier.load(Ordering::Relaxed) & if sync_core { 2 } else { 1 } != 0
    }

    /// Real user id, also after its end.
    pub fn last_uid(&self) -> sentry_auth::Kuid {
        *self.last_uid.lock()
    }

    /// What is left of the leader, once it has ended.
    pub fn dead_leader(&self) -> Option<DeadLeader> {
        self.dead_leader.lock().clone()
    }

    /// Signals pending for the process as a whole.
    pub fn shared_pending_set(&self) -> SigSet {
        self.signal.lock().shared.set()
    }

    /// Number of signals queued for the process as a whole.
    pub fn shared_pending_len(&self) -> usize {
        self.signal.lock().shared.len()
    }

    /// Use of children that were waited for.
    pub fn children_usage(&self) -> Usage {
        *self.dead_children.lock()
    }

    /// Use of all its threads, dead ones included.
    pub fn usage(&self) -> Usage {
        let mut usage = *self.dead_threads.lock();
        for t in self.threads() {
            usage.add(&t.usage());
        }
        usage
    }

    /// The signal handlers.
    pub fn sighand(&self) -> Arc<SigHand> {
        self.sighand.read().clone()
    }

    pub(crate) fn set_sighand(&self, sighand: Arc<SigHand>) {
        *self.sighand.write() = sighand;
    }

    /// Signals and fate, locked. Lock order: inside the tree.
    pub(crate) fn signal(&self) -> MutexGuard<'_, SignalState, { level::SIGHAND }> {
        self.signal.lock()
    }

    /// Whether the process has stopped altogether.
    pub fn is_stopped(&self) -> bool {
        matches!(self.signal.lock().stop, StopState::Stopped { .. })
    }

    /// Whether its last thread is gone.
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    /// Woken when the process ends.
    pub fn exit_queue(&self) -> &WaitQueue {
        &self.exit_queue
    }

    /// A resource limit.
    pub fn rlimit(&self, resource: usize) -> Rlimit {
        self.rlimits.lock().get(resource).copied().unwrap_or(UNLIMITED)
    }

    /// Replaces a resource limit.
    pub fn set_rlimit(&self, resource: usize, limit: Rlimit) {
        if let Some(slot) = self.rlimits.lock().get_mut(resource) {
            *slot = limit;
        }
    }

    /// All resource limits, for fork.
    pub fn rlimits(&self) -> [Rlimit; RLIM_NLIMITS] {
        *self.rlimits.lock()
    }

    /// Its living threads.
    pub fn threads(&self) -> Vec<Arc<Task>> {
        let Some(kernel) = self.kernel.upgrade() else { return Vec::new() };
        let tree = kernel.tree.lock();
        tree.processes.get(&self.id()).map(|p| p.threads.clone()).unwrap_or_default()
    }
}

const UNLIMITED: Rlimit = Rlimit { cur: RLIM_INFINITY, max: RLIM_INFINITY };

/// Limits of a first process, where its creator does not say. Linux: include/asm-generic/resource.h, `INIT_RLIMITS`.
pub fn init_rlimits() -> [Rlimit; RLIM_NLIMITS] {
    let mut limits = [UNLIMITED; RLIM_NLIMITS];
    for (resource, cur, max) in [
        (RLIMIT_STACK, 8 << 20, RLIM_INFINITY),
        (RLIMIT_CORE, 0, RLIM_INFINITY),
        (RLIMIT_NPROC, 1 << 16, 1 << 16),
        (RLIMIT_NOFILE, 1024, 1 << 20),
        (RLIMIT_MEMLOCK, 8 << 20, 8 << 20),
        (RLIMIT_SIGPENDING, 1 << 16, 1 << 16),
        (RLIMIT_MSGQUEUE, 819_200, 819_200),
        (RLIMIT_NICE, 0, 0),
        (RLIMIT_RTPRIO, 0, 0),
    ] {
        limits[resource] = Rlimit { cur, max };
    }
    limits
}
