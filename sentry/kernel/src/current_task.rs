//! The task whose thread is running: the part nobody else may look at. Linux: `current`.

use crate::syscall::SyscallExit;
use crate::{Kernel, OffsetClock, RunState, Task};
use fs_vfs::{FdTable, FsStruct, MountNamespace, Namespace, Resource, Sleep, TaskContext, Vfs};
use platform::{Context, PtRegs};
use platform_host::tsc::rdtsc;
use sentry_auth::{CapSet, Cred, UserNamespace, cred_cap_issubset};
use sentry_mm::{FaultHistory, MemoryManager, MmLimits};
use sentry_sync::{WaitQueue, Wake};
use sentry_uapi::Errno;
use sentry_uapi::errno::{ERESTARTSYS, ESRCH};
use sentry_uapi::mqueue::MqAttr;
use sentry_uapi::resource::{RLIMIT_AS, RLIMIT_DATA, RLIMIT_MEMLOCK, RLIMIT_STACK};
use sentry_uapi::sigaction::SigAltStack;
use sentry_uapi::signal::{SigInfo, SigSet};
use std::any::Any;
use std::cell::Cell;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// What restart_syscall(2) goes on with.
pub type RestartFn = Box<dyn FnOnce(&mut CurrentTask) -> Result<u64, SyscallExit>>;

/// The running task. Belongs to its host thread.
pub struct CurrentTask {
    pub(crate) task: Arc<Task>,
    /// The address space, as long as it has one; the same as in the shared part, without its lock.
    pub(crate) mm: Option<Arc<MemoryManager>>,
    /// Registers of the guest.
    pub regs: PtRegs,
    pub(crate) ctx: Box<dyn Context + Send>,
    /// sigaltstack(2).
    pub altstack: SigAltStack,
    /// The mask to go back to after a call that changed it for its duration. Linux: TIF_RESTORE_SIGMASK.
    pub(crate) saved_mask: Option<SigSet>,
    pub(crate) restart: Option<RestartFn>,
    pub(crate) faults: FaultHistory,
    /// The last exception, for the contexts of signals.
    pub(crate) exception: crate::arch::Exception,
    /// The number of the system call being served. Linux: `orig_ax`, -1 outside.
    pub(crate) in_syscall: Option<u64>,
    /// It has become a user with too many processes. Linux: `PF_NPROC_EXCEEDED`.
    pub(crate) nproc_exceeded: bool,
    /// Set by exit: the thread ends with this wait status.
    pub(crate) exit_status: Option<i32>,
    /// Time asleep since the task left guest code, in steps of the time-stamp counter: no CPU time.
    pub(crate) slept: Cell<u64>,
    /// What mq_open(2) wants of the queue it is about to make. Linux: the argument of `vfs_mkobj`.
    pub(crate) mq_attr: Cell<Option<MqAttr>>,
    /// How rewritten calls enter the kernel, and the calls that may become such.
    pub(crate) call_gate: Option<platform::CallGate>,
    pub(crate) hot_calls: crate::arch::HotCalls,
    /// Where the last call through the gate returns to.
    pub(crate) gate_rip: Option<u64>,
    /// System calls made, which the kernel is told of now and then.
    pub(crate) calls: u64,
    /// The platform knows the answers of [`CurrentTask::tell_answers`].
    pub(crate) answers_told: bool,
    /// `rseq(2)` registration: address, length, signature.
    pub rseq: Option<(u64, u32, u32)>,
}

impl CurrentTask {
    pub(crate) fn new(task: Arc<Task>, regs: PtRegs, ctx: Box<dyn Context + Send>) -> CurrentTask {
        let mm = task.mm().ok();
        let call_gate = task.kernel.platform.call_gate();
        CurrentTask {
            task,
            mm,
            regs,
            ctx,
            altstack: SigAltStack { ss_flags: sentry_uapi::sigaction::SS_DISABLE, ..SigAltStack::default() },
            saved_mask: None,
            restart: None,
            faults: FaultHistory::default(),
            exception: crate::arch::Exception::default(),
            in_syscall: None,
            nproc_exceeded: false,
            exit_status: None,
            slept: Cell::new(0),
            mq_attr: Cell::new(None),
            call_gate,
            hot_calls: crate::arch::HotCalls::default(),
            gate_rip: None,
            calls: 0,
            answers_told: false,
            rseq: None,
        }
    }

    /// The shared part.
    pub fn task(&self) -> &Arc<Task> {
        &self.task
    }

    /// The kernel.
    pub fn kernel(&self) -> &Arc<Kernel> {
        &self.task.kernel
    }

    /// The address space.
    ///
    /// # Errors
    /// `ESRCH` when the task is exiting.
    pub fn user(&self) -> Result<&Arc<MemoryManager>, Errno> {
        self.mm.as_ref().ok_or(ESRCH)
    }

    /// Limits for changes of the address space.
    pub fn mm_limits(&self) -> MmLimits {
        let g = &self.task.group;
        let memlock = if self.capable(CapSet::IPC_LOCK) { u64::MAX } else { g.rlimit(RLIMIT_MEMLOCK).cur };
        MmLimits {
            address_space: g.rlimit(RLIMIT_AS).cur,
            data: g.rlimit(RLIMIT_DATA).cur,
            stack: g.rlimit(RLIMIT_STACK).cur,
            memlock,
        }
    }

    /// Whether it has a capability over the whole kernel, as only those of the first user namespace can. Linux: `capable`.
    pub fn capable(&self, cap: CapSet) -> bool {
        self.kernel().vfs.capable(&self.task.cred(), cap)
    }

    /// Replaces the credentials. Linux: kernel/cred.c, `commit_creds`.
    ///
    /// A change of effective or filesystem ids, or a gain of capabilities, makes the process undumpable and clears the
    /// parent-death signal.
    pub fn commit_creds(&mut self, new: Cred) {
        let old = self.task.cred();
        let gained = !cred_cap_issubset(&old, &new);
        if old.euid != new.euid
            || old.egid != new.egid
            || old.fsuid != new.fsuid
            || old.fsgid != new.fsgid
            || gained
        {
            if let Some(mm) = &self.mm {
                let suid_dumpable = self.kernel().suid_dumpable.load(Ordering::Relaxed);
                mm.update_info(|info| info.dumpable = suid_dumpable);
            }
            self.task.pdeath_signal.store(0, Ordering::Relaxed);
        }
        self.task.set_cred(Arc::new(new));
        self.answers_told = false;
    }

    /// Whether a signal or the end of the task is waiting. Linux: `signal_pending`.
    pub fn signal_pending(&self) -> bool {
        self.task.sigpending.load(Ordering::SeqCst)
    }

    /// Whether the task is to end. Linux: `fatal_signal_pending`.
    pub fn fatal_signal_pending(&self) -> bool {
        self.task.killed.load(Ordering::SeqCst)
    }

    /// Sleeps on the task's parker; the time counts as none.
    pub(crate) fn park(&self, deadline: Option<Instant>) -> bool {
        let began = rdtsc();
        let woken = self.task.parker.park(deadline);
        if let Some(cpu) = self.task.parker.invitation() {
            self.ctx.come_to(cpu);
        }
        self.slept.set(self.slept.get().wrapping_add(rdtsc().wrapping_sub(began)));
        woken
    }

    /// Sleeps until woken or killed, whatever other signals come. Returns false when the task is to end.
    pub(crate) fn sleep_killable(&self) -> bool {
        if self.fatal_signal_pending() {
            return false;
        }
        self.task.set_run_state(RunState::Uninterruptible);
        self.park(None);
        self.task.set_run_state(RunState::Running);
        !self.fatal_signal_pending()
    }

    /// Sets the mask for the duration of a call; it is restored when the call has ended, or after the handler that ends
    /// it. Linux: `set_user_sigmask`.
    pub fn set_temporary_mask(&mut self, mask: SigSet) {
        let old = self.task.blocked();
        if self.saved_mask.is_none() {
            self.saved_mask = Some(old);
        }
        self.set_blocked(mask);
    }

    /// Restores the mask now, because the call has ended without a signal. Linux: `restore_saved_sigmask_unless`.
    pub fn restore_temporary_mask(&mut self, interrupted: bool) {
        if !interrupted && let Some(mask) = self.saved_mask.take() {
            self.set_blocked(mask);
        }
    }

    /// What restart_syscall(2) shall do if the call is interrupted; the call then fails with `ERESTART_RESTARTBLOCK`.
    pub fn set_restart(&mut self, f: RestartFn) -> SyscallExit {
        self.restart = Some(f);
        SyscallExit::Errno(sentry_uapi::errno::ERESTART_RESTARTBLOCK)
    }

    /// Takes what restart_syscall(2) shall do.
    pub fn take_restart(&mut self) -> Option<RestartFn> {
        self.restart.take()
    }
}

impl Deref for CurrentTask {
    type Target = Task;
    fn deref(&self) -> &Task {
        &self.task
    }
}

impl TaskContext for CurrentTask {
    fn cred(&self) -> Arc<Cred> {
        self.task.cred()
    }

    fn mm(&self) -> Result<Arc<MemoryManager>, Errno> {
        self.mm.clone().ok_or(ESRCH)
    }

    fn rlimit(&self, resource: Resource) -> u64 {
        self.task.group.rlimit(resource as usize).cur
    }

    fn ids(&self) -> (u32, u32) {
        (self.task.group.id(), self.task.tid())
    }

    fn pid_user_ns(&self) -> Arc<UserNamespace> {
        self.pid_ns().user_ns.clone()
    }

    fn net_ns(&self) -> Option<Arc<dyn Namespace>> {
        Some(self.task.ns().net.clone())
    }

    fn timens_offset(&self, boottime: bool) -> i64 {
        self.task.ns().time.offset(if boottime { OffsetClock::Boottime } else { OffsetClock::Monotonic })
    }

    fn send_sig(&self, signo: i32) {
        // As if it had sent the signal itself. Linux: `SEND_SIG_NOINFO`.
        let process = self.task.kernel.root_pid_ns.find(self.task.group.id());
        let pid = process.map_or(0, |pid| pid.nr_in(&self.task.pid_ns()));
        let cred = self.task.cred();
        let uid = cred.user_ns.from_kuid_munged(cred.uid);
        let pid = i32::try_from(pid).unwrap_or(0);
        let info = SigInfo::from_process(signo, sentry_uapi::signal::SI_USER, pid, uid);
        let _ = self.task.send_signal(info, crate::signal::SigSource::Outside);
    }

    fn vfs(&self) -> &Arc<Vfs> {
        &self.task.kernel.vfs
    }

    fn fs(&self) -> Arc<FsStruct> {
        self.task.fs()
    }

    fn mnt_ns(&self) -> Arc<MountNamespace> {
        self.task.ns().mnt.clone()
    }

    fn files(&self) -> Arc<FdTable> {
        self.task.files().unwrap_or_else(|_| FdTable::new())
    }

    fn dequeue_signal(&self, set: SigSet) -> Option<SigInfo> {
        self.task.dequeue_signal(set)
    }

    fn pending_signals(&self) -> SigSet {
        self.task.all_pending()
    }

    fn signal_queue(&self) -> WaitQueue {
        self.task.group.signal_queue.clone()
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.task.parker.clone()
    }

    fn sleep(&self, deadline: Option<Instant>) -> Result<Sleep, Errno> {
        if self.signal_pending() {
            return Err(ERESTARTSYS);
        }
        self.task.set_run_state(RunState::Sleeping);
        self.task.nvcsw.fetch_add(1, Ordering::Relaxed);
        let woken = self.park(deadline);
        self.task.set_run_state(RunState::Running);
        if self.signal_pending() {
            // A wake-up that came along is not lost: the condition is looked at again when the call is restarted.
            return Err(ERESTARTSYS);
        }
        Ok(if woken { Sleep::Woken } else { Sleep::TimedOut })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
