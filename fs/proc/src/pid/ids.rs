//! Numbers of a process in the tree, as a pid namespace knows them. Linux: include/linux/sched.h, `task_pgrp_nr_ns` and
//! its like.

use crate::pid::Subject;
use sentry_kernel::{Pid, PidNamespace};
use std::sync::Arc;

/// A process's relations.
pub(crate) struct Relations {
    /// Thread group id of the parent; 0 for none that can be seen.
    pub(crate) ppid: u32,
    /// Signal the parent gets.
    pub(crate) exit_signal: i32,
    pub(crate) pgrp: Option<Arc<Pid>>,
    pub(crate) session: Option<Arc<Pid>>,
    /// Device and foreground process group of the controlling terminal.
    pub(crate) tty: Option<(u64, Option<Arc<Pid>>)>,
    /// Wait status, of a zombie.
    pub(crate) exit_code: i32,
}

impl Subject {
    /// The process's relations, as they stand together.
    pub(crate) fn relations(&self, ns: &Arc<PidNamespace>) -> Relations {
        let (mut found, tty) = {
            let tree = self.kernel.tree.lock();
            let Some(p) = tree.processes.get(&self.group.id()) else {
                return Relations {
                    ppid: 0,
                    exit_signal: 0,
                    pgrp: None,
                    session: None,
                    tty: None,
                    exit_code: 0,
                };
            };
            let session = tree.sessions.get(&p.session);
            let relations = Relations {
                ppid: tree.processes.get(&p.parent).map_or(0, |parent| parent.group.pid.nr_in(ns)),
                exit_signal: p.exit_signal,
                pgrp: tree.pgrps.get(&p.pgrp).map(|g| g.pid.clone()),
                session: session.map(|s| s.pid.clone()),
                tty: None,
                exit_code: p.zombie.map_or(0, |z| z.status),
            };
            (relations, session.and_then(|s| s.tty.clone()))
        };
        if let Some(tty) = tty {
            let foreground = tty.foreground();
            let pgrp = self.kernel.tree.lock().pgrps.get(&foreground).map(|g| g.pid.clone());
            found.tty = Some((tty.device(), pgrp));
        }
        found
    }
}
