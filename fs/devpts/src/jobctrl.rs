//! Job control: who is in the foreground, and whose terminal it is. Linux: drivers/tty/tty_jobctrl.c.
//!
//! Lock order: the tree of processes, then the terminal.

use crate::pty::{Jobs, Pty};
use fs_vfs::TaskContext;
use sentry_auth::CapSet;
use sentry_kernel::signal::SigSource;
use sentry_kernel::{CurrentTask, Kernel, Pid, Tree, Tty};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, EIO, ENOTTY, EPERM, ERESTARTSYS, ESRCH};
use sentry_uapi::sigaction::SIG_IGN;
use sentry_uapi::signal::{SI_KERNEL, SIGCONT, SIGHUP, SIGTTIN, SIGTTOU, SigInfo};
use std::sync::{Arc, Weak};

/// The kernel's processes, as a terminal sees them.
pub(crate) struct KernelJobs(pub(crate) Weak<Kernel>);

impl Jobs for KernelJobs {
    fn kill_pgrp(&self, pgrp: &Pid, signo: i32) {
        if let Some(kernel) = self.0.upgrade() {
            kill_pgrp(&kernel, pgrp.global(), signo);
        }
    }

    fn session_lost_tty(&self, session: &Pid, tty: &Pty) {
        if let Some(kernel) = self.0.upgrade() {
            kernel.session_lost_tty(session.global(), tty);
        }
    }
}

fn kill_pgrp(kernel: &Kernel, pgrp: u32, signo: i32) {
    // A group that is gone needs no signal.
    let _ = kernel.kill_pgrp(pgrp, SigInfo::new(signo, SI_KERNEL), SigSource::Outside);
}

/// The calling task, if there is a kernel behind it.
fn current(ctx: &dyn TaskContext) -> Option<&CurrentTask> {
    ctx.as_any().downcast_ref()
}

fn is(tty: &dyn Tty, pty: &Pty) -> bool {
    tty.as_any().downcast_ref::<Pty>().is_some_and(|other| std::ptr::eq(other, pty))
}

fn has_tty(tree: &Tree, id: u32, pty: &Pty) -> bool {
    tree.tty_of(id).is_some_and(|tty| is(&*tty, pty))
}

/// The controlling terminal of the calling process. Linux: `get_current_tty`.
pub(crate) fn current_tty(ctx: &dyn TaskContext) -> Option<Arc<dyn Tty>> {
    let task = current(ctx)?;
    task.kernel().tree.lock().tty_of(task.group.id())
}

/// Whether it is the controlling terminal of the calling process.
pub(crate) fn is_current_tty(ctx: &dyn TaskContext, pty: &Pty) -> bool {
    current_tty(ctx).is_some_and(|tty| is(&*tty, pty))
}

/// Whether the calling process may go on: from the background it gets `signo` (SIGTTIN or SIGTTOU) instead. Linux:
/// `__tty_check_change`.
///
/// # Errors
/// `ERESTARTSYS` with the signal sent; `EIO` if nobody could bring the process to the foreground, or for SIGTTIN that is
/// blocked or ignored.
pub(crate) fn check_change(ctx: &dyn TaskContext, pty: &Pty, signo: i32) -> Result<(), Errno> {
    let Some(task) = current(ctx) else { return Ok(()) };
    let (Some(_), Some(foreground)) = pty.session() else { return Ok(()) };
    let pgrp = {
        let tree = task.kernel().tree.lock();
        let id = task.group.id();
        if !has_tty(&tree, id, pty) {
            return Ok(());
        }
        let pgrp = tree.processes.get(&id).map_or(0, |p| p.pgrp);
        if pgrp == foreground.global() {
            return Ok(());
        }
        if task.blocked().contains(signo) || task.group.sighand().get(signo).handler == SIG_IGN {
            return if signo == SIGTTIN { Err(EIO) } else { Ok(()) };
        }
        if tree.is_orphaned_pgrp(pgrp, None) {
            return Err(EIO);
        }
        pgrp
    };
    kill_pgrp(task.kernel(), pgrp, signo);
    Err(ERESTARTSYS)
}

/// Linux: `__proc_set_tty`.
fn proc_set_tty(tree: &mut Tree, id: u32, pty: &Arc<Pty>) {
    let Some(p) = tree.processes.get_mut(&id) else { return };
    p.tty_disowned = false;
    let (session, pgrp) = (p.session, p.pgrp);
    let pgrp = tree.pgrps.get(&pgrp).map(|g| g.pid.clone());
    let Some(session) = tree.sessions.get_mut(&session) else { return };
    pty.set_session(Some(session.pid.clone()), pgrp);
    session.tty = Some(pty.clone());
    session.tty_old_pgrp = None;
}

fn is_leader(tree: &Tree, id: u32) -> bool {
    tree.processes.get(&id).is_some_and(|p| p.session == id)
}

/// A session leader without a terminal gets the one it opens. Linux: `tty_open_proc_set_tty`.
pub(crate) fn open_proc_set_tty(ctx: &dyn TaskContext, pty: &Arc<Pty>, readable: bool) {
    let Some(task) = current(ctx) else { return };
    let id = task.group.id();
    let mut tree = task.kernel().tree.lock();
    if readable && is_leader(&tree, id) && tree.tty_of(id).is_none() && pty.session().0.is_none() {
        proc_set_tty(&mut tree, id, pty);
    }
}

/// TIOCSCTTY. Linux: `tiocsctty`.
///
/// # Errors
/// `EPERM` unless a session leader without a terminal asks for one that nobody has; with `steal` root may take another
/// session's.
pub(crate) fn tiocsctty(
    ctx: &dyn TaskContext,
    pty: &Arc<Pty>,
    readable: bool,
    steal: bool,
) -> Result<(), Errno> {
    let task = current(ctx).ok_or(EPERM)?;
    let id = task.group.id();
    let privileged = ctx.vfs().capable(&ctx.cred(), CapSet::SYS_ADMIN);
    let mut tree = task.kernel().tree.lock();
    let owner = pty.session().0;
    let leader = is_leader(&tree, id);
    if leader && owner.as_ref().is_some_and(|s| s.global() == id) {
        return Ok(());
    }
    if !leader || tree.tty_of(id).is_some() {
        return Err(EPERM);
    }
    if let Some(owner) = owner {
        if !(steal && privileged) {
            return Err(EPERM);
        }
        if let Some(session) = tree.sessions.get_mut(&owner.global())
            && session.tty.as_ref().is_some_and(|tty| is(&**tty, pty))
        {
            session.tty = None;
        }
    }
    if !readable && !privileged {
        return Err(EPERM);
    }
    proc_set_tty(&mut tree, id, pty);
    Ok(())
}

/// TIOCNOTTY. A session leader gives the terminal up for the whole session. Linux: `no_tty`.
///
/// # Errors
/// `ENOTTY` if it is not the caller's terminal.
pub(crate) fn tiocnotty(ctx: &dyn TaskContext, pty: &Pty) -> Result<(), Errno> {
    let task = current(ctx).ok_or(ENOTTY)?;
    let kernel = task.kernel();
    let id = task.group.id();
    let foreground = {
        let mut tree = kernel.tree.lock();
        if !has_tty(&tree, id, pty) {
            return Err(ENOTTY);
        }
        if !is_leader(&tree, id) {
            if let Some(p) = tree.processes.get_mut(&id) {
                p.tty_disowned = true;
            }
            return Ok(());
        }
        let foreground = pty.foreground();
        pty.session_gone();
        if let Some(session) = tree.sessions.get_mut(&id) {
            session.tty = None;
            session.tty_old_pgrp = None;
        }
        foreground
    };
    if foreground != 0 {
        kill_pgrp(kernel, foreground, SIGHUP);
        kill_pgrp(kernel, foreground, SIGCONT);
    }
    Ok(())
}

/// The number of a process group or session as the caller sees it. Linux: `pid_vnr`.
fn pid_vnr(ctx: &dyn TaskContext, pid: Option<&Arc<Pid>>) -> u32 {
    match (current(ctx), pid) {
        (Some(task), Some(pid)) => pid.nr_in(&task.pid_ns()),
        _ => 0,
    }
}

/// TIOCGPGRP, of the caller's terminal or by the master. Linux: `tiocgpgrp`.
///
/// # Errors
/// `ENOTTY`.
pub(crate) fn tiocgpgrp(ctx: &dyn TaskContext, pty: &Pty, by_master: bool) -> Result<u32, Errno> {
    if !by_master && !is_current_tty(ctx, pty) {
        return Err(ENOTTY);
    }
    Ok(pid_vnr(ctx, pty.session().1.as_ref()))
}

/// TIOCGSID. Linux: `tiocgsid`.
///
/// # Errors
/// `ENOTTY`.
pub(crate) fn tiocgsid(ctx: &dyn TaskContext, pty: &Pty, by_master: bool) -> Result<u32, Errno> {
    if !by_master && !is_current_tty(ctx, pty) {
        return Err(ENOTTY);
    }
    let session = pty.session().0.ok_or(ENOTTY)?;
    Ok(pid_vnr(ctx, Some(&session)))
}

/// TIOCSPGRP, after [`check_change_for_spgrp`]. Linux: `tiocspgrp`.
///
/// # Errors
/// `EINVAL`; `ENOTTY` if it is not the caller's terminal; `ESRCH` and `EPERM` for a group that does not exist, or not in
/// the caller's session.
pub(crate) fn tiocspgrp(ctx: &dyn TaskContext, pty: &Pty, nr: i32) -> Result<(), Errno> {
    let nr = u32::try_from(nr).map_err(|_| EINVAL)?;
    let task = current(ctx).ok_or(ENOTTY)?;
    let id = task.group.id();
    let tree = task.kernel().tree.lock();
    let session = tree.processes.get(&id).map_or(0, |p| p.session);
    let (owner, _) = pty.session();
    if !has_tty(&tree, id, pty) || owner.as_ref().is_none_or(|s| s.global() != session) {
        return Err(ENOTTY);
    }
    let pgrp = task.pid_ns().find(nr).ok_or(ESRCH)?;
    let global = pgrp.global();
    let of_group = tree.pgrps.get(&global).map(|g| g.session);
    if of_group.or_else(|| tree.processes.get(&global).map(|p| p.session)) != Some(session) {
        return Err(EPERM);
    }
    pty.set_session(owner, Some(pgrp));
    Ok(())
}

/// The check before TIOCSPGRP, which has an error of its own.
///
/// # Errors
/// As [`check_change`], with `ENOTTY` for `EIO`.
pub(crate) fn check_change_for_spgrp(ctx: &dyn TaskContext, pty: &Pty) -> Result<(), Errno> {
    check_change(ctx, pty, SIGTTOU).map_err(|e| if e == EIO { ENOTTY } else { e })
}
