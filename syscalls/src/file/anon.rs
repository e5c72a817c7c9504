//! Descriptors for other things than files. Linux: fs/eventfd.c, fs/timerfd.c, fs/signalfd.c.

use super::user::{done, fd_result, get_file, install};
use crate::arg::{Addr, Bits, Fd, SigSetAddr};
use fs_vfs::{
    do_eventfd, do_signalfd, do_timerfd_create, do_timerfd_gettime, do_timerfd_settime, signalfd_set_mask,
};
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_uapi::errno::EINVAL;
use sentry_uapi::eventfd::EFD_CLOEXEC;
use sentry_uapi::signal::SigSet;
use sentry_uapi::signalfd::SFD_CLOEXEC;
use sentry_uapi::time::Itimerspec;
use sentry_uapi::timerfd::TFD_CLOEXEC;

/// eventfd(2).
pub(crate) fn eventfd(task: &mut CurrentTask, count: u32) -> SyscallResult {
    eventfd2(task, count, Bits(0))
}

/// eventfd2(2).
pub(crate) fn eventfd2(task: &mut CurrentTask, count: u32, flags: Bits) -> SyscallResult {
    let file = do_eventfd(task, count, flags.0)?;
    install(task, file, flags.0 & EFD_CLOEXEC != 0)
}

/// timerfd_create(2).
pub(crate) fn timerfd_create(task: &mut CurrentTask, clock: i32, flags: Bits) -> SyscallResult {
    let file = do_timerfd_create(task, clock, flags.0)?;
    install(task, file, flags.0 & TFD_CLOEXEC != 0)
}

/// timerfd_settime(2).
pub(crate) fn timerfd_settime(
    task: &mut CurrentTask,
    fd: Fd,
    flags: Bits,
    new: Addr,
    old: Addr,
) -> SyscallResult {
    let setting: Itimerspec = task.user()?.read_obj(new.0)?;
    let before = do_timerfd_settime(task, &*get_file(task, fd)?, flags.0, &setting)?;
    if old.0 != 0 {
        task.user()?.write_obj(old.0, &before)?;
    }
    Ok(0)
}

/// timerfd_gettime(2).
pub(crate) fn timerfd_gettime(task: &mut CurrentTask, fd: Fd, setting: Addr) -> SyscallResult {
    let now = do_timerfd_gettime(&*get_file(task, fd)?)?;
    done(task.user()?.write_obj(setting.0, &now))
}

/// signalfd(2).
pub(crate) fn signalfd(task: &mut CurrentTask, fd: Fd, mask: SigSetAddr, size: usize) -> SyscallResult {
    signalfd4(task, fd, mask, size, Bits(0))
}

/// signalfd4(2).
pub(crate) fn signalfd4(
    task: &mut CurrentTask,
    fd: Fd,
    mask: SigSetAddr,
    size: usize,
    flags: Bits,
) -> SyscallResult {
    if size != size_of::<u64>() {
        return Err(EINVAL.into());
    }
    let set = SigSet(task.user()?.read_obj(mask.0)?);
    if fd.0 == -1 {
        let file = do_signalfd(task, set, flags.0)?;
        return install(task, file, flags.0 & SFD_CLOEXEC != 0);
    }
    signalfd_set_mask(task, &*get_file(task, fd)?, set, flags.0)?;
    fd_result(fd.0)
}
