//! Linux: kernel/exit.c, `do_wait`.

use crate::{CurrentTask, ThreadGroup, Usage};
use bitflags::bitflags;
use fs_vfs::{Sleep, TaskContext};
use sentry_sync::ANY_EVENT;
use sentry_uapi::Errno;
use sentry_uapi::errno::{ECHILD, ERESTARTSYS};
use sentry_uapi::signal::{CLD_CONTINUED, CLD_EXITED, CLD_KILLED, CLD_STOPPED, SIGCHLD, SIGCONT};
use std::sync::Arc;

bitflags! {
    /// Options of wait4(2) and waitid(2). Linux: include/uapi/linux/wait.h.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct WaitOptions: u32 {
        /// Do not wait.
        const NOHANG = 1;
        /// Report children that have stopped.
        const STOPPED = 2;
        /// Report children that have ended.
        const EXITED = 4;
        /// Report children that go on.
        const CONTINUED = 8;
        /// Leave the child as it is.
        const NOWAIT = 0x0100_0000;
        /// Only children of this thread.
        const NOTHREAD = 0x2000_0000;
        /// Children of every kind.
        const ALL = 0x4000_0000;
        /// Only children whose end is not told by SIGCHLD.
        const CLONE = 0x8000_0000;
    }
}

/// Which children to wait for, by global numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitTarget {
    /// Any.
    Any,
    /// This process.
    Pid(u32),
    /// Those of this group.
    Pgrp(u32),
}

/// What happened to a child.
#[derive(Clone, Debug)]
pub struct WaitOutcome {
    /// The child.
    pub group: Arc<ThreadGroup>,
    /// `CLD_*`.
    pub code: i32,
    /// The status as wait4(2) has it.
    pub status: i32,
    /// Resources used by it and the children it waited for.
    pub usage: Usage,
}

impl std::fmt::Debug for ThreadGroup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ThreadGroup({})", self.id())
    }
}

enum Look {
    Found(WaitOutcome),
    /// There are such children, none of them with news.
    Nothing,
    NoChild,
}

impl CurrentTask {
    /// Waits until a child has changed state. `None` with `NOHANG` when none has.
    ///
    /// # Errors
    /// `ECHILD` without such children; `ERESTARTSYS` when a signal is pending.
    pub fn do_wait(
        &mut self,
        target: WaitTarget,
        options: WaitOptions,
    ) -> Result<Option<WaitOutcome>, Errno> {
        let queue = self.group.wait_chldexit.clone();
        let mut registration = None;
        loop {
            match self.look_for_child(target, options) {
                Look::Found(outcome) => return Ok(Some(outcome)),
                Look::NoChild => return Err(ECHILD),
                Look::Nothing if options.contains(WaitOptions::NOHANG) => return Ok(None),
                Look::Nothing => {}
            }
            if registration.is_none() {
                registration = Some(queue.register(ANY_EVENT, self.waker()));
                continue;
            }
            match self.sleep(None) {
                Ok(Sleep::Woken | Sleep::TimedOut) => {}
                Err(_) => {
                    // SIGCHLD itself may have come with the news that was waited for.
                    return match self.look_for_child(target, options) {
                        Look::Found(outcome) => Ok(Some(outcome)),
                        _ => Err(ERESTARTSYS),
                    };
                }
            }
        }
    }

    fn look_for_child(&self, target: WaitTarget, options: WaitOptions) -> Look {
        let kernel = self.kernel();
        let mut tree = kernel.tree.lock();
        let own = self.group.id();
        let Some(me) = tree.processes.get(&own) else { return Look::NoChild };
        let mut any = false;
        let mut found = None;
        for id in &me.children {
            let Some(child) = tree.processes.get(id) else { continue };
            let wanted = match target {
                WaitTarget::Any => true,
                WaitTarget::Pid(pid) => pid == *id,
                WaitTarget::Pgrp(pgrp) => child.pgrp == pgrp,
            };
            let is_clone = child.exit_signal != SIGCHLD;
            let kind = options.contains(WaitOptions::ALL) || is_clone == options.contains(WaitOptions::CLONE);
            let thread = !options.contains(WaitOptions::NOTHREAD) || child.parent_thread == self.tid();
            if !wanted || !kind || !thread {
                continue;
            }
            any = true;
            if let Some(zombie) = child.zombie {
                if !options.contains(WaitOptions::EXITED) {
                    continue;
                }
                let code = if zombie.status & 0x7f == 0 { CLD_EXITED } else { CLD_KILLED };
                found = Some((child.group.clone(), code, zombie.status));
                break;
            }
            let mut signal = child.group.signal();
            let keep = options.contains(WaitOptions::NOWAIT);
            if options.contains(WaitOptions::STOPPED)
                && let Some(signo) = signal.stop_report
            {
                if !keep {
                    signal.stop_report = None;
                }
                drop(signal);
                found = Some((child.group.clone(), CLD_STOPPED, (signo << 8) | 0x7f));
                break;
            }
            if options.contains(WaitOptions::CONTINUED) && signal.continued_report {
                if !keep {
                    signal.continued_report = false;
                }
                drop(signal);
                found = Some((child.group.clone(), CLD_CONTINUED, 0xffff));
                break;
            }
        }
        let Some((group, code, status)) = found else {
            return if any { Look::Nothing } else { Look::NoChild };
        };
        let mut usage = *group.dead_threads.lock();
        usage.add(&group.dead_children.lock());
        let reaps = matches!(code, CLD_EXITED | CLD_KILLED) && !options.contains(WaitOptions::NOWAIT);
        if reaps {
            self.group.dead_children.lock().add(&usage);
            tree.reap(group.id());
        }
        Look::Found(WaitOutcome { group, code, status, usage })
    }
}

/// `si_status` of a change of state.
pub fn siginfo_status(code: i32, status: i32) -> i32 {
    match code {
        CLD_KILLED => status & 0x7f,
        CLD_CONTINUED => SIGCONT,
        _ => (status >> 8) & 0xff,
    }
}
