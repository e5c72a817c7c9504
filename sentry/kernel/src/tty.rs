//! What the kernel needs of a controlling terminal. The terminal itself is a filesystem's (`devpts`).
//!
//! Linux: the part of drivers/tty/tty_jobctrl.c about processes. Differs: a session has the terminal, where in Linux each of
//! its processes does; one that has let go of it is marked.

use crate::signal::SigSource;
use crate::{Kernel, Tree};
use sentry_uapi::signal::{SI_KERNEL, SIGCONT, SIGHUP, SigInfo};
use std::any::Any;
use std::sync::Arc;

/// A terminal that can be a session's controlling terminal. Linux: include/linux/tty.h.
pub trait Tty: Any + Send + Sync {
    /// Device number, as `/proc/[pid]/stat` shows it.
    fn device(&self) -> u64;
    /// The foreground process group (global number); 0 for none.
    fn foreground(&self) -> u32;
    /// The session leader has ended, or let go with TIOCNOTTY: the terminal belongs to nobody. Called with the tree
    /// locked.
    fn session_gone(&self);
    /// For the terminal driver to get back at its own type.
    fn as_any(&self) -> &dyn Any;
}

impl Tree {
    /// The controlling terminal of a process. Linux: `signal->tty`.
    pub fn tty_of(&self, id: u32) -> Option<Arc<dyn Tty>> {
        let p = self.processes.get(&id).filter(|p| !p.tty_disowned)?;
        self.sessions.get(&p.session)?.tty.clone()
    }
}

impl Kernel {
    /// A session's terminal has hung up: nobody has it any more, and the leader is told. Linux:
    /// `tty_signal_session_leader`.
    pub fn session_lost_tty(&self, session: u32, tty: &dyn Tty) {
        let (gone, leader) = {
            let mut tree = self.tree.lock();
            let Some(s) = tree.sessions.get_mut(&session) else { return };
            if !s.tty.as_ref().is_some_and(|t| std::ptr::addr_eq(Arc::as_ptr(t), tty)) {
                return;
            }
            let gone = s.tty.take();
            let foreground = tty.foreground();
            let old = tree.pgrps.get(&foreground).map(|g| g.pid.clone());
            if let Some(s) = tree.sessions.get_mut(&session) {
                s.tty_old_pgrp = old;
            }
            let leader = tree.processes.get(&session).filter(|p| p.session == session);
            (gone, leader.map(|p| p.group.clone()))
        };
        drop(gone);
        if let Some(leader) = leader {
            for signo in [SIGHUP, SIGCONT] {
                // A leader that is ending needs no telling.
                let _ = leader.send_signal(SigInfo::new(signo, SI_KERNEL), SigSource::Outside);
            }
        }
    }
}
