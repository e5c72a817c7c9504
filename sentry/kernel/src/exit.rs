//! Linux: kernel/exit.c, `do_exit`, `exit_notify`, `forget_original_parent`.

use crate::futex::exit_robust_list;
use crate::signal::SigSource;
use crate::tree::{Session, Zombie};
use crate::{CurrentTask, DeadLeader, Kernel, RunState, Task, ThreadGroup};
use sentry_uapi::sigaction::{SIG_IGN, SaFlags};
use sentry_uapi::signal::{
    CLD_CONTINUED, CLD_EXITED, CLD_KILLED, SI_KERNEL, SIGCHLD, SIGCONT, SIGHUP, SIGKILL, SigInfo,
};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A process group that is told of a hang-up.
struct HangUp {
    pgrp: u32,
    /// By SIGCONT too, since it may have stopped.
    goes_on: bool,
}

/// The leader of a session has ended: its terminal belongs to nobody. Linux: `disassociate_ctty` with `on_exit`.
fn disassociate_ctty(session: &mut Session) -> Option<HangUp> {
    let old = session.tty_old_pgrp.take();
    match session.tty.take() {
        Some(tty) => {
            let pgrp = tty.foreground();
            tty.session_gone();
            (pgrp != 0).then_some(HangUp { pgrp, goes_on: false })
        }
        None => old.map(|pgrp| HangUp { pgrp: pgrp.global(), goes_on: true }),
    }
}

/// Clock ticks in a second, as programs see them.
const USER_HZ: u64 = 100;

/// Nanoseconds as clock ticks.
pub fn nsec_to_clock_t(ns: u64) -> i64 {
    i64::try_from(ns / (1_000_000_000 / USER_HZ)).unwrap_or(i64::MAX)
}

impl CurrentTask {
    /// exit(2) of this thread alone: it ends with this status (as wait4(2) has it) when it comes back to its loop.
    pub fn exit_thread(&mut self, status: i32) {
        self.exit_status = Some(status);
    }

    /// exit_group(2).
    pub fn exit_group(&mut self, status: i32) {
        let status = self.group.group_exit(status);
        self.exit_status = Some(status);
    }

    /// Ends the thread: gives up what it holds and tells whoever wants to know.
    pub(crate) fn do_exit(mut self, status: i32) {
        let kernel = self.kernel().clone();
        let task = self.task().clone();
        task.exiting.store(true, Ordering::Release);
        if let Some(tracer) = kernel.syscalls.tracer.clone() {
            tracer.task_exit(&self, status);
        }
        self.exit_mm();
        let (files, fs_gone) = {
            let mut r = task.resources.lock();
            (r.files.take(), r.mm.take())
        };
        drop(fs_gone);
        self.exit_sem();
        self.exit_shm();
        if let Some(files) = files
            && Arc::strong_count(&files) == 1
        {
            files.close_all(&self);
        }
        self.ctx.leave();
        task.set_run_state(RunState::Zombie);
        kernel.exit_notify(&task, status);
    }

    /// Lets go of the address space: robust futexes, the word that joins threads, vfork's caller. Linux: `mm_release`.
    pub(crate) fn exit_mm(&mut self) {
        let Some(mm) = self.mm.clone() else { return };
        let task = self.task().clone();
        exit_robust_list(&task, &mm);
        let tid_addr = task.clear_child_tid.swap(0, Ordering::Relaxed);
        if tid_addr != 0 && Arc::strong_count(&mm) > 2 {
            let _ = mm.write_obj(tid_addr, &0u32);
            let _ = task.kernel.futexes.wake(&mm, tid_addr, false, 1, u32::MAX);
        }
        self.rseq = None;
        if Arc::strong_count(&mm) <= 3 {
            self.note_last_user(&mm);
        }
        self.ctx.leave();
        task.resources.lock().mm = None;
        self.mm = None;
        let done = task.vfork_done.lock().take();
        if let Some(done) = done {
            done.complete();
        }
    }
}

impl Kernel {
    /// Takes a thread out of the tree; the last one of a process leaves a zombie, or nothing.
    fn exit_notify(self: &Arc<Self>, task: &Arc<Task>, status: i32) {
        self.zap_pid_ns_processes(task);
        let group = task.group.clone();
        let mut to_kill = Vec::new();
        let mut hang_up = Vec::new();
        let mut notify = None;
        let mut init_gone = None;
        let mut continued = None;
        {
            let mut tree = self.tree.lock();
            let tid = task.tid();
            {
                let mut dead = group.dead_threads.lock();
                dead.add(&task.usage());
            }
            tree.tasks.remove(&tid);
            let nproc = task.take_nproc();
            let id = group.id();
            if tid == id {
                // A zombie counts.
                *group.dead_leader_nproc.lock() = nproc;
                let remains = DeadLeader { comm: task.comm(), cred: task.cred() };
                let old = group.dead_leader.lock().replace(remains);
                drop(old);
            }
            let Some(p) = tree.processes.get_mut(&id) else { return };
            p.threads.retain(|t| !Arc::ptr_eq(t, task));
            self.pdeath_signals(&tree, tid, &mut to_kill);
            let Some(p) = tree.processes.get_mut(&id) else { return };
            let last = p.threads.is_empty();
            let exec_waits = group.signal().exec_thread;
            if let Some(waiter) = exec_waits
                && let Some(t) = tree.tasks.get(&waiter)
            {
                t.parker.unpark();
            }
            self.finish_stop_without(&group, &mut notify);
            if last {
                group.dead.store(true, Ordering::Release);
                let status = group.signal().group_exit.unwrap_or(status);
                self.process_gone(&mut tree, &group, status, &mut to_kill, &mut hang_up, &mut init_gone);
                continued = self.do_notify_parent(&mut tree, &group);
            }
        }
        for (group, signo) in to_kill {
            let _ = group.send_signal(SigInfo::new(signo, SI_KERNEL), SigSource::Outside);
        }
        for HangUp { pgrp, goes_on } in hang_up {
            let _ = self.kill_pgrp(pgrp, SigInfo::new(SIGHUP, SI_KERNEL), SigSource::Outside);
            if goes_on {
                let _ = self.kill_pgrp(pgrp, SigInfo::new(SIGCONT, SI_KERNEL), SigSource::Outside);
            }
        }
        if let Some(signo) = notify {
            self.notify_parent_of_stop(&group, sentry_uapi::signal::CLD_STOPPED, signo);
        }
        if group.is_dead() {
            group.timers_gone();
            group.exit_queue.wake_all(u32::MAX);
        }
        if let Some(parent) = continued {
            self.notify_parent_of_stop(&parent, CLD_CONTINUED, SIGCONT);
        }
        if let Some(status) = init_gone {
            self.note_init_exit(status);
        }
    }

    /// A thread that ends while the others stop counts as stopped. Linux: `exit_signals`.
    fn finish_stop_without(&self, group: &ThreadGroup, notify: &mut Option<i32>) {
        use crate::thread_group::StopState;
        let mut signal = group.signal();
        if let StopState::Stopping { signo, remaining } = signal.stop {
            if remaining <= 1 {
                signal.stop = StopState::Stopped { signo };
                signal.stop_report = Some(signo);
                *notify = Some(signo);
            } else {
                signal.stop = StopState::Stopping { signo, remaining: remaining - 1 };
            }
        }
    }

    /// Children whose parent thread has ended and who asked to hear of it.
    fn pdeath_signals(&self, tree: &crate::Tree, tid: u32, to_kill: &mut Vec<(Arc<ThreadGroup>, i32)>) {
        for p in tree.processes.values().filter(|p| p.parent_thread == tid) {
            for t in &p.threads {
                let signo = t.pdeath_signal.load(Ordering::Relaxed);
                if signo != 0 {
                    to_kill.push((p.group.clone(), signo));
                }
            }
        }
    }

    /// The last thread is gone: children get a new parent, the process becomes a zombie.
    fn process_gone(
        &self,
        tree: &mut crate::Tree,
        group: &Arc<ThreadGroup>,
        status: i32,
        to_kill: &mut Vec<(Arc<ThreadGroup>, i32)>,
        hang_up: &mut Vec<HangUp>,
        init_gone: &mut Option<i32>,
    ) {
        let id = group.id();
        let Some(p) = tree.processes.get_mut(&id) else { return };
        let children = std::mem::take(&mut p.children);
        let (pgrp, session, parent) = (p.pgrp, p.session, p.parent);
        let ns = group.pid.namespace().cloned();
        let is_reaper = ns.as_ref().is_some_and(|n| n.child_reaper.load(Ordering::Relaxed) == id);
        if is_reaper && let Some(ns) = &ns {
            ns.disable_allocation();
            for pid in ns.ids() {
                if let Some(p) = tree.processes.get(&pid.global())
                    && pid.global() != id
                    && p.zombie.is_none()
                {
                    to_kill.push((p.group.clone(), SIGKILL));
                }
            }
        }
        let reaper = self.find_new_reaper(tree, group, parent);
        for child in children {
            let was = tree.processes.get(&child).map(|c| (c.pgrp, c.session));
            if let Some(c) = tree.processes.get_mut(&child) {
                c.parent = reaper;
                c.parent_thread = reaper;
                c.exit_signal = SIGCHLD;
                for t in &c.threads {
                    // The new parent's death is another matter.
                    t.pdeath_signal.store(0, Ordering::Relaxed);
                }
            }
            let dead_group =
                tree.processes.get(&child).filter(|c| c.zombie.is_some()).map(|c| c.group.clone());
            if let Some(r) = tree.processes.get_mut(&reaper) {
                r.children.push(child);
            }
            if let Some(zombie) = dead_group {
                // Its signal is SIGCHLD now, which makes nobody go on.
                let _ = self.do_notify_parent(tree, &zombie);
            }
            // It was in another group than its father, and the only connection outside.
            if let Some((pg, child_session)) = was
                && pg != pgrp
                && child_session == session
                && tree.is_orphaned_pgrp(pg, None)
                && tree.has_stopped_jobs(pg)
            {
                hang_up.push(HangUp { pgrp: pg, goes_on: true });
            }
        }
        // So was this process itself. Linux: `kill_orphaned_pgrp`.
        let connects = tree
            .processes
            .get(&parent)
            .is_some_and(|father| father.pgrp != pgrp && father.session == session);
        if connects && tree.is_orphaned_pgrp(pgrp, Some(id)) && tree.has_stopped_jobs(pgrp) {
            hang_up.push(HangUp { pgrp, goes_on: true });
        }
        if session == id
            && let Some(s) = tree.sessions.get_mut(&session)
        {
            hang_up.extend(disassociate_ctty(s));
        }
        let rebooted = ns.as_ref().filter(|_| is_reaper).map_or(0, |n| n.reboot.load(Ordering::Relaxed));
        let status = if rebooted == 0 { status } else { rebooted };
        if let Some(p) = tree.processes.get_mut(&id) {
            p.zombie = Some(Zombie { status });
        }
        if is_reaper && ns.is_some_and(|n| n.level() == 0) {
            *init_gone = Some(status);
        }
    }

    /// Who takes over the children of a process that ends: a subreaper above it, else its namespace's first process.
    fn find_new_reaper(&self, tree: &crate::Tree, group: &Arc<ThreadGroup>, parent: u32) -> u32 {
        let init = group.pid.namespace().map_or(0, |n| n.child_reaper.load(Ordering::Relaxed));
        if init == group.id() {
            // What is left of the namespace is nobody's.
            return 0;
        }
        if group.has_child_subreaper.load(Ordering::Relaxed) {
            let mut at = parent;
            while at != 0 && at != init {
                let Some(p) = tree.processes.get(&at) else { break };
                if p.is_subreaper && !p.threads.is_empty() {
                    return at;
                }
                at = p.parent;
            }
        }
        init
    }

    /// Sends the parent of a zombie its signal and wakes its wait4(2); a zombie nobody wants is reaped at once. All that
    /// while the tree is locked: whoever can wait for the child has its signal already. Returns the parent if the signal
    /// made it go on. Linux: `do_notify_parent`.
    fn do_notify_parent(&self, tree: &mut crate::Tree, group: &Arc<ThreadGroup>) -> Option<Arc<ThreadGroup>> {
        let p = tree.processes.get(&group.id())?;
        let status = p.zombie?.status;
        let signo = p.exit_signal;
        let Some(q) = tree.processes.get(&p.parent) else {
            tree.reap(group.id());
            return None;
        };
        let (parent, threads) = (q.group.clone(), q.threads.clone());
        let reap = signo == SIGCHLD && autoreaps(&parent);
        let ignored = signo == SIGCHLD && parent.sighand().get(SIGCHLD).handler == SIG_IGN;
        let mut continued = false;
        if signo != 0 && !ignored {
            let code = if status & 0x7f == 0 { CLD_EXITED } else { CLD_KILLED };
            let info = self.child_info(&parent, threads.first(), group, code, status);
            continued = parent.send_to(&threads, SigInfo { si_signo: signo, ..info }, SigSource::Outside);
        }
        if reap {
            tree.reap(group.id());
        }
        parent.wait_chldexit.wake_all(u32::MAX);
        continued.then_some(parent)
    }

    /// The siginfo of a child's change of state, as its parent, of which `viewer` is a thread, sees it.
    fn child_info(
        &self,
        parent: &ThreadGroup,
        viewer: Option<&Arc<Task>>,
        child: &ThreadGroup,
        code: i32,
        status: i32,
    ) -> SigInfo {
        let ns = parent.pid.namespace().cloned().unwrap_or_else(|| self.root_pid_ns.clone());
        let pid = i32::try_from(child.pid.nr_in(&ns)).unwrap_or(0);
        let shown = match code {
            CLD_EXITED => (status >> 8) & 0xff,
            CLD_KILLED => status & 0x7f,
            _ => status,
        };
        let usage = *child.dead_threads.lock();
        let uid = viewer.map_or(0, |v| v.cred().user_ns.from_kuid_munged(child.last_uid()));
        SigInfo::from_child(code, pid, uid, shown, nsec_to_clock_t(usage.utime), nsec_to_clock_t(usage.stime))
    }

    /// Tells the parent that a child has stopped or goes on. Linux: `do_notify_parent_cldstop`.
    pub(crate) fn notify_parent_of_stop(&self, group: &ThreadGroup, code: i32, signo: i32) {
        let (parent, child) = {
            let tree = self.tree.lock();
            let Some(p) = tree.processes.get(&group.id()) else { return };
            let Some(parent) = tree.processes.get(&p.parent) else { return };
            (parent.group.clone(), p.group.clone())
        };
        let flags = parent.sighand().flags(SIGCHLD);
        if parent.sighand().get(SIGCHLD).handler != SIG_IGN && !flags.contains(SaFlags::NOCLDSTOP) {
            let status = if code == CLD_CONTINUED { SIGCONT } else { signo };
            let info = self.child_info(&parent, parent.threads().first(), &child, code, status);
            let _ = parent.send_signal(info, SigSource::Outside);
        }
        parent.wait_chldexit.wake_all(u32::MAX);
    }
}

/// Whether a process lets its children vanish without being waited for.
fn autoreaps(parent: &ThreadGroup) -> bool {
    let action = parent.sighand().get(SIGCHLD);
    action.handler == SIG_IGN || SaFlags::from_bits_retain(action.flags).contains(SaFlags::NOCLDWAIT)
}
