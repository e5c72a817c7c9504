//! Linux: ipc/sem.c.

use super::id_result;
use crate::arg::{Addr, TimespecAddr};
use crate::time::clock::deadline_after;
use fs_vfs::TaskContext;
use sentry_kernel::{CurrentTask, PermUpdate, SyscallResult};
use sentry_uapi::errno::{E2BIG, EINVAL};
use sentry_uapi::ipc::{IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT};
use sentry_uapi::sem::{
    GETALL, GETNCNT, GETPID, GETVAL, GETZCNT, SEM_INFO, SEM_STAT, SEM_STAT_ANY, SETALL, SETVAL, Sembuf,
    Semid64Ds,
};
use sentry_uapi::time::Timespec;
use std::time::Instant;

/// semget(2).
pub(crate) fn semget(task: &mut CurrentTask, key: i32, nsems: i32, flags: i32) -> SyscallResult {
    id_result(task.semget(key, nsems, flags)?)
}

/// semop(2).
pub(crate) fn semop(task: &mut CurrentTask, semid: i32, sops: Addr, nsops: u32) -> SyscallResult {
    do_semtimedop(task, semid, sops, nsops, None)
}

/// semtimedop(2).
pub(crate) fn semtimedop(
    task: &mut CurrentTask,
    semid: i32,
    sops: Addr,
    nsops: u32,
    timeout: TimespecAddr,
) -> SyscallResult {
    let timeout: Option<Timespec> =
        if timeout.0 == 0 { None } else { Some(task.user()?.read_obj(timeout.0)?) };
    do_semtimedop(task, semid, sops, nsops, timeout)
}

fn do_semtimedop(
    task: &CurrentTask,
    semid: i32,
    sops: Addr,
    nsops: u32,
    timeout: Option<Timespec>,
) -> SyscallResult {
    let most = u32::try_from(task.ipc_ns().sem.limits().opm).unwrap_or(u32::MAX);
    if nsops > most {
        return Err(E2BIG.into());
    }
    if nsops < 1 {
        return Err(EINVAL.into());
    }
    let count = usize::try_from(nsops).map_err(|_| E2BIG)?;
    let sops: Vec<Sembuf> = task.user()?.read_array(sops.0, count)?;
    if semid < 0 {
        return Err(EINVAL.into());
    }
    let deadline: Option<Instant> = match timeout {
        Some(ts) if !ts.is_valid() => return Err(EINVAL.into()),
        timeout => timeout.map(deadline_after),
    };
    task.semtimedop(semid, sops, deadline)?;
    Ok(0)
}

/// semctl(2).
pub(crate) fn semctl(task: &mut CurrentTask, semid: i32, semnum: i32, cmd: i32, arg: u64) -> SyscallResult {
    if semid < 0 {
        return Err(EINVAL.into());
    }
    let mm = task.user()?.clone();
    match cmd {
        IPC_INFO | SEM_INFO => {
            let (info, max_idx) = task.semctl_info(cmd);
            mm.write_obj(arg, &info)?;
            Ok(max_idx)
        }
        IPC_STAT | SEM_STAT | SEM_STAT_ANY => {
            let (status, id) = task.semctl_stat(semid, cmd)?;
            mm.write_obj(arg, &status)?;
            if cmd == IPC_STAT { Ok(0) } else { id_result(id) }
        }
        GETALL => {
            mm.write_obj(arg, task.semctl_getall(semid)?.as_slice())?;
            Ok(0)
        }
        SETALL => {
            let count = task.semctl_nsems(semid, true)?;
            let values: Vec<u16> = mm.read_array(arg, count)?;
            task.semctl_setall(semid, &values)?;
            Ok(0)
        }
        GETVAL | GETPID | GETNCNT | GETZCNT => Ok(task.semctl_get(semid, semnum, cmd)?),
        SETVAL => {
            // An `int`: the upper half of the register is not looked at.
            let value = u32::try_from(arg & 0xffff_ffff).unwrap_or(0).cast_signed();
            task.semctl_setval(semid, semnum, value)?;
            Ok(0)
        }
        IPC_SET => {
            let new: Semid64Ds = mm.read_obj(arg)?;
            let user_ns = TaskContext::cred(task).user_ns.clone();
            task.semctl_set(semid, &PermUpdate::from_user(&new.sem_perm, &user_ns))?;
            Ok(0)
        }
        IPC_RMID => {
            task.semctl_rmid(semid)?;
            Ok(0)
        }
        _ => Err(EINVAL.into()),
    }
}
