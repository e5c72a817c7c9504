//! Linux: kernel/fork.c, `unshare`; kernel/nsproxy.c, `setns`.

use crate::arg::{CFlags, Fd};
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_uapi::sched::CloneFlags;

/// unshare(2).
pub(crate) fn unshare(task: &mut CurrentTask, flags: CFlags) -> SyscallResult {
    task.unshare(CloneFlags::from_bits_retain(flags.0))?;
    Ok(0)
}

/// setns(2).
pub(crate) fn setns(task: &mut CurrentTask, fd: Fd, nstype: CFlags) -> SyscallResult {
    let file = task.task().files()?.get(fd.0)?;
    // An int, in the lower half of the register.
    task.setns(&file, CloneFlags::from_bits_retain(nstype.0 & u64::from(u32::MAX)))?;
    Ok(0)
}
