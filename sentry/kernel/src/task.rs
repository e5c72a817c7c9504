//! Linux: include/linux/sched.h, `struct task_struct`. The part of a task that others may look at.

use crate::signal::Pending;
use crate::{Kernel, NsProxy, Pid, PidNamespace, ThreadGroup, Usage};
use fs_vfs::{FdTable, FsStruct};
use platform::Interrupter;
use sentry_auth::{Cred, NprocCount, inc_nproc};
use sentry_mm::MemoryManager;
use sentry_sync::{Mutex, Parker, RwLock, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::ESRCH;
use sentry_uapi::signal::SigSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU64, Ordering};

/// Longest name of a thread with its terminating zero.
pub const TASK_COMM_LEN: usize = 16;

/// What a task is doing, as `/proc/[pid]/stat` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RunState {
    /// Running or wanting to.
    Running = b'R',
    /// Asleep until an event or a signal.
    Sleeping = b'S',
    /// Asleep until an event.
    Uninterruptible = b'D',
    /// Stopped by a signal.
    Stopped = b'T',
    /// Ended, not waited for.
    Zombie = b'Z',
}

/// Scheduling attributes; kept and reported, the host schedules.
#[derive(Clone, Debug)]
pub struct SchedAttr {
    /// SCHED_OTHER and so on.
    pub policy: u32,
    /// Real-time priority.
    pub priority: i32,
    /// Nice value.
    pub nice: i32,
    /// ioprio_set(2): class and level.
    pub ioprio: u16,
    /// SCHED_RESET_ON_FORK.
    pub reset_on_fork: bool,
    /// CPUs it may run on, as a bit mask in words of 64.
    pub affinity: Vec<u64>,
}

/// Resources a task may share with others.
pub struct Resources {
    /// Address space; none once the task is exiting.
    pub mm: Option<Arc<MemoryManager>>,
    /// Root, working directory and umask.
    pub fs: Arc<FsStruct>,
    /// Descriptors; none once the task is exiting.
    pub files: Option<Arc<FdTable>>,
    /// Namespaces.
    pub ns: Arc<NsProxy>,
}

/// A thread.
pub struct Task {
    /// The kernel it runs on.
    pub kernel: Arc<Kernel>,
    /// Its process.
    pub group: Arc<ThreadGroup>,
    pid: RwLock<Arc<Pid>, { level::LEAF }>,
    cred: RwLock<Arc<Cred>, { level::LEAF }>,
    /// What it counts against RLIMIT_NPROC of its user.
    pub(crate) nproc: Mutex<Option<NprocCount>, { level::LEAF }>,
    pub(crate) resources: Mutex<Resources, { level::TASK }>,
    /// Signals sent to this thread. Changed with the group's signal lock held.
    pub(crate) pending: Mutex<Pending, { level::LEAF }>,
    /// Blocked signals; changed by the task itself, with the group's signal lock held.
    pub(crate) blocked: AtomicU64,
    /// What sigtimedwait(2) has let in for the time being: wakes the task though it is blocked.
    pub(crate) awaited: AtomicU64,
    /// There may be a signal to deliver. Linux: TIF_SIGPENDING.
    pub(crate) sigpending: AtomicBool,
    /// The task is to end. Linux: a pending SIGKILL.
    pub(crate) killed: AtomicBool,
    /// A group stop waits for this thread.
    pub(crate) stop_requested: AtomicBool,
    /// The signal it took out last asks it to stop, and no SIGCONT has come since. Changed with the group's signal lock
    /// held. Linux: JOBCTL_STOP_DEQUEUED.
    pub(crate) stop_dequeued: AtomicBool,
    pub(crate) exiting: AtomicBool,
    pub(crate) parker: Arc<Parker>,
    pub(crate) interrupter: Arc<dyn Interrupter>,
    run_state: AtomicU8,
    comm: Mutex<[u8; TASK_COMM_LEN], { level::LEAF }>,
    /// CPU time in guest code and in the kernel, in steps of the time-stamp counter. Written by the task alone.
    pub(crate) utime: AtomicU64,
    pub(crate) stime: AtomicU64,
    pub(crate) nvcsw: AtomicU64,
    /// CLOCK_BOOTTIME at its start.
    pub start_time: i64,
    /// Scheduling attributes.
    pub sched: Mutex<SchedAttr, { level::LEAF }>,
    /// set_robust_list(2): address of the head.
    pub robust_list: AtomicU64,
    /// set_tid_address(2).
    pub clear_child_tid: AtomicU64,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privs: AtomicBool,
    /// PR_SET_PDEATHSIG.
    pub pdeath_signal: AtomicI32,
    /// personality(2).
    pub personality: AtomicU64,
    /// PR_SET_TIMERSLACK, in nanoseconds.
    pub timer_slack: AtomicU64,
    /// A system call waits here; for `/proc/[pid]/wchan` and `syscall`: number plus one, 0 outside.
    pub(crate) syscall: AtomicU64,
    /// What is undone of its semaphore operations when it ends.
    pub(crate) sem_undo: Mutex<Option<Arc<crate::ipc::SemUndoList>>, { level::LEAF }>,
    /// Told when the task lets go of its address space, if it was made by vfork(2).
    pub(crate) vfork_done: Mutex<Option<Arc<crate::fork::VforkDone>>, { level::LEAF }>,
}

/// What a new task starts with.
pub(crate) struct NewTask {
    pub(crate) pid: Arc<Pid>,
    pub(crate) cred: Arc<Cred>,
    pub(crate) resources: Resources,
    pub(crate) blocked: SigSet,
    pub(crate) comm: [u8; TASK_COMM_LEN],
    pub(crate) sched: SchedAttr,
    pub(crate) interrupter: Arc<dyn Interrupter>,
}

impl Task {
    pub(crate) fn new(kernel: Arc<Kernel>, group: Arc<ThreadGroup>, new: NewTask) -> Arc<Task> {
        let start_time = kernel.clocks.boottime();
        *group.last_uid.lock() = new.cred.uid;
        let nproc = inc_nproc(&new.cred.user_ns, new.cred.uid);
        Arc::new(Task {
            kernel,
            group,
            pid: RwLock::new(new.pid),
            cred: RwLock::new(new.cred),
            nproc: Mutex::new(Some(nproc)),
            resources: Mutex::new(new.resources),
            pending: Mutex::new(Pending::default()),
            blocked: AtomicU64::new(new.blocked.0),
            awaited: AtomicU64::new(0),
            sigpending: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            stop_requested: AtomicBool::new(false),
            stop_dequeued: AtomicBool::new(false),
            exiting: AtomicBool::new(false),
            parker: Arc::new(Parker::new()),
            interrupter: new.interrupter,
            run_state: AtomicU8::new(RunState::Running as u8),
            comm: Mutex::new(new.comm),
            utime: AtomicU64::new(0),
            stime: AtomicU64::new(0),
            nvcsw: AtomicU64::new(0),
            start_time,
            sched: Mutex::new(new.sched),
            robust_list: AtomicU64::new(0),
            clear_child_tid: AtomicU64::new(0),
            no_new_privs: AtomicBool::new(false),
            pdeath_signal: AtomicI32::new(0),
            personality: AtomicU64::new(0),
            timer_slack: AtomicU64::new(50_000),
            syscall: AtomicU64::new(0),
            sem_undo: Mutex::new(None),
            vfork_done: Mutex::new(None),
        })
    }

    /// Its id. Changes only when it executes a program without being the leader.
    pub fn pid(&self) -> Arc<Pid> {
        self.pid.read().clone()
    }

    pub(crate) fn set_pid(&self, pid: Arc<Pid>) {
        // The old one goes after the lock: it tells its namespaces.
        let old = std::mem::replace(&mut *self.pid.write(), pid);
        drop(old);
    }

    /// Global number of the thread.
    pub fn tid(&self) -> u32 {
        self.pid.read().global()
    }

    /// The namespace its id was made in. Linux: `task_active_pid_ns`.
    pub fn pid_ns(&self) -> Arc<PidNamespace> {
        let pid = self.pid.read();
        pid.namespace().cloned().unwrap_or_else(|| self.kernel.root_pid_ns.clone())
    }

    /// Its credentials.
    pub fn cred(&self) -> Arc<Cred> {
        self.cred.read().clone()
    }

    /// Replaces its credentials. Linux: `commit_creds`.
    pub(crate) fn set_cred(&self, cred: Arc<Cred>) {
        *self.group.last_uid.lock() = cred.uid;
        self.count_nproc(&cred);
        let old = std::mem::replace(&mut *self.cred.write(), cred);
        drop(old);
    }

    /// Its address space.
    ///
    /// # Errors
    /// `ESRCH` when it is exiting.
    pub fn mm(&self) -> Result<Arc<MemoryManager>, Errno> {
        self.resources.lock().mm.clone().ok_or(ESRCH)
    }

    /// Root, working directory and umask.
    pub fn fs(&self) -> Arc<FsStruct> {
        self.resources.lock().fs.clone()
    }

    /// Its descriptors.
    ///
    /// # Errors
    /// `ESRCH` when it is exiting.
    pub fn files(&self) -> Result<Arc<FdTable>, Errno> {
        self.resources.lock().files.clone().ok_or(ESRCH)
    }

    /// Its namespaces.
    pub fn ns(&self) -> Arc<NsProxy> {
        self.resources.lock().ns.clone()
    }

    /// Replaces its namespaces. Linux: `switch_task_namespaces`.
    pub fn set_ns(&self, ns: Arc<NsProxy>) {
        let old = std::mem::replace(&mut self.resources.lock().ns, ns);
        drop(old);
    }

    /// Its name, without the padding.
    pub fn comm(&self) -> Vec<u8> {
        let comm = *self.comm.lock();
        comm.split(|b| *b == 0).next().unwrap_or_default().to_vec()
    }

    pub(crate) fn comm_bytes(&self) -> [u8; TASK_COMM_LEN] {
        *self.comm.lock()
    }

    /// Sets its name, cut to 15 bytes. Linux: `set_task_comm`.
    pub fn set_comm(&self, name: &[u8]) {
        let mut comm = [0; TASK_COMM_LEN];
        let name = name.split(|b| *b == 0).next().unwrap_or_default();
        for (to, from) in comm.iter_mut().take(TASK_COMM_LEN - 1).zip(name) {
            *to = *from;
        }
        *self.comm.lock() = comm;
    }

    /// Blocked signals.
    pub fn blocked(&self) -> SigSet {
        SigSet(self.blocked.load(Ordering::Relaxed))
    }

    /// Signals that sigtimedwait(2) waits for. Linux: `real_blocked`.
    pub(crate) fn awaited(&self) -> SigSet {
        SigSet(self.awaited.load(Ordering::Relaxed))
    }

    /// Signals pending for this thread alone.
    pub fn pending_set(&self) -> SigSet {
        self.pending.lock().set()
    }

    /// What it is doing.
    pub fn run_state(&self) -> char {
        char::from(self.run_state.load(Ordering::Relaxed))
    }

    pub(crate) fn set_run_state(&self, state: RunState) {
        self.run_state.store(state as u8, Ordering::Relaxed);
    }

    /// Whether it is on its way out.
    pub fn is_exiting(&self) -> bool {
        self.exiting.load(Ordering::Acquire)
    }

    /// Whether it is the first thread of its process.
    pub fn is_leader(&self) -> bool {
        self.tid() == self.group.id()
    }

    /// Its resource use so far.
    pub fn usage(&self) -> Usage {
        Usage {
            utime: self.kernel.cpu_clock.nanos(self.utime.load(Ordering::Relaxed)),
            stime: self.kernel.cpu_clock.nanos(self.stime.load(Ordering::Relaxed)),
            nvcsw: self.nvcsw.load(Ordering::Relaxed),
            ..Usage::default()
        }
    }

    /// The system call it is in.
    pub fn current_syscall(&self) -> Option<u64> {
        self.syscall.load(Ordering::Relaxed).checked_sub(1)
    }

    /// Makes it leave guest code for a moment, if it is in it.
    pub fn interrupt_guest(&self) {
        self.interrupter.interrupt();
    }

    /// Replaces root, working directory and umask.
    pub(crate) fn set_fs(&self, fs: Arc<FsStruct>) {
        let old = std::mem::replace(&mut self.resources.lock().fs, fs);
        drop(old);
    }

    /// Gives it a descriptor table of its own. Linux: `unshare_files`.
    pub fn unshare_files(&self) {
        let files = self.resources.lock().files.clone();
        // Two references are the task's own and the one just taken: nobody shares it then.
        if let Some(files) = files
            && Arc::strong_count(&files) > 2
        {
            let copy = files.copy();
            self.resources.lock().files = Some(copy);
        }
    }

    /// Makes it look at its state, whether it sleeps or runs guest code. Linux: `signal_wake_up`.
    pub(crate) fn kick(&self) {
        self.sigpending.store(true, Ordering::SeqCst);
        self.parker.unpark();
        self.interrupter.interrupt();
    }
}
