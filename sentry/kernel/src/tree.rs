//! Who is whose parent, who is in which process group and session. Linux: the relations that `tasklist_lock` guards.
//!
//! Everything is keyed by the global number of a pid (of the leader, for a process). An `Arc<Pid>` in the tables keeps
//! the number from being given out again.

use crate::{Pid, Task, ThreadGroup, Tty};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A process in the tree.
pub struct Process {
    /// The process.
    pub group: Arc<ThreadGroup>,
    /// Its living threads, oldest first.
    pub threads: Vec<Arc<Task>>,
    /// Its parent; 0 for none.
    pub parent: u32,
    /// The thread of the parent that made it (`__WNOTHREAD`, PR_SET_PDEATHSIG).
    pub parent_thread: u32,
    /// Its children, oldest first.
    pub children: Vec<u32>,
    /// Its process group.
    pub pgrp: u32,
    /// Its session.
    pub session: u32,
    /// Signal its parent gets when it ends; 0 for none.
    pub exit_signal: i32,
    /// Set once the last thread is gone: what wait4(2) will report.
    pub zombie: Option<Zombie>,
    /// PR_SET_CHILD_SUBREAPER.
    pub is_subreaper: bool,
    /// It has called execve(2): setpgid(2) of it is no longer the parent's business.
    pub did_exec: bool,
    /// It has let go of its session's terminal by TIOCNOTTY, or a process it descends from has.
    pub tty_disowned: bool,
}

/// What is left of a process.
#[derive(Clone, Copy, Debug)]
pub struct Zombie {
    /// As wait4(2) gives it.
    pub status: i32,
}

/// A process group.
pub struct ProcessGroup {
    /// Keeps the number.
    pub pid: Arc<Pid>,
    /// The session it belongs to.
    pub session: u32,
    /// Its processes.
    pub members: Vec<u32>,
}

/// A session.
pub struct Session {
    /// Keeps the number.
    pub pid: Arc<Pid>,
    /// Its processes.
    pub members: Vec<u32>,
    /// Its controlling terminal.
    pub tty: Option<Arc<dyn Tty>>,
    /// The foreground process group of a terminal that has hung up: it hears of the leader's end. Linux:
    /// `tty_old_pgrp`.
    pub tty_old_pgrp: Option<Arc<Pid>>,
}

/// All processes.
#[derive(Default)]
pub struct Tree {
    /// Processes, dead ones included until they have been waited for.
    pub processes: BTreeMap<u32, Process>,
    /// Living threads by thread id.
    pub tasks: HashMap<u32, Arc<Task>>,
    /// Process groups.
    pub pgrps: HashMap<u32, ProcessGroup>,
    /// Sessions.
    pub sessions: HashMap<u32, Session>,
}

impl Tree {
    /// Enters a process into a group and session, made if need be.
    pub(crate) fn attach(&mut self, id: u32, pgrp: &Arc<Pid>, session: &Arc<Pid>) {
        let (pg, sess) = (pgrp.global(), session.global());
        self.pgrps
            .entry(pg)
            .or_insert_with(|| ProcessGroup { pid: pgrp.clone(), session: sess, members: Vec::new() })
            .members
            .push(id);
        self.sessions
            .entry(sess)
            .or_insert_with(|| Session {
                pid: session.clone(),
                members: Vec::new(),
                tty: None,
                tty_old_pgrp: None,
            })
            .members
            .push(id);
        if let Some(p) = self.processes.get_mut(&id) {
            p.pgrp = pg;
            p.session = sess;
        }
    }

    /// Takes a process out of its group and session; empty ones vanish.
    pub(crate) fn detach(&mut self, id: u32) {
        let Some(p) = self.processes.get(&id) else { return };
        let (pg, sess) = (p.pgrp, p.session);
        if let Some(g) = self.pgrps.get_mut(&pg) {
            g.members.retain(|m| *m != id);
            if g.members.is_empty() {
                self.pgrps.remove(&pg);
            }
        }
        if let Some(s) = self.sessions.get_mut(&sess) {
            s.members.retain(|m| *m != id);
            if s.members.is_empty() {
                self.sessions.remove(&sess);
            }
        }
    }

    /// Moves a process to another group of its session, made if need be. Linux: `change_pid(PIDTYPE_PGID)`.
    pub fn change_pgrp(&mut self, id: u32, pgrp: &Arc<Pid>) {
        let Some(session) = self.processes.get(&id).map(|p| p.session) else { return };
        let Some(session) = self.sessions.get(&session).map(|s| s.pid.clone()) else { return };
        // Held across the change, lest an only member's session vanish with its terminal.
        let tty = self.sessions.get_mut(&session.global()).map(|s| (s.tty.take(), s.tty_old_pgrp.take()));
        self.detach(id);
        self.attach(id, pgrp, &session);
        if let Some(s) = self.sessions.get_mut(&session.global()) {
            (s.tty, s.tty_old_pgrp) = tty.unwrap_or_default();
        }
    }

    /// Makes a process the leader of a new session and group. Linux: `set_special_pids`.
    pub fn change_session(&mut self, id: u32, pid: &Arc<Pid>) {
        self.detach(id);
        self.attach(id, pid, pid);
        if let Some(p) = self.processes.get_mut(&id) {
            p.tty_disowned = false;
        }
    }

    /// Notes for all descendants that there is a subreaper above them. Linux: `propagate_has_child_subreaper`.
    pub fn mark_subreaper_descendants(&mut self, id: u32) {
        let mut todo = vec![id];
        while let Some(next) = todo.pop() {
            let Some(p) = self.processes.get(&next) else { continue };
            if next != id {
                p.group.has_child_subreaper.store(true, std::sync::atomic::Ordering::Relaxed);
            }
            todo.extend(&p.children);
        }
    }

    /// Removes a zombie for good. Linux: `release_task`.
    pub(crate) fn reap(&mut self, id: u32) {
        self.detach(id);
        let Some(p) = self.processes.remove(&id) else { return };
        let nproc = p.group.dead_leader_nproc.lock().take();
        drop(nproc);
        if let Some(parent) = self.processes.get_mut(&p.parent) {
            parent.children.retain(|c| *c != id);
        }
    }

    /// Whether no process of the group, `ignored` aside, has a parent in the same session but another group: nobody is
    /// left who could continue it. Linux: `will_become_orphaned_pgrp`.
    pub fn is_orphaned_pgrp(&self, pgrp: u32, ignored: Option<u32>) -> bool {
        let Some(group) = self.pgrps.get(&pgrp) else { return true };
        !group.members.iter().any(|id| {
            Some(*id) != ignored
                && self.processes.get(id).is_some_and(|p| {
                    p.zombie.is_none()
                        && self.processes.get(&p.parent).is_some_and(|parent| {
                            parent.pgrp != pgrp && parent.session == p.session && p.parent != 0
                        })
                })
        })
    }

    /// Whether a process of the group is stopped. Linux: `has_stopped_jobs`.
    pub(crate) fn has_stopped_jobs(&self, pgrp: u32) -> bool {
        self.pgrps.get(&pgrp).is_some_and(|g| {
            g.members.iter().any(|id| self.processes.get(id).is_some_and(|p| p.group.is_stopped()))
        })
    }

    /// The processes of a group.
    pub fn pgrp_members(&self, pgrp: u32) -> Vec<Arc<ThreadGroup>> {
        let Some(group) = self.pgrps.get(&pgrp) else { return Vec::new() };
        group.members.iter().filter_map(|id| self.processes.get(id)).map(|p| p.group.clone()).collect()
    }
}
