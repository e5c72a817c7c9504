//! Calls of administrators, most of which find nothing to administrate here. Linux: kernel/acct.c,
//! kernel/printk/printk.c, fs/quota/quota.c, kernel/kcmp.c.

use crate::arg::{Addr, Bits, Fd, PathAddr};
use crate::file::{access_ok, get_file, getname};
use fs_vfs::{At, FileType, LookupFlags, TaskContext, user_path_at};
use sentry_auth::CapSet;
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_uapi::errno::{EFAULT, EINVAL, ENODEV, ENOSYS, ENOTBLK, EPERM, ERESTARTSYS};

/// acct(2): as a kernel that is built without, but for whom it would refuse anyway.
pub(crate) fn acct(task: &mut CurrentTask, _name: PathAddr) -> SyscallResult {
    let cred = TaskContext::cred(task);
    Err(if task.vfs().capable(&cred, CapSet::SYS_PACCT) { ENOSYS } else { EPERM }.into())
}

/// syslog(2). The log is empty and stays so.
pub(crate) fn syslog(task: &mut CurrentTask, kind: i32, buf: Addr, len: i32) -> SyscallResult {
    /// Linux: `CONFIG_LOG_BUF_SHIFT`.
    const LOG_BUF_LEN: u64 = 1 << 17;
    let cred = TaskContext::cred(task);
    // As with dmesg_restrict.
    if !task.vfs().capable(&cred, CapSet::SYSLOG) && !task.vfs().capable(&cred, CapSet::SYS_ADMIN) {
        return Err(EPERM.into());
    }
    match kind {
        2..=4 => {
            let len = u64::try_from(len).map_err(|_| EINVAL)?;
            if buf.0 == 0 {
                return Err(EINVAL.into());
            }
            if len == 0 {
                return Ok(0);
            }
            if !access_ok(buf.0, len) {
                return Err(EFAULT.into());
            }
            if kind != 2 {
                return Ok(0);
            }
            // Waits for a message.
            while task.sleep(None).is_ok() {}
            Err(ERESTARTSYS.into())
        }
        8 if !(1..=8).contains(&len) => Err(EINVAL.into()),
        0 | 1 | 5..=9 => Ok(0),
        10 => Ok(LOG_BUF_LEN),
        _ => Err(EINVAL.into()),
    }
}

/// Kinds of quotas.
const MAXQUOTAS: u32 = 3;

/// quotactl(2). There are no block devices with quotas.
pub(crate) fn quotactl(
    task: &mut CurrentTask,
    cmd: Bits,
    special: PathAddr,
    _id: i32,
    _addr: Addr,
) -> SyscallResult {
    const Q_SYNC: u32 = 0x80_0001;
    if cmd.0 & 0xff >= MAXQUOTAS {
        return Err(EINVAL.into());
    }
    if special.0 == 0 {
        return if cmd.0 >> 8 == Q_SYNC { Ok(0) } else { Err(ENODEV.into()) };
    }
    let name = getname(task, special)?;
    let path = user_path_at(task, &At::Cwd, &name, LookupFlags::FOLLOW)?;
    let block = path.inode().is_some_and(|i| i.file_type() == FileType::BlockDevice);
    Err(if block { ENODEV } else { ENOTBLK }.into())
}

/// quotactl_fd(2). No filesystem has quotas.
pub(crate) fn quotactl_fd(task: &mut CurrentTask, fd: Fd, cmd: Bits, _id: i32, _addr: Addr) -> SyscallResult {
    get_file(task, fd)?;
    Err(if cmd.0 & 0xff >= MAXQUOTAS { EINVAL } else { ENOSYS }.into())
}

/// kcmp(2).
pub(crate) fn kcmp(
    task: &mut CurrentTask,
    pid1: i32,
    pid2: i32,
    kind: i32,
    idx1: u64,
    idx2: u64,
) -> SyscallResult {
    Ok(task.kcmp([pid1, pid2], kind, [idx1, idx2])?)
}
