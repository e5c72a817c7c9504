//! Linux: fs/namei.c, the calls that make, move and remove names.

use super::user::{at, done, getname};
use crate::arg::{Bits, DirFd, Mode, PathAddr};
use fs_vfs::{At, do_linkat, do_mkdirat, do_mknodat, do_renameat2, do_symlinkat, do_unlinkat};
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_uapi::fcntl::AT_REMOVEDIR;

/// mkdir(2).
pub(crate) fn mkdir(task: &mut CurrentTask, path: PathAddr, mode: Mode) -> SyscallResult {
    done(do_mkdirat(task, &At::Cwd, &getname(task, path)?, mode.0))
}

/// mkdirat(2).
pub(crate) fn mkdirat(task: &mut CurrentTask, dfd: DirFd, path: PathAddr, mode: Mode) -> SyscallResult {
    done(do_mkdirat(task, &at(dfd), &getname(task, path)?, mode.0))
}

/// mknod(2).
pub(crate) fn mknod(task: &mut CurrentTask, path: PathAddr, mode: Mode, dev: u32) -> SyscallResult {
    done(do_mknodat(task, &At::Cwd, &getname(task, path)?, mode.0 & 0xffff, u64::from(dev)))
}

/// mknodat(2).
pub(crate) fn mknodat(
    task: &mut CurrentTask,
    dfd: DirFd,
    path: PathAddr,
    mode: Mode,
    dev: u32,
) -> SyscallResult {
    done(do_mknodat(task, &at(dfd), &getname(task, path)?, mode.0 & 0xffff, u64::from(dev)))
}

/// rmdir(2).
pub(crate) fn rmdir(task: &mut CurrentTask, path: PathAddr) -> SyscallResult {
    done(do_unlinkat(task, &At::Cwd, &getname(task, path)?, AT_REMOVEDIR))
}

/// unlink(2).
pub(crate) fn unlink(task: &mut CurrentTask, path: PathAddr) -> SyscallResult {
    done(do_unlinkat(task, &At::Cwd, &getname(task, path)?, 0))
}

/// unlinkat(2).
pub(crate) fn unlinkat(task: &mut CurrentTask, dfd: DirFd, path: PathAddr, flags: Bits) -> SyscallResult {
    done(do_unlinkat(task, &at(dfd), &getname(task, path)?, flags.0))
}

/// rename(2).
pub(crate) fn rename(task: &mut CurrentTask, old: PathAddr, new: PathAddr) -> SyscallResult {
    rename_at(task, (&At::Cwd, old), (&At::Cwd, new), 0)
}

/// renameat(2).
pub(crate) fn renameat(
    task: &mut CurrentTask,
    old_dfd: DirFd,
    old: PathAddr,
    new_dfd: DirFd,
    new: PathAddr,
) -> SyscallResult {
    rename_at(task, (&at(old_dfd), old), (&at(new_dfd), new), 0)
}

/// renameat2(2).
pub(crate) fn renameat2(
    task: &mut CurrentTask,
    old_dfd: DirFd,
    old: PathAddr,
    new_dfd: DirFd,
    new: PathAddr,
    flags: Bits,
) -> SyscallResult {
    rename_at(task, (&at(old_dfd), old), (&at(new_dfd), new), flags.0)
}

fn rename_at(task: &CurrentTask, old: (&At, PathAddr), new: (&At, PathAddr), flags: u32) -> SyscallResult {
    let old_name = getname(task, old.1)?;
    let new_name = getname(task, new.1)?;
    done(do_renameat2(task, old.0, &old_name, new.0, &new_name, flags))
}

/// link(2).
pub(crate) fn link(task: &mut CurrentTask, old: PathAddr, new: PathAddr) -> SyscallResult {
    link_at(task, (&At::Cwd, old), (&At::Cwd, new), 0)
}

/// linkat(2).
pub(crate) fn linkat(
    task: &mut CurrentTask,
    old_dfd: DirFd,
    old: PathAddr,
    new_dfd: DirFd,
    new: PathAddr,
    flags: Bits,
) -> SyscallResult {
    link_at(task, (&at(old_dfd), old), (&at(new_dfd), new), flags.0)
}

fn link_at(task: &CurrentTask, old: (&At, PathAddr), new: (&At, PathAddr), flags: u32) -> SyscallResult {
    let old_name = getname(task, old.1)?;
    let new_name = getname(task, new.1)?;
    done(do_linkat(task, old.0, &old_name, new.0, &new_name, flags))
}

/// symlink(2).
pub(crate) fn symlink(task: &mut CurrentTask, target: PathAddr, path: PathAddr) -> SyscallResult {
    let target = getname(task, target)?;
    done(do_symlinkat(task, &target, &At::Cwd, &getname(task, path)?))
}

/// symlinkat(2).
pub(crate) fn symlinkat(
    task: &mut CurrentTask,
    target: PathAddr,
    dfd: DirFd,
    path: PathAddr,
) -> SyscallResult {
    let target = getname(task, target)?;
    done(do_symlinkat(task, &target, &at(dfd), &getname(task, path)?))
}
