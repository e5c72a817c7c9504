//! Linux: fs/fcntl.c and flock(2) of fs/locks.c. Differs: there are no leases; lifetime hints are taken and
//! forgotten.

use super::user::{done, fd_result, get_file};
use crate::arg::{Addr, Fd};
use fs_vfs::{
    File, LockOwner, TaskContext, do_flock, fcntl_getlk, fcntl_setlease, fcntl_setlk, locks_remove_posix,
    pipe_get_size, pipe_set_size, setfl,
};
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EBADF, EINVAL};
use sentry_uapi::fcntl::*;
use std::sync::Arc;

/// fcntl(2).
pub(crate) fn fcntl(task: &mut CurrentTask, fd: Fd, cmd: u32, arg: u64) -> SyscallResult {
    let files = TaskContext::files(task);
    let file = files.get_raw(fd.0).ok_or(EBADF)?;
    let path_only = file.flags().contains(OpenFlags::PATH);
    if path_only && !matches!(cmd, F_DUPFD | F_DUPFD_CLOEXEC | F_GETFD | F_SETFD | F_GETFL) {
        return Err(EBADF.into());
    }
    match cmd {
        F_DUPFD => fd_result(files.dup_min(task, fd.0, arg, false)?),
        F_DUPFD_CLOEXEC => fd_result(files.dup_min(task, fd.0, arg, true)?),
        F_GETFD => Ok(u64::from(files.cloexec(fd.0)?)),
        F_SETFD => done(files.set_cloexec(fd.0, arg & FD_CLOEXEC != 0)),
        F_GETFL => Ok(u64::from(file.flags().bits())),
        F_SETFL => done(change_flags(task, fd, &file, OpenFlags::from_bits_retain(low_half(arg)))),
        F_GETLK => getlk(task, &file, posix_owner(task), Addr(arg)),
        F_OFD_GETLK => getlk(task, &file, LockOwner::OpenFile, Addr(arg)),
        F_SETLK | F_SETLKW => setlk(task, fd, &file, Addr(arg), cmd == F_SETLKW),
        F_OFD_SETLK | F_OFD_SETLKW => setlk_ofd(task, &file, Addr(arg), cmd == F_OFD_SETLKW),
        F_GETLEASE => Ok(u64::from(F_UNLCK.unsigned_abs())),
        F_SETLEASE => done(fcntl_setlease(task, &file, low_half(arg).cast_signed())),
        F_NOTIFY => done(super::fown::dirnotify(task, fd, &file, arg)),
        F_GETPIPE_SZ => Ok(pipe_get_size(&file)? as u64),
        F_SETPIPE_SZ => {
            let size = u32::try_from(arg).map_err(|_| EINVAL)?;
            Ok(pipe_set_size(&file, &TaskContext::cred(task), size)? as u64)
        }
        F_GET_RW_HINT | F_GET_FILE_RW_HINT => done(task.user()?.write_obj(arg, &0_u64)),
        F_SET_RW_HINT | F_SET_FILE_RW_HINT => set_rw_hint(task, Addr(arg)),
        _ => super::fown::owner_fcntl(task, &file, cmd, arg),
    }
}

/// flock(2).
pub(crate) fn flock(task: &mut CurrentTask, fd: Fd, cmd: u32) -> SyscallResult {
    let file = get_file(task, fd)?;
    done(do_flock(task, &file, cmd))
}

/// Changes status flags, and whether the owner gets signals. Linux: `setfl`.
pub(super) fn change_flags(
    task: &CurrentTask,
    fd: Fd,
    file: &Arc<File>,
    flags: OpenFlags,
) -> Result<(), Errno> {
    let was = file.flags().contains(OpenFlags::ASYNC);
    setfl(task, file, flags)?;
    let is = flags.contains(OpenFlags::ASYNC);
    if was != is {
        task.kernel().set_fasync(file, fd.0, is);
    }
    Ok(())
}

/// The part of an argument that the commands taking an `int` look at.
pub(super) fn low_half(arg: u64) -> u32 {
    u32::try_from(arg & 0xffff_ffff).unwrap_or(0)
}

/// The owner of a process's record locks: its descriptor table. Linux: `current->files`.
fn posix_owner(task: &CurrentTask) -> LockOwner {
    LockOwner::Process(TaskContext::files(task).lock_owner())
}

fn getlk(task: &CurrentTask, file: &File, owner: LockOwner, arg: Addr) -> SyscallResult {
    let flock: Flock = task.user()?.read_obj(arg.0)?;
    let mut found = fcntl_getlk(task, file, owner, &flock)?;
    if found.l_type != F_UNLCK && found.l_pid > 0 {
        found.l_pid = translate_pid(task, found.l_pid);
    }
    done(task.user()?.write_obj(arg.0, &found))
}

/// A process id of the first pid namespace, in the caller's; 0 if it is not there. Linux: `locks_translate_pid`.
fn translate_pid(task: &CurrentTask, pid: i32) -> i32 {
    let kernel = task.kernel();
    let holder = u32::try_from(pid).ok().and_then(|nr| kernel.find_task(&kernel.root_pid_ns, nr));
    let nr = holder.map_or(0, |t| t.pid().nr_in(&task.pid_ns()));
    i32::try_from(nr).unwrap_or(0)
}

fn setlk(task: &CurrentTask, fd: Fd, file: &Arc<File>, arg: Addr, wait: bool) -> SyscallResult {
    let flock: Flock = task.user()?.read_obj(arg.0)?;
    let owner = posix_owner(task);
    fcntl_setlk(task, file, owner, &flock, wait)?;
    if flock.l_type == F_UNLCK {
        return Ok(0);
    }
    // Another thread may have closed the descriptor meanwhile, and found no lock to give up.
    let still = TaskContext::files(task).get_raw(fd.0).is_some_and(|now| Arc::ptr_eq(&now, file));
    if !still {
        if let LockOwner::Process(id) = owner {
            locks_remove_posix(file, id);
        }
        return Err(EBADF.into());
    }
    Ok(0)
}

fn setlk_ofd(task: &CurrentTask, file: &File, arg: Addr, wait: bool) -> SyscallResult {
    let flock: Flock = task.user()?.read_obj(arg.0)?;
    if flock.l_pid != 0 {
        return Err(EINVAL.into());
    }
    done(fcntl_setlk(task, file, LockOwner::OpenFile, &flock, wait))
}

/// Linux: `fcntl_rw_hint`.
fn set_rw_hint(task: &CurrentTask, arg: Addr) -> SyscallResult {
    const RWH_WRITE_LIFE_EXTREME: u64 = 5;
    let hint: u64 = task.user()?.read_obj(arg.0)?;
    done(if hint > RWH_WRITE_LIFE_EXTREME { Err::<(), Errno>(EINVAL) } else { Ok(()) })
}
