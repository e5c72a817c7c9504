//! Linux: ipc/shm.c.

use super::id_result;
use crate::arg::Addr;
use fs_vfs::TaskContext;
use sentry_kernel::{CurrentTask, PermUpdate, SyscallResult};
use sentry_uapi::errno::EINVAL;
use sentry_uapi::ipc::{IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT};
use sentry_uapi::shm::{SHM_INFO, SHM_LOCK, SHM_STAT, SHM_STAT_ANY, SHM_UNLOCK, Shmid64Ds};

/// shmget(2).
pub(crate) fn shmget(task: &mut CurrentTask, key: i32, size: u64, flags: i32) -> SyscallResult {
    id_result(task.shmget(key, size, flags)?)
}

/// shmat(2).
pub(crate) fn shmat(task: &mut CurrentTask, shmid: i32, addr: Addr, flags: i32) -> SyscallResult {
    Ok(task.shmat(shmid, addr.0, flags)?)
}

/// shmdt(2).
pub(crate) fn shmdt(task: &mut CurrentTask, addr: Addr) -> SyscallResult {
    task.shmdt(addr.0)?;
    Ok(0)
}

/// shmctl(2).
pub(crate) fn shmctl(task: &mut CurrentTask, shmid: i32, cmd: i32, buf: Addr) -> SyscallResult {
    if cmd < 0 || shmid < 0 {
        return Err(EINVAL.into());
    }
    let mm = task.user()?.clone();
    match cmd {
        IPC_INFO => {
            let (info, max_idx) = task.shmctl_ipc_info();
            mm.write_obj(buf.0, &info)?;
            Ok(max_idx)
        }
        SHM_INFO => {
            let (info, max_idx) = task.shmctl_shm_info();
            mm.write_obj(buf.0, &info)?;
            Ok(max_idx)
        }
        IPC_STAT | SHM_STAT | SHM_STAT_ANY => {
            let (status, id) = task.shmctl_stat(shmid, cmd)?;
            mm.write_obj(buf.0, &status)?;
            if cmd == IPC_STAT { Ok(0) } else { id_result(id) }
        }
        IPC_SET => {
            let new: Shmid64Ds = mm.read_obj(buf.0)?;
            let user_ns = TaskContext::cred(task).user_ns.clone();
            task.shmctl_set(shmid, &PermUpdate::from_user(&new.shm_perm, &user_ns))?;
            Ok(0)
        }
        IPC_RMID => {
            task.shmctl_rmid(shmid)?;
            Ok(0)
        }
        SHM_LOCK | SHM_UNLOCK => {
            task.shmctl_lock(shmid, cmd == SHM_LOCK)?;
            Ok(0)
        }
        _ => Err(EINVAL.into()),
    }
}
