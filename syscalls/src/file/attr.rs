//! Linux: fs/open.c (chmod(2), chown(2)) and fs/utimes.c.

use super::user::{at, done, getname};
use crate::arg::{Addr, Bits, DirFd, Fd, Mode, PathAddr};
use fs_vfs::{At, UTIME_OMIT, do_fchmod, do_fchmodat, do_fchown, do_fchownat, do_utimes_fd, do_utimes_path};
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_uapi::Errno;
use sentry_uapi::errno::EINVAL;
use sentry_uapi::fcntl::{AT_FDCWD, AT_SYMLINK_NOFOLLOW};
use sentry_uapi::time::{Timespec, Timeval};

/// chmod(2).
pub(crate) fn chmod(task: &mut CurrentTask, path: PathAddr, mode: Mode) -> SyscallResult {
    done(do_fchmodat(task, &At::Cwd, &getname(task, path)?, mode.0, 0))
}

/// fchmod(2).
pub(crate) fn fchmod(task: &mut CurrentTask, fd: Fd, mode: Mode) -> SyscallResult {
    done(do_fchmod(task, fd.0, mode.0))
}

/// fchmodat(2).
pub(crate) fn fchmodat(task: &mut CurrentTask, dfd: DirFd, path: PathAddr, mode: Mode) -> SyscallResult {
    done(do_fchmodat(task, &at(dfd), &getname(task, path)?, mode.0, 0))
}

/// fchmodat2(2).
pub(crate) fn fchmodat2(
    task: &mut CurrentTask,
    dfd: DirFd,
    path: PathAddr,
    mode: Mode,
    flags: Bits,
) -> SyscallResult {
    done(do_fchmodat(task, &at(dfd), &getname(task, path)?, mode.0, flags.0))
}

/// chown(2).
pub(crate) fn chown(task: &mut CurrentTask, path: PathAddr, uid: u32, gid: u32) -> SyscallResult {
    done(do_fchownat(task, &At::Cwd, &getname(task, path)?, uid, gid, 0))
}

/// lchown(2).
pub(crate) fn lchown(task: &mut CurrentTask, path: PathAddr, uid: u32, gid: u32) -> SyscallResult {
    done(do_fchownat(task, &At::Cwd, &getname(task, path)?, uid, gid, AT_SYMLINK_NOFOLLOW))
}

/// fchown(2).
pub(crate) fn fchown(task: &mut CurrentTask, fd: Fd, uid: u32, gid: u32) -> SyscallResult {
    done(do_fchown(task, fd.0, uid, gid))
}

/// fchownat(2).
pub(crate) fn fchownat(
    task: &mut CurrentTask,
    dfd: DirFd,
    path: PathAddr,
    uid: u32,
    gid: u32,
    flags: Bits,
) -> SyscallResult {
    done(do_fchownat(task, &at(dfd), &getname(task, path)?, uid, gid, flags.0))
}

/// utime(2): whole seconds.
pub(crate) fn utime(task: &mut CurrentTask, path: PathAddr, times: Addr) -> SyscallResult {
    let times = if times.0 == 0 {
        None
    } else {
        let seconds = task.user()?.read_obj::<[i64; 2]>(times.0)?;
        Some(seconds.map(|tv_sec| Timespec { tv_sec, tv_nsec: 0 }))
    };
    do_utimes(task, DirFd(AT_FDCWD), path, times, 0)
}

/// utimes(2).
pub(crate) fn utimes(task: &mut CurrentTask, path: PathAddr, times: Addr) -> SyscallResult {
    let times = read_timevals(task, times)?;
    do_utimes(task, DirFd(AT_FDCWD), path, times, 0)
}

/// futimesat(2).
pub(crate) fn futimesat(task: &mut CurrentTask, dfd: DirFd, path: PathAddr, times: Addr) -> SyscallResult {
    let times = read_timevals(task, times)?;
    do_utimes(task, dfd, path, times, 0)
}

/// utimensat(2). With nothing to change, not even the path is looked at.
pub(crate) fn utimensat(
    task: &mut CurrentTask,
    dfd: DirFd,
    path: PathAddr,
    times: Addr,
    flags: Bits,
) -> SyscallResult {
    let times = if times.0 == 0 { None } else { Some(task.user()?.read_obj::<[Timespec; 2]>(times.0)?) };
    if times.is_some_and(|t| t.iter().all(|t| t.tv_nsec == UTIME_OMIT)) {
        return Ok(0);
    }
    do_utimes(task, dfd, path, times, flags.0)
}

/// Without a path, the descriptor itself is meant. Linux: `do_utimes`.
fn do_utimes(
    task: &CurrentTask,
    dfd: DirFd,
    path: PathAddr,
    times: Option<[Timespec; 2]>,
    flags: u32,
) -> SyscallResult {
    if path.0 == 0 && dfd.0 != AT_FDCWD {
        if flags != 0 {
            return Err(EINVAL.into());
        }
        return done(do_utimes_fd(task, dfd.0, times));
    }
    done(do_utimes_path(task, &at(dfd), &getname(task, path)?, times, flags))
}

fn read_timevals(task: &CurrentTask, addr: Addr) -> Result<Option<[Timespec; 2]>, Errno> {
    if addr.0 == 0 {
        return Ok(None);
    }
    let times = task.user()?.read_obj::<[Timeval; 2]>(addr.0)?;
    if !times.iter().all(|t| (0..1_000_000).contains(&t.tv_usec)) {
        return Err(EINVAL);
    }
    Ok(Some(times.map(|t| Timespec { tv_sec: t.tv_sec, tv_nsec: t.tv_usec * 1000 })))
}
