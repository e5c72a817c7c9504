//! Linux: kernel/pid_namespace.c: the end of a pid namespace, which ends with its first process.

use crate::signal::SigSource;
use crate::{CurrentTask, Kernel, PidNamespace, Task, ThreadGroup};
use sentry_uapi::Errno;
use sentry_uapi::errno::EINVAL;
use sentry_uapi::signal::{SI_KERNEL, SIGHUP, SIGINT, SIGKILL, SigInfo};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long one dying process is waited for before all are looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Commands of reboot(2). Linux: include/uapi/linux/reboot.h.
mod cmd {
    pub(super) const RESTART: u32 = 0x0123_4567;
    pub(super) const RESTART2: u32 = 0xa1b2_c3d4;
    pub(super) const POWER_OFF: u32 = 0x4321_fedc;
    pub(super) const HALT: u32 = 0xcdef_0123;
}

impl Kernel {
    /// Before the last thread of a namespace's first process goes, everything else in it does: whoever waits for that process
    /// finds nothing left. Linux: `zap_pid_ns_processes`.
    pub(crate) fn zap_pid_ns_processes(&self, task: &Arc<Task>) {
        let group = &task.group;
        let Some(ns) = group.pid.namespace().filter(|ns| ns.level() > 0) else { return };
        if ns.child_reaper.load(Ordering::Relaxed) != group.id() {
            return;
        }
        let last = {
            let tree = self.tree.lock();
            tree.processes.get(&group.id()).is_none_or(|p| p.threads.iter().all(|t| Arc::ptr_eq(t, task)))
        };
        if !last {
            return;
        }
        ns.disable_allocation();
        loop {
            let others = self.living_in(ns, group);
            let Some(first) = others.first() else { return };
            for other in &others {
                let _ = other.send_signal(SigInfo::new(SIGKILL, SI_KERNEL), SigSource::Outside);
            }
            let _registration = first.exit_queue.register(u32::MAX, task.parker.clone());
            if !first.is_dead() {
                task.parker.park(Some(Instant::now() + LOOK_AGAIN));
            }
        }
    }

    /// The processes of a namespace, and of those below, that are not `group` and not dead.
    fn living_in(&self, ns: &PidNamespace, group: &Arc<ThreadGroup>) -> Vec<Arc<ThreadGroup>> {
        let ids = ns.ids();
        let tree = self.tree.lock();
        ids.iter()
            .filter_map(|pid| tree.processes.get(&pid.global()))
            .filter(|p| p.zombie.is_none() && !Arc::ptr_eq(&p.group, group))
            .map(|p| p.group.clone())
            .collect()
    }
}

impl CurrentTask {
    /// reboot(2) in a pid namespace other than the first: its first process dies, as if by a signal that says which it was.
    /// Linux: `reboot_pid_ns`.
    ///
    /// # Errors
    /// `EINVAL` for another command.
    pub fn reboot_pid_ns(&self, command: u32) -> Result<(), Errno> {
        let signo = match command {
            cmd::RESTART | cmd::RESTART2 => SIGHUP,
            cmd::POWER_OFF | cmd::HALT => SIGINT,
            _ => return Err(EINVAL),
        };
        let ns = self.pid_ns();
        ns.reboot.store(signo, Ordering::Relaxed);
        let reaper = ns.child_reaper.load(Ordering::Relaxed);
        let init = self.kernel().tree.lock().processes.get(&reaper).map(|p| p.group.clone());
        if let Some(init) = init {
            init.kill(SIGKILL);
        }
        Ok(())
    }
}
