//! The owner of a file's signals. Linux: fs/fcntl.c, `struct fown_struct`.

use super::fcntl::low_half;
use super::user::done;
use crate::arg::{Addr, Fd};
use fs_vfs::{File, FileOwner, OwnerKind, TaskContext, dnotify_flush, fcntl_dirnotify};
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, ESRCH};
use sentry_uapi::fcntl::{
    F_ADD_SEALS, F_GET_SEALS, F_GETOWN, F_GETOWN_EX, F_GETOWNER_UIDS, F_GETSIG, F_SETOWN, F_SETOWN_EX,
    F_SETSIG,
};
use sentry_uapi::signal::NSIG;
use std::sync::Arc;

/// fcntl(2) commands about the owner, and about seals.
pub(super) fn owner_fcntl(task: &CurrentTask, file: &File, cmd: u32, arg: u64) -> SyscallResult {
    match cmd {
        F_GETOWN => Ok(i64::from(getown(task, file)).cast_unsigned()),
        F_SETOWN => done(setown(task, file, low_half(arg).cast_signed())),
        F_GETOWN_EX => {
            let (kind, nr) = owner_in(task, &file.owner());
            done(task.user()?.write_obj(arg, &[kind, nr]))
        }
        F_SETOWN_EX => {
            let [kind, nr] = task.user()?.read_obj::<[i32; 2]>(arg)?;
            let kind = match kind {
                0 => OwnerKind::Thread,
                1 => OwnerKind::Process,
                2 => OwnerKind::Group,
                _ => return Err(EINVAL.into()),
            };
            done(set_owner(task, file, kind, nr))
        }
        F_GETSIG => Ok(u64::from(file.owner().signum.unsigned_abs())),
        F_SETSIG => {
            let signum = i32::try_from(arg).ok().filter(|n| *n <= NSIG).ok_or(EINVAL)?;
            file.set_owner(FileOwner { signum, ..file.owner() });
            Ok(0)
        }
        F_GETOWNER_UIDS => {
            let (owner, ns) = (file.owner(), TaskContext::cred(task).user_ns.clone());
            let uids = [owner.uid, owner.euid].map(|uid| ns.from_kuid(uid).unwrap_or(u32::MAX));
            done(task.user()?.write_obj(arg, &uids))
        }
        F_ADD_SEALS => done(fs_tmpfs::add_seals(file, u32::try_from(arg).map_err(|_| EINVAL)?)),
        F_GET_SEALS => Ok(u64::from(fs_tmpfs::get_seals(file)?.bits())),
        _ => Err(EINVAL.into()),
    }
}

/// ioctl(2) commands FIOSETOWN, SIOCSPGRP, FIOGETOWN, SIOCGPGRP of sockets. Linux: net/socket.c, `sock_ioctl`.
pub(super) fn owner_ioctl(task: &CurrentTask, file: &File, set: bool, arg: Addr) -> Result<(), Errno> {
    let mm = task.user()?;
    if set { setown(task, file, mm.read_obj(arg.0)?) } else { mm.write_obj(arg.0, &getown(task, file)) }
}

/// Linux: `f_getown`: a process group is negative.
fn getown(task: &CurrentTask, file: &File) -> i32 {
    let owner = file.owner();
    let (_, nr) = owner_in(task, &owner);
    if owner.kind == OwnerKind::Group { -nr } else { nr }
}

/// Linux: `f_setown`.
fn setown(task: &CurrentTask, file: &File, who: i32) -> Result<(), Errno> {
    let kind = if who < 0 { OwnerKind::Group } else { OwnerKind::Process };
    set_owner(task, file, kind, who.checked_abs().ok_or(EINVAL)?)
}

fn set_owner(task: &CurrentTask, file: &File, kind: OwnerKind, nr: i32) -> Result<(), Errno> {
    let pid = match nr {
        0 => 0,
        nr => {
            let nr = u32::try_from(nr).map_err(|_| ESRCH)?;
            task.pid_ns().find(nr).ok_or(ESRCH)?.global()
        }
    };
    let cred = TaskContext::cred(task);
    let signum = file.owner().signum;
    file.set_owner(FileOwner { kind, pid, uid: cred.uid, euid: cred.euid, signum });
    Ok(())
}

/// Kind and number of an owner as the caller sees them; 0 for one that is gone or not in its pid namespace.
fn owner_in(task: &CurrentTask, owner: &FileOwner) -> (i32, i32) {
    let kind = match owner.kind {
        OwnerKind::Thread => 0,
        OwnerKind::Process => 1,
        OwnerKind::Group => 2,
    };
    let found = task.kernel().root_pid_ns.find(owner.pid);
    let nr = found.map_or(0, |pid| pid.nr_in(&task.pid_ns()));
    (kind, i32::try_from(nr).unwrap_or(0))
}

/// fcntl(F_NOTIFY): the caller becomes the owner of a directory that has none. Linux: `fcntl_dirnotify`.
pub(super) fn dirnotify(task: &CurrentTask, fd: Fd, file: &Arc<File>, arg: u64) -> Result<(), Errno> {
    let files = TaskContext::files(task);
    let waker = || {
        if file.owner().pid == 0 {
            let cred = TaskContext::cred(task);
            let (kind, pid) = (OwnerKind::Process, task.group.id());
            file.set_owner(FileOwner { kind, pid, uid: cred.uid, euid: cred.euid, ..file.owner() });
        }
        task.kernel().fasync(file, fd.0)
    };
    fcntl_dirnotify(file, files.lock_owner(), arg, waker)?;
    // Another thread may have closed the descriptor meanwhile, and found nothing to end.
    if !files.get_raw(fd.0).is_some_and(|now| Arc::ptr_eq(&now, file)) {
        dnotify_flush(file, files.lock_owner());
    }
    Ok(())
}
