//! Linux: fs/open.c, what opens and closes files, and what changes the place a task is at.

use super::user::{at, done, fd_result, getname};
use crate::arg::{Addr, Bits, BufOut, DirFd, Fd, Mode, OFlags, PathAddr};
use fs_vfs::{At, OpenHow, TaskContext, build_open_flags, do_faccessat, do_sys_open};
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_uapi::errno::{
    E2BIG, EINTR, EINVAL, EPERM, ERANGE, ERESTART_RESTARTBLOCK, ERESTARTNOHAND, ERESTARTNOINTR, ERESTARTSYS,
};
use sentry_uapi::fcntl::OpenFlags;

/// Size of the first `struct open_how`.
const OPEN_HOW_SIZE_VER0: usize = 24;
const PAGE_SIZE: usize = 4096;

/// open(2).
pub(crate) fn open(task: &mut CurrentTask, path: PathAddr, flags: OFlags, mode: Mode) -> SyscallResult {
    open_at(task, &At::Cwd, path, flags.0, mode.0)
}

/// openat(2).
pub(crate) fn openat(
    task: &mut CurrentTask,
    dfd: DirFd,
    path: PathAddr,
    flags: OFlags,
    mode: Mode,
) -> SyscallResult {
    open_at(task, &at(dfd), path, flags.0, mode.0)
}

/// creat(2).
pub(crate) fn creat(task: &mut CurrentTask, path: PathAddr, mode: Mode) -> SyscallResult {
    let flags = OpenFlags::CREAT | OpenFlags::WRONLY | OpenFlags::TRUNC;
    open_at(task, &At::Cwd, path, flags.bits(), mode.0)
}

/// openat2(2).
pub(crate) fn openat2(
    task: &mut CurrentTask,
    dfd: DirFd,
    path: PathAddr,
    how: Addr,
    size: usize,
) -> SyscallResult {
    if size < OPEN_HOW_SIZE_VER0 {
        return Err(EINVAL.into());
    }
    if size > PAGE_SIZE {
        return Err(E2BIG.into());
    }
    let mm = task.user()?;
    let rest =
        mm.read_array::<u8>(how.0.saturating_add(OPEN_HOW_SIZE_VER0 as u64), size - OPEN_HOW_SIZE_VER0)?;
    if rest.iter().any(|b| *b != 0) {
        return Err(E2BIG.into());
    }
    let [flags, mode, resolve] = mm.read_obj::<[u64; 3]>(how.0)?;
    let path_only = flags & u64::from(OpenFlags::PATH.bits()) != 0;
    let flags = if path_only { flags } else { flags | u64::from(OpenFlags::LARGEFILE.bits()) };
    let op = build_open_flags(&OpenHow { flags, mode, resolve })?;
    fd_result(do_sys_open(task, &at(dfd), &getname(task, path)?, &op)?)
}

fn open_at(task: &CurrentTask, at: &At, path: PathAddr, flags: u32, mode: u32) -> SyscallResult {
    let op = build_open_flags(&OpenHow::for_open(flags | OpenFlags::LARGEFILE.bits(), mode))?;
    fd_result(do_sys_open(task, at, &getname(task, path)?, &op)?)
}

/// close(2). A file's flush cannot be repeated, so it is never restarted.
pub(crate) fn close(task: &mut CurrentTask, fd: Fd) -> SyscallResult {
    let result = TaskContext::files(task).close(task, fd.0);
    done(result.map_err(|e| match e {
        ERESTARTSYS | ERESTARTNOINTR | ERESTARTNOHAND | ERESTART_RESTARTBLOCK => EINTR,
        e => e,
    }))
}

/// access(2).
pub(crate) fn access(task: &mut CurrentTask, path: PathAddr, mode: Mode) -> SyscallResult {
    done(do_faccessat(task, &At::Cwd, &getname(task, path)?, mode.0, 0))
}

/// faccessat(2).
pub(crate) fn faccessat(task: &mut CurrentTask, dfd: DirFd, path: PathAddr, mode: Mode) -> SyscallResult {
    done(do_faccessat(task, &at(dfd), &getname(task, path)?, mode.0, 0))
}

/// faccessat2(2).
pub(crate) fn faccessat2(
    task: &mut CurrentTask,
    dfd: DirFd,
    path: PathAddr,
    mode: Mode,
    flags: Bits,
) -> SyscallResult {
    done(do_faccessat(task, &at(dfd), &getname(task, path)?, mode.0, flags.0))
}

/// chdir(2).
pub(crate) fn chdir(task: &mut CurrentTask, path: PathAddr) -> SyscallResult {
    done(fs_vfs::chdir(task, &getname(task, path)?))
}

/// fchdir(2).
pub(crate) fn fchdir(task: &mut CurrentTask, fd: Fd) -> SyscallResult {
    done(fs_vfs::fchdir(task, fd.0))
}

/// chroot(2).
pub(crate) fn chroot(task: &mut CurrentTask, path: PathAddr) -> SyscallResult {
    done(fs_vfs::chroot(task, &getname(task, path)?))
}

/// umask(2). Linux: kernel/sys.c.
pub(crate) fn umask(task: &mut CurrentTask, mask: Mode) -> SyscallResult {
    Ok(u64::from(TaskContext::fs(task).set_umask(mask.0)))
}

/// getcwd(2): the length of the path with its terminating zero. Linux: fs/d_path.c.
pub(crate) fn getcwd(task: &mut CurrentTask, buf: BufOut, size: usize) -> SyscallResult {
    let mut path = fs_vfs::getcwd(task)?;
    path.push(0);
    if path.len() > size {
        return Err(ERANGE.into());
    }
    task.user()?.copy_to_user(buf.0, &path)?;
    Ok(path.len() as u64)
}

/// truncate(2).
pub(crate) fn truncate(task: &mut CurrentTask, path: PathAddr, length: i64) -> SyscallResult {
    if length < 0 {
        return Err(EINVAL.into());
    }
    done(fs_vfs::do_truncate(task, &getname(task, path)?, length))
}

/// ftruncate(2).
pub(crate) fn ftruncate(task: &mut CurrentTask, fd: Fd, length: i64) -> SyscallResult {
    done(fs_vfs::do_ftruncate(task, fd.0, length))
}

/// fallocate(2).
pub(crate) fn fallocate(task: &mut CurrentTask, fd: Fd, mode: Bits, offset: i64, len: i64) -> SyscallResult {
    done(fs_vfs::do_fallocate(task, fd.0, mode.0, offset, len))
}

/// vhangup(2): nothing to hang up, for whoever may.
pub(crate) fn vhangup(task: &mut CurrentTask) -> SyscallResult {
    let allowed = task.vfs().capable(&TaskContext::cred(task), sentry_auth::CapSet::SYS_TTY_CONFIG);
    if allowed { Ok(0) } else { Err(EPERM.into()) }
}
