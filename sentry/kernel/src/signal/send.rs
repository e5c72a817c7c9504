//! Sending signals. Linux: kernel/signal.c, `send_signal_locked`, `complete_signal`, `prepare_signal`.

use crate::signal::{CONT_SIGNAL, DefaultAction, STOP_SIGNALS, UNBLOCKABLE, default_action};
use crate::thread_group::{SignalState, StopState};
use crate::{Kernel, Task, ThreadGroup};
use sentry_uapi::resource::RLIMIT_SIGPENDING;
use sentry_uapi::sigaction::{SIG_DFL, SIG_IGN};
use sentry_uapi::signal::{SI_KERNEL, SIGCONT, SIGKILL, SIGRTMIN, SIGSTOP, SigInfo, SigSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Where a signal comes from, as far as it matters to the first process of a pid namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigSource {
    /// A process of the receiver's own namespace, or one below.
    Inside,
    /// The kernel, or an ancestor namespace: SIGKILL and SIGSTOP work even on a first process.
    Outside,
}

impl ThreadGroup {
    /// Sends a signal to the process. Any thread that does not block it may get it.
    ///
    /// # Errors
    /// `EAGAIN` when a real-time signal with its siginfo cannot be queued (RLIMIT_SIGPENDING).
    pub fn send_signal(&self, info: SigInfo, source: SigSource) -> Result<(), sentry_uapi::Errno> {
        self.send(info, None, source)
    }

    /// Sends a signal on the kernel's behalf.
    pub fn kill(&self, signo: i32) {
        let _ = self.send(SigInfo::new(signo, SI_KERNEL), None, SigSource::Outside);
    }

    /// Sends a signal to a process whose threads are known, as to who has the tree locked. Returns whether it made it go on.
    pub(crate) fn send_to(&self, threads: &[Arc<Task>], info: SigInfo, source: SigSource) -> bool {
        let (continued, _) = self.send_locked(&mut self.signal(), threads, info, None, source);
        self.signal_queue.wake(sentry_uapi::poll::POLLIN);
        continued
    }

    fn send(
        &self,
        info: SigInfo,
        only: Option<&Arc<Task>>,
        source: SigSource,
    ) -> Result<(), sentry_uapi::Errno> {
        let Some(kernel) = self.kernel.upgrade() else { return Ok(()) };
        let threads = self.threads();
        let mut signal = self.signal();
        let (continued, result) = self.send_locked(&mut signal, &threads, info, only, source);
        drop(signal);
        self.signal_queue.wake(sentry_uapi::poll::POLLIN);
        if continued {
            kernel.notify_parent_of_stop(self, sentry_uapi::signal::CLD_CONTINUED, SIGCONT);
        }
        result
    }

    fn send_locked(
        &self,
        signal: &mut SignalState,
        threads: &[Arc<Task>],
        info: SigInfo,
        only: Option<&Arc<Task>>,
        source: SigSource,
    ) -> (bool, Result<(), sentry_uapi::Errno>) {
        let signo = info.si_signo;
        if signal.group_exit.is_some() && signo == SIGKILL {
            // Already on its way out; make sure nobody sleeps through it.
            for t in threads {
                t.killed.store(true, Ordering::SeqCst);
                t.kick();
            }
            return (false, Ok(()));
        }
        let continued = self.prepare_signal(signal, threads, signo);
        let holds = |t: &Arc<Task>| t.blocked().contains(signo) || t.awaited().contains(signo);
        let target_blocked = only.map_or_else(|| threads.iter().all(holds), holds);
        if self.ignores(signo, target_blocked, source) {
            return (continued, Ok(()));
        }
        let limit = self.rlimit(RLIMIT_SIGPENDING).cur;
        let pending_of = |t: &Arc<Task>| t.pending.lock().len();
        let queued = signal.shared.len() + threads.iter().map(pending_of).sum::<usize>();
        let room = signo == SIGKILL || (queued as u64) < limit;
        if !room && signo >= SIGRTMIN && info.si_code != sentry_uapi::signal::SI_USER {
            return (continued, Err(sentry_uapi::errno::EAGAIN));
        }
        let added = match only {
            Some(t) => t.pending.lock().add(info, room),
            None => signal.shared.add(info, room),
        };
        if added {
            self.complete_signal(signal, threads, signo, only);
        }
        (continued, Ok(()))
    }

    /// A stop signal cancels pending continues and the other way round; SIGCONT sets a stopped process going, whether it
    /// handles the signal or not. Returns whether that has happened.
    fn prepare_signal(&self, signal: &mut SignalState, threads: &[Arc<Task>], signo: i32) -> bool {
        if STOP_SIGNALS.contains(signo) {
            signal.shared.discard(CONT_SIGNAL);
            for t in threads {
                t.pending.lock().discard(CONT_SIGNAL);
            }
        } else if signo == SIGCONT {
            signal.shared.discard(STOP_SIGNALS);
            for t in threads {
                t.pending.lock().discard(STOP_SIGNALS);
                t.stop_dequeued.store(false, Ordering::Relaxed);
            }
            let was = std::mem::replace(&mut signal.stop, StopState::Running);
            if was != StopState::Running {
                for t in threads {
                    t.stop_requested.store(false, Ordering::SeqCst);
                    t.kick();
                }
            }
            if matches!(was, StopState::Stopped { .. }) {
                signal.stop_report = None;
                signal.continued_report = true;
                return true;
            }
        }
        false
    }

    /// Whether the signal is dropped at once. One that is blocked is kept even if it is ignored now.
    fn ignores(&self, signo: i32, blocked: bool, source: SigSource) -> bool {
        if blocked && !UNBLOCKABLE.contains(signo) {
            return false;
        }
        let handler = self.sighand().get(signo).handler;
        if self.unkillable.load(Ordering::Relaxed) && handler == SIG_DFL {
            let forced = source == SigSource::Outside && UNBLOCKABLE.contains(signo);
            if !forced {
                return true;
            }
        }
        self.sighand().ignores(signo) && signo != SIGKILL && signo != SIGSTOP
    }

    /// Picks a thread and wakes it; a signal that ends the process ends all its threads at once.
    fn complete_signal(
        &self,
        signal: &mut SignalState,
        threads: &[Arc<Task>],
        signo: i32,
        only: Option<&Arc<Task>>,
    ) {
        let stopped = matches!(signal.stop, StopState::Stopped { .. });
        // A stopped thread takes nothing but SIGKILL; the rest waits until it goes on.
        let wants = |t: &Arc<Task>| {
            !t.is_exiting()
                && (signo == SIGKILL
                    || (!stopped && (!t.blocked().contains(signo) || t.awaited().contains(signo))))
        };
        let target = match only {
            Some(t) => wants(t).then_some(t),
            // A thread that is not busy with another signal is the better choice; the first one otherwise.
            None => threads
                .iter()
                .find(|t| wants(t) && !t.sigpending.load(Ordering::Relaxed))
                .or_else(|| threads.iter().find(|t| wants(t))),
        };
        let Some(target) = target else { return };
        let handler = self.sighand().get(signo).handler;
        let blocked = target.blocked().contains(signo) || target.awaited().contains(signo);
        let fatal = signo == SIGKILL
            || (handler == SIG_DFL && !blocked && default_action(signo) == DefaultAction::Terminate);
        if fatal
            && signal.group_exit.is_none()
            && !(self.unkillable.load(Ordering::Relaxed) && signo != SIGKILL)
        {
            signal.group_exit = Some(signo);
            signal.stop = StopState::Running;
            for t in threads {
                t.killed.store(true, Ordering::SeqCst);
                t.kick();
            }
            return;
        }
        target.kick();
    }

    /// Forgets pending signals of the process and all its threads. Linux: `flush_sigqueue_mask`.
    pub fn discard_pending(&self, set: SigSet) {
        let threads = self.threads();
        let mut signal = self.signal();
        signal.shared.discard(set);
        for t in threads {
            t.pending.lock().discard(set);
        }
    }

    /// Ends the process with a wait status, if it is not ending yet; returns the status it ends with. Kicks the other
    /// threads. Linux: `do_group_exit`.
    pub(crate) fn group_exit(&self, status: i32) -> i32 {
        let threads = self.threads();
        let mut signal = self.signal();
        let status = *signal.group_exit.get_or_insert(status);
        signal.stop = StopState::Running;
        drop(signal);
        for t in threads {
            t.killed.store(true, Ordering::SeqCst);
            t.kick();
        }
        status
    }
}

impl Task {
    /// Sends a signal to this thread. Linux: `do_send_specific`.
    ///
    /// # Errors
    /// As [`ThreadGroup::send_signal`].
    pub fn send_signal(self: &Arc<Self>, info: SigInfo, source: SigSource) -> Result<(), sentry_uapi::Errno> {
        self.group.send(info, Some(self), source)
    }

    /// A signal that an instruction of the thread has caused, and that cannot be ignored or blocked: then it kills.
    /// Linux: `force_sig_info_to_task`.
    pub(crate) fn force_sig(self: &Arc<Self>, info: SigInfo) {
        let signo = info.si_signo;
        {
            let _signal = self.group.signal();
            let sighand = self.group.sighand();
            let mut action = sighand.get(signo);
            let blocked = self.blocked().contains(signo);
            if blocked || action.handler == SIG_IGN {
                action.handler = SIG_DFL;
                sighand.set(signo, action);
                if blocked {
                    let mut mask = self.blocked();
                    mask.remove(signo);
                    self.blocked.store(mask.0, Ordering::Relaxed);
                }
            }
            if action.handler == SIG_DFL {
                self.group.unkillable.store(false, Ordering::Relaxed);
            }
            self.pending.lock().add(info, true);
        }
        self.sigpending.store(true, Ordering::SeqCst);
    }

    /// Takes the next signal out of `set`. Linux: `dequeue_signal`.
    pub(crate) fn dequeue_signal(&self, set: SigSet) -> Option<SigInfo> {
        let mut signal = self.group.signal();
        let info = self.pending.lock().take(set);
        let info = info.or_else(|| signal.shared.take(set));
        if let Some(info) = &info {
            self.stop_dequeued.store(STOP_SIGNALS.contains(info.si_signo), Ordering::Relaxed);
        }
        drop(signal);
        if let Some(i) = &info
            && i.si_code == sentry_uapi::signal::SI_TIMER
        {
            let mut info = *i;
            self.group.timer_signal_taken(&mut info);
            return Some(info);
        }
        info
    }

    /// Signals pending for the thread or its process.
    pub(crate) fn all_pending(&self) -> SigSet {
        let signal = self.group.signal();
        self.pending.lock().set().union(signal.shared.set())
    }

    /// Works out anew whether there is something to deliver. Linux: `recalc_sigpending`.
    pub(crate) fn recalc_sigpending(&self) {
        let signal = self.group.signal();
        let ready = self.pending.lock().set().union(signal.shared.set()).difference(self.blocked());
        let pending = !ready.is_empty()
            || self.killed.load(Ordering::SeqCst)
            || self.stop_requested.load(Ordering::SeqCst)
            || signal.exec_thread.is_some_and(|t| t != self.tid());
        self.sigpending.store(pending, Ordering::SeqCst);
    }
}

impl Kernel {
    /// Sends a signal to every process of a group. Linux: `kill_pgrp`.
    ///
    /// # Errors
    /// `ESRCH` if there is no such group.
    pub fn kill_pgrp(&self, pgrp: u32, info: SigInfo, source: SigSource) -> Result<(), sentry_uapi::Errno> {
        let members = self.tree.lock().pgrp_members(pgrp);
        if members.is_empty() {
            return Err(sentry_uapi::errno::ESRCH);
        }
        for group in members {
            let _ = group.send_signal(info, source);
        }
        Ok(())
    }
}
