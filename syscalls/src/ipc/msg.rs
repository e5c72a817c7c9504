//! Linux: ipc/msg.c.

use super::id_result;
use crate::arg::Addr;
use fs_vfs::TaskContext;
use sentry_kernel::{CurrentTask, PermUpdate, SyscallResult};
use sentry_uapi::errno::{EFAULT, EINVAL};
use sentry_uapi::ipc::{IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT};
use sentry_uapi::msg::{MSG_INFO, MSG_STAT, MSG_STAT_ANY, Msqid64Ds};

/// Bytes of a message's type, which stands before its text.
const TYPE_LEN: u64 = 8;

/// msgget(2).
pub(crate) fn msgget(task: &mut CurrentTask, key: i32, flags: i32) -> SyscallResult {
    id_result(task.msgget(key, flags)?)
}

/// msgsnd(2).
pub(crate) fn msgsnd(
    task: &mut CurrentTask,
    msqid: i32,
    msgp: Addr,
    size: usize,
    flags: i32,
) -> SyscallResult {
    let mm = task.user()?;
    let mtype: i64 = mm.read_obj(msgp.0)?;
    let max = usize::try_from(task.ipc_ns().msg.limits().max).unwrap_or(0);
    if size > max || msqid < 0 || mtype < 1 {
        return Err(EINVAL.into());
    }
    let mut text = vec![0; size];
    mm.copy_from_user(msgp.0.checked_add(TYPE_LEN).ok_or(EFAULT)?, &mut text)?;
    task.msgsnd(msqid, mtype, text, flags)?;
    Ok(0)
}

/// msgrcv(2).
pub(crate) fn msgrcv(
    task: &mut CurrentTask,
    msqid: i32,
    msgp: Addr,
    size: usize,
    mtype: i64,
    flags: i32,
) -> SyscallResult {
    if msqid < 0 || isize::try_from(size).is_err() {
        return Err(EINVAL.into());
    }
    let message = task.msgrcv(msqid, size, mtype, flags)?;
    let mm = task.user()?;
    mm.write_obj(msgp.0, &message.mtype)?;
    let text = message.text.get(..size).unwrap_or(&message.text);
    mm.copy_to_user(msgp.0.checked_add(TYPE_LEN).ok_or(EFAULT)?, text)?;
    Ok(u64::try_from(text.len()).unwrap_or(u64::MAX))
}

/// msgctl(2).
pub(crate) fn msgctl(task: &mut CurrentTask, msqid: i32, cmd: i32, buf: Addr) -> SyscallResult {
    if msqid < 0 || cmd < 0 {
        return Err(EINVAL.into());
    }
    let mm = task.user()?.clone();
    match cmd {
        IPC_INFO | MSG_INFO => {
            let (info, max_idx) = task.msgctl_info(cmd);
            mm.write_obj(buf.0, &info)?;
            Ok(max_idx)
        }
        IPC_STAT | MSG_STAT | MSG_STAT_ANY => {
            let (status, id) = task.msgctl_stat(msqid, cmd)?;
            mm.write_obj(buf.0, &status)?;
            if cmd == IPC_STAT { Ok(0) } else { id_result(id) }
        }
        IPC_SET => {
            let new: Msqid64Ds = mm.read_obj(buf.0)?;
            let user_ns = TaskContext::cred(task).user_ns.clone();
            task.msgctl_set(msqid, &PermUpdate::from_user(&new.msg_perm, &user_ns), new.msg_qbytes)?;
            Ok(0)
        }
        IPC_RMID => {
            task.msgctl_rmid(msqid)?;
            Ok(0)
        }
        _ => Err(EINVAL.into()),
    }
}
