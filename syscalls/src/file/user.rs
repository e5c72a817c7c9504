//! What most calls on files begin with: a descriptor, a path. Linux: fs/file.c, `fdget`; fs/namei.c, `getname`.

use crate::arg::{DirFd, Fd, PathAddr};
use fs_vfs::{At, File, TaskContext};
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_uapi::Errno;
use sentry_uapi::fcntl::PATH_MAX;
use std::sync::Arc;

/// First address no guest memory can have. Linux: `TASK_SIZE_MAX`.
const TASK_SIZE_MAX: u64 = (1 << 47) - 4096;

/// The file behind a descriptor. Linux: `fdget`.
///
/// # Errors
/// `EBADF`, also for a file opened with O_PATH.
pub(crate) fn get_file(task: &CurrentTask, fd: Fd) -> Result<Arc<File>, Errno> {
    TaskContext::files(task).get(fd.0)
}

/// A path from guest memory. An empty one is for the walk to judge. Linux: `getname_flags`.
///
/// # Errors
/// `EFAULT`; `ENAMETOOLONG`.
pub(crate) fn getname(task: &CurrentTask, path: PathAddr) -> Result<Vec<u8>, Errno> {
    task.user()?.read_cstring(path.0, PATH_MAX)
}

/// Where a walk with this descriptor starts.
pub(crate) fn at(dfd: DirFd) -> At {
    At::from(dfd.0)
}

/// Whether a range could be guest memory, going by its address alone. Linux: `access_ok`.
pub(crate) fn access_ok(addr: u64, len: u64) -> bool {
    addr.checked_add(len).is_some_and(|end| end <= TASK_SIZE_MAX)
}

/// A new descriptor as the result of a call.
pub(crate) fn fd_result(fd: i32) -> SyscallResult {
    Ok(u64::try_from(fd).unwrap_or(0))
}

/// The result of a call that gives nothing.
pub(crate) fn done(result: Result<(), Errno>) -> SyscallResult {
    result?;
    Ok(0)
}

/// Puts a new file behind a descriptor, as the end of a call.
pub(crate) fn install(task: &CurrentTask, file: Arc<File>, cloexec: bool) -> SyscallResult {
    fd_result(TaskContext::files(task).install(task, file, cloexec)?)
}
