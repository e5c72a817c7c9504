//! Linux: fs/notify/inotify/inotify_user.c.

use super::user::{done, get_file, getname, install};
use crate::arg::{Bits, Fd, PathAddr};
use fs_vfs::{do_inotify_add_watch, do_inotify_init, do_inotify_rm_watch, inotify_check_mask};
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_uapi::inotify::IN_CLOEXEC;

/// inotify_init(2).
pub(crate) fn inotify_init(task: &mut CurrentTask) -> SyscallResult {
    inotify_init1(task, Bits(0))
}

/// inotify_init1(2).
pub(crate) fn inotify_init1(task: &mut CurrentTask, flags: Bits) -> SyscallResult {
    let file = do_inotify_init(task, flags.0)?;
    install(task, file, flags.0 & IN_CLOEXEC != 0)
}

/// inotify_add_watch(2).
pub(crate) fn inotify_add_watch(task: &mut CurrentTask, fd: Fd, path: PathAddr, mask: Bits) -> SyscallResult {
    inotify_check_mask(mask.0)?;
    let file = get_file(task, fd)?;
    let wd = do_inotify_add_watch(task, &file, &getname(task, path)?, mask.0)?;
    super::user::fd_result(wd)
}

/// inotify_rm_watch(2).
pub(crate) fn inotify_rm_watch(task: &mut CurrentTask, fd: Fd, wd: i32) -> SyscallResult {
    done(do_inotify_rm_watch(&*get_file(task, fd)?, wd))
}
