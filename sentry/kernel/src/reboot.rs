//! Linux: kernel/pid_namespace.c, `reboot_pid_ns`. Differs: the first pid namespace, which is the sandbox's, ends like any
//! other; from the host it is one of many.

use crate::CurrentTask;
use sentry_uapi::Errno;
use sentry_uapi::errno::EINVAL;
use sentry_uapi::signal::{SIGHUP, SIGINT};
use std::sync::atomic::Ordering;

const RESTART: u32 = 0x0123_4567;
const HALT: u32 = 0xcdef_0123;
const POWER_OFF: u32 = 0x4321_fedc;
const RESTART2: u32 = 0xa1b2_c3d4;

impl CurrentTask {
    /// Ends the caller's pid namespace: its first process seems to be killed by a signal that says what was asked for.
    /// The caller ends, too.
    ///
    /// # Errors
    /// `EINVAL` for a command.
    pub fn reboot_pid_ns(&mut self, cmd: u32) -> Result<(), Errno> {
        let signo = match cmd {
            RESTART | RESTART2 => SIGHUP,
            HALT | POWER_OFF => SIGINT,
            _ => return Err(EINVAL),
        };
        let ns = self.pid_ns();
        ns.reboot.store(signo, Ordering::Relaxed);
        let reaper = ns.child_reaper.load(Ordering::Relaxed);
        let group = self.kernel().tree.lock().processes.get(&reaper).map(|p| p.group.clone());
        if let Some(group) = group {
            group.kill(sentry_uapi::signal::SIGKILL);
        }
        self.exit_thread(0);
        Ok(())
    }
}
