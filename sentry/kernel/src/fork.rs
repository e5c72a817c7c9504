//! Linux: kernel/fork.c, `copy_process`, `kernel_clone`.

use crate::signal::SigHand;
use crate::task::{NewTask, Resources, SchedAttr, TASK_COMM_LEN};
use crate::tree::Process;
use crate::vvar::vdso_join_timens;
use crate::{CurrentTask, Kernel, NsProxy, Pid, Task, ThreadGroup};
use fs_vfs::{FdTable, FsStruct};
use platform::PtRegs;
use sentry_auth::Cred;
use sentry_mm::{MemoryManager, dumpable};
use sentry_sync::{Mutex, WaitQueue, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, EINVAL, ENOMEM, ERESTARTNOINTR};
use sentry_uapi::resource::{RLIM_NLIMITS, Rlimit};
use sentry_uapi::sched::CloneFlags;
use sentry_uapi::sigaction::{SS_DISABLE, SigAltStack};
use sentry_uapi::signal::{SIGCHLD, SigSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What clone(2) and clone3(2) ask for, checked for sense by them.
pub struct CloneRequest {
    /// Flags, without the exit signal.
    pub flags: CloneFlags,
    /// Signal to the parent when the child ends; 0 for none.
    pub exit_signal: i32,
    /// New stack pointer; 0 keeps the parent's.
    pub stack: u64,
    /// Where the parent wants the child's id.
    pub parent_tid: u64,
    /// Where the child wants its id, now or at its end.
    pub child_tid: u64,
    /// Thread area.
    pub tls: u64,
    /// Numbers wanted in the pid namespaces.
    pub set_tid: Vec<u32>,
}

/// What the caller of vfork(2) waits for.
#[derive(Default)]
pub(crate) struct VforkDone {
    done: Mutex<bool, { level::LEAF }>,
    queue: WaitQueue,
}

impl VforkDone {
    pub(crate) fn complete(&self) {
        *self.done.lock() = true;
        self.queue.wake_all(u32::MAX);
    }
}

/// What [`CurrentTask::clone_task`] calls with the parent and the child before the child runs.
pub type PrepareTask<'a> = dyn FnMut(&mut CurrentTask, &Arc<Task>) -> Result<(), Errno> + 'a;

/// Threads one kernel may have: `/proc/sys/kernel/threads-max`.
pub const THREADS_MAX: usize = 15_000;

impl CurrentTask {
    /// Makes a child; returns its id as the caller's namespace shows it. `prepare` is called with the child before it
    /// runs, to store a pidfd.
    ///
    /// # Errors
    /// `EINVAL` for flags that make no sense together, `EAGAIN` beyond a limit, `ENOMEM`, and what namespaces refuse.
    pub fn clone_task(
        &mut self,
        request: &CloneRequest,
        prepare: &mut PrepareTask<'_>,
    ) -> Result<u64, Errno> {
        let flags = request.flags;
        check_flags(flags)?;
        let kernel = self.kernel().clone();
        let is_thread = flags.contains(CloneFlags::THREAD);
        let parent_group = self.group.clone();
        {
            let tree = kernel.tree.lock();
            if is_thread
                && let Some(p) = tree.processes.get(&parent_group.id())
                && (parent_group.signal().group_exit.is_some() || p.zombie.is_some())
            {
                return Err(ERESTARTNOINTR);
            }
            if flags.contains(CloneFlags::PARENT) && parent_group.unkillable.load(Ordering::Relaxed) {
                return Err(EINVAL);
            }
            if tree.tasks.len() >= THREADS_MAX {
                return Err(EAGAIN);
            }
        }
        let cred = self.copy_creds(flags)?;
        self.check_nproc(&cred)?;
        let nproc_exceeded = std::mem::take(&mut self.nproc_exceeded);
        let (fs, files) = {
            let r = self.task().resources.lock();
            let fs = if flags.contains(CloneFlags::FS) { r.fs.clone() } else { r.fs.copy() };
            (fs, r.files.clone())
        };
        if is_thread && !Arc::ptr_eq(&self.pid_ns(), &self.task().ns().pid_for_children) {
            return Err(EINVAL);
        }
        let ns = self.copy_namespaces(flags, &cred, &fs)?;
        let mm = self.user()?.clone();
        if flags.contains(CloneFlags::VM) && !flags.contains(CloneFlags::VFORK) {
            mm.note_sibling();
        }
        let child_mm = if flags.contains(CloneFlags::VM) { mm.clone() } else { mm.fork(self.regs.rsp)? };
        if !Arc::ptr_eq(&ns.time, &self.task().ns().time) {
            vdso_join_timens(&child_mm, &ns.time, &self.mm_limits())?;
        }
        let mut ctx = if flags.contains(CloneFlags::VM) {
            self.ctx.new_sibling(mm.address_space()).map_err(|_| EAGAIN)?
        } else {
            kernel.platform.new_context().map_err(|_| EAGAIN)?
        };
        let fp = self.ctx.fp_state().map_err(|_| EAGAIN)?;
        let files = match files {
            Some(f) if !flags.contains(CloneFlags::FILES) => Some(f.copy()),
            other => other,
        };
        let pid_ns = if is_thread { self.pid_ns() } else { ns.pid_for_children.clone() };
        let pid = pid_ns.alloc_pid(&request.set_tid, &self.task().cred())?;
        let group = if is_thread {
            parent_group.clone()
        } else {
            let sighand = if flags.contains(CloneFlags::SIGHAND) {
                parent_group.sighand()
            } else {
                parent_group.sighand().copy()
            };
            if flags.contains(CloneFlags::CLEAR_SIGHAND) {
                sighand.flush(false);
            }
            let group = ThreadGroup::new(&kernel, pid.clone(), sighand, parent_group.rlimits());
            group.oom_score_adj.store(parent_group.oom_score_adj.load(Ordering::Relaxed), Ordering::Relaxed);
            group
        };
        let mut sched = self.sched.lock().clone();
        if sched.reset_on_fork {
            (sched.policy, sched.priority, sched.reset_on_fork) = (0, 0, false);
            sched.nice = sched.nice.max(0);
        }
        if !is_thread {
            group.watch_cpu_limit();
        }
        let task = Task::new(
            kernel.clone(),
            group.clone(),
            NewTask {
                pid: pid.clone(),
                cred: Arc::new(cred),
                resources: Resources { mm: Some(child_mm), fs, files, ns },
                blocked: self.task().blocked(),
                comm: self.comm_bytes(),
                sched,
                interrupter: ctx.interrupter(),
            },
        );
        for (to, from) in [(&task.personality, &self.personality), (&task.timer_slack, &self.timer_slack)] {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        task.no_new_privs.store(self.no_new_privs.load(Ordering::Relaxed), Ordering::Relaxed);
        if flags.contains(CloneFlags::CHILD_CLEARTID) {
            task.clear_child_tid.store(request.child_tid, Ordering::Relaxed);
        }
        let vfork = flags.contains(CloneFlags::VFORK).then(Arc::<VforkDone>::default);
        *task.vfork_done.lock() = vfork.clone();
        prepare(self, &task)?;
        *task.sem_undo.lock() = self.copy_semundo(flags);

        let child_nr = pid.nr_in(&self.pid_ns());
        if flags.contains(CloneFlags::PARENT_SETTID) {
            // A bad address is the caller's loss. Linux: `put_user` unchecked in kernel_clone.
            let _ = mm.write_obj(request.parent_tid, &child_nr);
        }
        let mut regs = self.regs;
        regs.rax = 0;
        if request.stack != 0 {
            regs.rsp = request.stack;
        }
        if flags.contains(CloneFlags::SETTLS) {
            regs.fs_base = request.tls;
        }
        let altstack = if flags.contains(CloneFlags::VM) && !flags.contains(CloneFlags::VFORK) {
            SigAltStack { ss_flags: SS_DISABLE, ..SigAltStack::default() }
        } else {
            self.altstack
        };
        let rseq = if flags.contains(CloneFlags::VM) { None } else { self.rseq };
        self.enter_tree(&kernel, &task, &pid_ns, request, is_thread);
        kernel.counters.forks.fetch_add(1, Ordering::Relaxed);

        let set_tid = flags.contains(CloneFlags::CHILD_SETTID).then_some(request.child_tid);
        let child = task.clone();
        let own_nr = pid.nr_in(&pid_ns);
        let started = kernel.task_threads.start(move || {
            if !fp.as_bytes().is_empty() {
                let _ = ctx.set_fp_state(&fp);
            }
            let mut current = CurrentTask::new(child, regs, ctx);
            current.altstack = altstack;
            current.rseq = rseq;
            current.nproc_exceeded = nproc_exceeded;
            if let (Some(addr), Some(mm)) = (set_tid, &current.mm) {
                let _ = mm.write_obj(addr, &own_nr);
            }
            current
        });
        if started.is_err() {
            task.put_semundo();
            kernel.forget_unstarted(&task, is_thread);
            return Err(EAGAIN);
        }
        if let Some(vfork) = vfork {
            let _registration = vfork.queue.register(u32::MAX, self.task().parker.clone());
            while !*vfork.done.lock() && self.sleep_killable() {}
        }
        Ok(u64::from(child_nr))
    }

    /// Enters the new task where others can find it.
    fn enter_tree(
        &self,
        kernel: &Kernel,
        task: &Arc<Task>,
        pid_ns: &Arc<crate::PidNamespace>,
        request: &CloneRequest,
        is_thread: bool,
    ) {
        let id = task.tid();
        let mut tree = kernel.tree.lock();
        tree.tasks.insert(id, task.clone());
        let own = self.group.id();
        if is_thread {
            if let Some(p) = tree.processes.get_mut(&own) {
                p.threads.push(task.clone());
            }
            let signal = task.group.signal();
            if signal.group_exit.is_some() || signal.exec_thread.is_some() {
                task.killed.store(signal.group_exit.is_some(), Ordering::SeqCst);
                task.sigpending.store(true, Ordering::SeqCst);
            }
            return;
        }
        if pid_ns.is_dying() {
            // It came too late to be killed with the others.
            task.killed.store(true, Ordering::SeqCst);
            task.sigpending.store(true, Ordering::SeqCst);
        }
        let (mut parent, mut parent_thread, mut exit_signal) = (own, self.tid(), request.exit_signal);
        if request.flags.contains(CloneFlags::PARENT)
            && let Some(p) = tree.processes.get(&own)
        {
            (parent, parent_thread, exit_signal) = (p.parent, p.parent_thread, p.exit_signal);
        }
        let subreaper = self.group.has_child_subreaper.load(Ordering::Relaxed)
            || tree.processes.get(&own).is_some_and(|p| p.is_subreaper);
        task.group.has_child_subreaper.store(subreaper, Ordering::Relaxed);
        let tty_disowned = tree.processes.get(&own).is_some_and(|p| p.tty_disowned);
        tree.processes.insert(
            id,
            Process {
                group: task.group.clone(),
                threads: vec![task.clone()],
                parent,
                parent_thread,
                children: Vec::new(),
                pgrp: 0,
                session: 0,
                exit_signal,
                zombie: None,
                is_subreaper: false,
                did_exec: false,
                tty_disowned,
            },
        );
        if pid_ns.child_reaper.load(Ordering::Relaxed) == 0 {
            pid_ns.child_reaper.store(id, Ordering::Relaxed);
            task.group.unkillable.store(true, Ordering::Relaxed);
        }
        if let Some(p) = tree.processes.get_mut(&parent) {
            p.children.push(id);
        }
        let groups = tree.processes.get(&own).map(|p| (p.pgrp, p.session));
        if let Some((pgrp, session)) = groups
            && let Some(pg) = tree.pgrps.get(&pgrp).map(|g| g.pid.clone())
            && let Some(sess) = tree.sessions.get(&session).map(|s| s.pid.clone())
        {
            tree.attach(id, &pg, &sess);
        }
    }
}

/// Combinations that make no sense. Linux: the head of `copy_process`.
fn check_flags(flags: CloneFlags) -> Result<(), Errno> {
    let has = |f| flags.contains(f);
    let bad = (has(CloneFlags::NEWNS) && has(CloneFlags::FS))
        || (has(CloneFlags::NEWUSER) && has(CloneFlags::FS))
        || (has(CloneFlags::THREAD) && !has(CloneFlags::SIGHAND))
        || (has(CloneFlags::SIGHAND) && !has(CloneFlags::VM))
        || (has(CloneFlags::SIGHAND) && has(CloneFlags::CLEAR_SIGHAND))
        || (has(CloneFlags::THREAD) && flags.intersects(CloneFlags::NEWUSER | CloneFlags::NEWPID))
        || (has(CloneFlags::NEWTIME) && flags.intersects(CloneFlags::THREAD | CloneFlags::VM));
    if bad { Err(EINVAL) } else { Ok(()) }
}

/// What the first process of a kernel starts with.
pub struct InitProcess {
    /// Credentials.
    pub cred: Cred,
    /// Root, working directory, umask.
    pub fs: Arc<FsStruct>,
    /// Descriptors.
    pub files: Arc<FdTable>,
    /// Namespaces.
    pub ns: NsProxy,
    /// Resource limits.
    pub rlimits: [Rlimit; RLIM_NLIMITS],
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privs: bool,
    /// `/proc/self/oom_score_adj`.
    pub oom_score_adj: i32,
}

impl Kernel {
    /// Makes the first process of the kernel. `exec` runs on its thread and loads its program; if it fails, the process
    /// ends and `exec`'s error is the caller's to report.
    ///
    /// # Errors
    /// `ENOMEM` when the host has no room for it.
    pub fn start_init(
        self: &Arc<Self>,
        init: InitProcess,
        exec: impl FnOnce(&mut CurrentTask) -> Result<(), Errno> + Send + 'static,
    ) -> Result<Arc<ThreadGroup>, Errno> {
        let ns = init.ns;
        let pid: Arc<Pid> = ns.pid_for_children.alloc_pid(&[], &init.cred)?;
        let mm = MemoryManager::new(self.memory.clone(), self.platform.clone()).map_err(|_| ENOMEM)?;
        mm.update_info(|info| {
            info.dumpable = dumpable::USER;
            info.user_ns = Some(init.cred.user_ns.clone());
        });
        let ctx = self.platform.new_context().map_err(|_| ENOMEM)?;
        let group = ThreadGroup::new(self, pid.clone(), SigHand::new(), init.rlimits);
        group.oom_score_adj.store(init.oom_score_adj, Ordering::Relaxed);
        let first = ns.pid_for_children.child_reaper.load(Ordering::Relaxed) == 0;
        if first {
            // It reaps orphans, but is not immune to signals as the first process of a namespace made later is: whoever
            // started the sandbox means the program, and the program expects to die as it would outside.
            ns.pid_for_children.child_reaper.store(pid.global(), Ordering::Relaxed);
        }
        let task = Task::new(
            self.clone(),
            group.clone(),
            NewTask {
                pid: pid.clone(),
                cred: Arc::new(init.cred),
                resources: Resources { mm: Some(mm), fs: init.fs, files: Some(init.files), ns: Arc::new(ns) },
                blocked: SigSet::EMPTY,
                comm: [0; TASK_COMM_LEN],
                sched: SchedAttr {
                    policy: 0,
                    priority: 0,
                    nice: 0,
                    ioprio: 0,
                    reset_on_fork: false,
                    affinity: full_affinity(self.cpus),
                },
                interrupter: ctx.interrupter(),
            },
        );
        task.no_new_privs.store(init.no_new_privs, Ordering::Relaxed);
        {
            let mut tree = self.tree.lock();
            tree.tasks.insert(pid.global(), task.clone());
            tree.processes.insert(
                pid.global(),
                Process {
                    group: group.clone(),
                    threads: vec![task.clone()],
                    parent: 0,
                    parent_thread: 0,
                    children: Vec::new(),
                    pgrp: 0,
                    session: 0,
                    exit_signal: SIGCHLD,
                    zombie: None,
                    is_subreaper: false,
                    did_exec: false,
                    tty_disowned: false,
                },
            );
            tree.attach(pid.global(), &pid, &pid);
        }
        self.task_threads
            .start(move || {
                let mut current = CurrentTask::new(task, PtRegs::default(), ctx);
                if exec(&mut current).is_err() {
                    current.exit_status = Some(127 << 8);
                }
                current
            })
            .map_err(|_| ENOMEM)?;
        Ok(group)
    }

    /// Takes back a task whose thread could not be started.
    fn forget_unstarted(&self, task: &Arc<Task>, is_thread: bool) {
        let id = task.tid();
        let mut tree = self.tree.lock();
        tree.tasks.remove(&id);
        drop(task.take_nproc());
        if is_thread {
            if let Some(p) = tree.processes.get_mut(&task.group.id()) {
                p.threads.retain(|t| !Arc::ptr_eq(t, task));
            }
            return;
        }
        tree.detach(id);
        if let Some(p) = tree.processes.remove(&id)
            && let Some(parent) = tree.processes.get_mut(&p.parent)
        {
            parent.children.retain(|c| *c != id);
        }
    }
}

/// A mask of all CPUs.
pub fn full_affinity(cpus: usize) -> Vec<u64> {
    let mut mask = vec![0u64; cpus.div_ceil(64)];
    for cpu in 0..cpus {
        mask[cpu / 64] |= 1 << (cpu % 64);
    }
    mask
}
