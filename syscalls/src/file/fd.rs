//! Linux: fs/file.c, fs/pipe.c: descriptors.

use super::user::{done, fd_result};
use crate::arg::{Addr, Bits, Fd, OFlags};
use fs_vfs::{TaskContext, do_pipe2};
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_uapi::errno::EINVAL;
use sentry_uapi::fcntl::OpenFlags;

/// dup(2).
pub(crate) fn dup(task: &mut CurrentTask, fd: Fd) -> SyscallResult {
    fd_result(TaskContext::files(task).dup(task, fd.0)?)
}

/// dup2(2).
pub(crate) fn dup2(task: &mut CurrentTask, old: Fd, new: Fd) -> SyscallResult {
    fd_result(TaskContext::files(task).dup2(task, old.0, new.0)?)
}

/// dup3(2).
pub(crate) fn dup3(task: &mut CurrentTask, old: Fd, new: Fd, flags: OFlags) -> SyscallResult {
    if flags.0 & !OpenFlags::CLOEXEC.bits() != 0 {
        return Err(EINVAL.into());
    }
    fd_result(TaskContext::files(task).dup3(task, old.0, new.0, flags.0 != 0)?)
}

/// close_range(2).
pub(crate) fn close_range(task: &mut CurrentTask, first: u32, last: u32, flags: Bits) -> SyscallResult {
    const UNSHARE: u32 = 2;
    const CLOEXEC: u32 = 4;
    if flags.0 & !(UNSHARE | CLOEXEC) != 0 || first > last {
        return Err(EINVAL.into());
    }
    if flags.0 & UNSHARE != 0 {
        task.unshare_files();
    }
    done(TaskContext::files(task).close_range(task, first, last, flags.0 & CLOEXEC != 0))
}

/// pipe(2).
pub(crate) fn pipe(task: &mut CurrentTask, fds: Addr) -> SyscallResult {
    pipe2(task, fds, OFlags(0))
}

/// pipe2(2): nobody can use the descriptors before the caller knows their numbers.
pub(crate) fn pipe2(task: &mut CurrentTask, fds: Addr, flags: OFlags) -> SyscallResult {
    let flags = OpenFlags::from_bits_retain(flags.0);
    let (reader, writer) = do_pipe2(task, flags)?;
    install_two(task, reader, writer, flags.contains(OpenFlags::CLOEXEC), fds)
}

/// Gives two files descriptors, and writes those to guest memory before they can be used.
pub(crate) fn install_two(
    task: &CurrentTask,
    first: std::sync::Arc<fs_vfs::File>,
    second: std::sync::Arc<fs_vfs::File>,
    cloexec: bool,
    fds: Addr,
) -> SyscallResult {
    let files = TaskContext::files(task);
    let a = files.get_unused_fd(task, cloexec)?;
    let b = files.get_unused_fd(task, cloexec).inspect_err(|_| files.put_unused_fd(a))?;
    let told = task.user().and_then(|mm| mm.write_obj(fds.0, &[a, b]));
    if let Err(e) = told {
        files.put_unused_fd(a);
        files.put_unused_fd(b);
        return Err(e.into());
    }
    files.fd_install(a, first);
    files.fd_install(b, second);
    Ok(0)
}
