//! Delivering signals to the running task. Linux: kernel/signal.c, `get_signal`, `do_signal_stop`.

use crate::signal::{DefaultAction, UNBLOCKABLE, default_action};
use crate::thread_group::StopState;
use crate::{CurrentTask, RunState};
use sentry_uapi::sigaction::{SIG_DFL, SIG_IGN, SaFlags, SigAction};
use sentry_uapi::signal::{CLD_STOPPED, SIGSTOP, SigInfo, SigSet};
use std::sync::atomic::Ordering;

impl CurrentTask {
    /// Changes the set of blocked signals; SIGKILL and SIGSTOP stay out of it. Linux: `set_current_blocked`.
    pub fn set_blocked(&mut self, mask: SigSet) {
        let mask = mask.difference(UNBLOCKABLE);
        let old = self.task().blocked();
        if old == mask {
            return;
        }
        let newly_blocked = mask.difference(old);
        {
            let signal = self.group.signal();
            self.task().blocked.store(mask.0, Ordering::Relaxed);
            drop(signal);
        }
        self.recalc_sigpending();
        // What was sent to the process and this thread no longer takes, another one may. Linux: `retarget_shared_pending`.
        let shared = {
            let signal = self.group.signal();
            signal.shared.set().intersection(newly_blocked)
        };
        if !shared.is_empty() {
            for t in self.group.threads() {
                if !shared.difference(t.blocked()).is_empty() && t.tid() != self.tid() {
                    t.kick();
                }
            }
        }
    }

    /// Takes a signal out of `set`, sleeping for one by `sleep` until that returns false. Linux: `do_sigtimedwait`.
    pub fn sigtimedwait(
        &mut self,
        set: SigSet,
        mut sleep: impl FnMut(&CurrentTask) -> bool,
    ) -> Option<SigInfo> {
        if let Some(info) = self.task().dequeue_signal(set) {
            return Some(info);
        }
        // Senders wake the task for these although they are blocked.
        self.task().awaited.store(set.0, Ordering::SeqCst);
        let old = self.task().blocked();
        self.set_blocked(old.difference(set));
        let mut found = None;
        loop {
            found = found.or_else(|| self.task().dequeue_signal(set));
            if found.is_some() || self.signal_pending() || !sleep(self) {
                break;
            }
        }
        self.task().awaited.store(0, Ordering::SeqCst);
        found = found.or_else(|| self.task().dequeue_signal(set));
        self.set_blocked(old);
        self.recalc_sigpending();
        found
    }

    /// Finds the next signal that has a handler; does on the way what the others ask for. `None`: nothing to handle.
    /// Sets `exit_status` when the task is to end.
    pub(crate) fn get_signal(&mut self) -> Option<(SigInfo, SigAction)> {
        loop {
            self.recalc_sigpending();
            let (killed, exec_by_other) = {
                let signal = self.group.signal();
                (signal.group_exit, signal.exec_thread.is_some_and(|t| t != self.tid()))
            };
            if let Some(status) = killed {
                // The others must not sleep through it, whoever began.
                let status = self.group.group_exit(status);
                self.exit_status = Some(status);
                return None;
            }
            if exec_by_other {
                self.exit_status = Some(0);
                return None;
            }
            if self.task().stop_requested.swap(false, Ordering::SeqCst) {
                self.join_group_stop();
                continue;
            }
            if !self.signal_pending() {
                return None;
            }
            let Some(info) = self.dequeue_signal(SigSet(!self.task().blocked().0)) else { continue };
            if let Some(tracer) = self.kernel().syscalls.tracer.clone() {
                tracer.signal(self, &info);
            }
            let signo = info.si_signo;
            let sighand = self.group.sighand();
            let action = sighand.get(signo);
            if action.handler == SIG_IGN {
                continue;
            }
            if action.handler != SIG_DFL {
                if SaFlags::from_bits_retain(action.flags).contains(SaFlags::RESETHAND) {
                    sighand.set(signo, SigAction { handler: SIG_DFL, ..action });
                }
                self.kernel().counters.signals.fetch_add(1, Ordering::Relaxed);
                return Some((info, action));
            }
            match default_action(signo) {
                DefaultAction::Ignore | DefaultAction::Continue => {}
                DefaultAction::Stop => {
                    if self.group.unkillable.load(Ordering::Relaxed) && signo != SIGSTOP {
                        continue;
                    }
                    if signo != SIGSTOP {
                        let tree = self.kernel().tree.lock();
                        let pgrp = tree.processes.get(&self.group.id()).map(|p| p.pgrp);
                        if pgrp.is_none_or(|g| tree.is_orphaned_pgrp(g, None)) {
                            continue;
                        }
                    }
                    self.do_signal_stop(signo);
                }
                DefaultAction::Terminate | DefaultAction::CoreDump => {
                    if self.group.unkillable.load(Ordering::Relaxed) && !UNBLOCKABLE.contains(signo) {
                        continue;
                    }
                    let status = self.group.group_exit(signo);
                    self.exit_status = Some(status);
                    return None;
                }
            }
        }
    }

    /// Begins a stop of the whole process and takes part in it.
    fn do_signal_stop(&mut self, signo: i32) {
        let threads = self.group.threads();
        {
            let mut signal = self.group.signal();
            if signal.group_exit.is_some() {
                return;
            }
            // SIGCONT may have come since the signal was taken out.
            if !self.task().stop_dequeued.swap(false, Ordering::Relaxed) {
                return;
            }
            if signal.stop == StopState::Running {
                let alive = threads.iter().filter(|t| !t.is_exiting()).count();
                signal.stop = StopState::Stopping { signo, remaining: alive };
                for t in &threads {
                    if t.tid() != self.tid() && !t.is_exiting() {
                        t.stop_requested.store(true, Ordering::SeqCst);
                        t.kick();
                    }
                }
            }
        }
        self.join_group_stop();
    }

    /// Stops here until the process is continued or killed. The last thread to stop tells the parent.
    fn join_group_stop(&mut self) {
        let report = {
            let mut signal = self.group.signal();
            match signal.stop {
                StopState::Stopping { signo, remaining } => {
                    if remaining <= 1 {
                        signal.stop = StopState::Stopped { signo };
                        signal.stop_report = Some(signo);
                        signal.continued_report = false;
                        Some(signo)
                    } else {
                        signal.stop = StopState::Stopping { signo, remaining: remaining - 1 };
                        None
                    }
                }
                _ => None,
            }
        };
        if let Some(signo) = report {
            self.kernel().notify_parent_of_stop(&self.group, CLD_STOPPED, signo);
        }
        self.task().set_run_state(RunState::Stopped);
        loop {
            {
                let signal = self.group.signal();
                let exec = signal.exec_thread.is_some_and(|t| t != self.tid());
                if signal.stop == StopState::Running || signal.group_exit.is_some() || exec {
                    break;
                }
            }
            self.park(None);
        }
        self.task().set_run_state(RunState::Running);
    }
}
