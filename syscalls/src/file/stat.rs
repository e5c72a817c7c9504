//! Linux: fs/stat.c.

use super::user::{at, done, getname};
use crate::arg::{Addr, Bits, BufOut, DirFd, Fd, PathAddr};
use fs_vfs::{At, Kstat, TaskContext, do_readlinkat, vfs_fstat, vfs_statx};
use sentry_auth::UserNamespace;
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_uapi::errno::EINVAL;
use sentry_uapi::fcntl::{AT_STATX_SYNC_TYPE, AT_SYMLINK_NOFOLLOW};
use sentry_uapi::stat::{
    STATX_ATTR_MOUNT_ROOT, STATX_BASIC_STATS, STATX_BTIME, STATX_MNT_ID, STATX_RESERVED, Stat, Statx,
    StatxTimestamp, major, minor,
};
use sentry_uapi::time::Timespec;

/// stat(2).
pub(crate) fn stat(task: &mut CurrentTask, path: PathAddr, statbuf: Addr) -> SyscallResult {
    let kstat = vfs_statx(task, &At::Cwd, &getname(task, path)?, 0)?;
    cp_new_stat(task, &kstat, statbuf)
}

/// lstat(2).
pub(crate) fn lstat(task: &mut CurrentTask, path: PathAddr, statbuf: Addr) -> SyscallResult {
    let kstat = vfs_statx(task, &At::Cwd, &getname(task, path)?, AT_SYMLINK_NOFOLLOW)?;
    cp_new_stat(task, &kstat, statbuf)
}

/// fstat(2).
pub(crate) fn fstat(task: &mut CurrentTask, fd: Fd, statbuf: Addr) -> SyscallResult {
    let kstat = vfs_fstat(task, fd.0)?;
    cp_new_stat(task, &kstat, statbuf)
}

/// newfstatat(2).
pub(crate) fn newfstatat(
    task: &mut CurrentTask,
    dfd: DirFd,
    path: PathAddr,
    statbuf: Addr,
    flags: Bits,
) -> SyscallResult {
    let kstat = vfs_statx(task, &at(dfd), &getname(task, path)?, flags.0)?;
    cp_new_stat(task, &kstat, statbuf)
}

/// statx(2).
pub(crate) fn statx(
    task: &mut CurrentTask,
    dfd: DirFd,
    path: PathAddr,
    flags: Bits,
    mask: Bits,
    statxbuf: Addr,
) -> SyscallResult {
    if mask.0 & STATX_RESERVED != 0 || flags.0 & AT_STATX_SYNC_TYPE == AT_STATX_SYNC_TYPE {
        return Err(EINVAL.into());
    }
    let kstat = vfs_statx(task, &at(dfd), &getname(task, path)?, flags.0)?;
    let statx = to_statx(&kstat, &TaskContext::cred(task).user_ns);
    done(task.user()?.write_obj(statxbuf.0, &statx))
}

/// readlink(2).
pub(crate) fn readlink(task: &mut CurrentTask, path: PathAddr, buf: BufOut, size: i32) -> SyscallResult {
    readlink_at(task, &At::Cwd, path, buf, size)
}

/// readlinkat(2).
pub(crate) fn readlinkat(
    task: &mut CurrentTask,
    dfd: DirFd,
    path: PathAddr,
    buf: BufOut,
    size: i32,
) -> SyscallResult {
    readlink_at(task, &at(dfd), path, buf, size)
}

fn readlink_at(task: &CurrentTask, at: &At, path: PathAddr, buf: BufOut, size: i32) -> SyscallResult {
    let size = usize::try_from(size).ok().filter(|n| *n > 0).ok_or(EINVAL)?;
    let mut text = do_readlinkat(task, at, &getname(task, path)?)?;
    text.truncate(size);
    task.user()?.copy_to_user(buf.0, &text)?;
    Ok(text.len() as u64)
}

fn cp_new_stat(task: &CurrentTask, k: &Kstat, addr: Addr) -> SyscallResult {
    let stat = to_stat(k, &TaskContext::cred(task).user_ns);
    done(task.user()?.write_obj(addr.0, &stat))
}

/// A size or a count as the signed field of a structure holds it.
fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Linux: `cp_new_stat`.
fn to_stat(k: &Kstat, ns: &UserNamespace) -> Stat {
    let a = &k.attr;
    Stat {
        st_dev: k.dev,
        st_ino: a.ino,
        st_nlink: u64::from(a.nlink),
        st_mode: k.mode(),
        st_uid: ns.from_kuid_munged(a.uid),
        st_gid: ns.from_kgid_munged(a.gid),
        st_rdev: a.rdev,
        st_size: signed(a.size),
        st_blksize: i64::from(a.blksize),
        st_blocks: signed(a.blocks),
        st_atime: a.atime.tv_sec,
        st_atime_nsec: a.atime.tv_nsec,
        st_mtime: a.mtime.tv_sec,
        st_mtime_nsec: a.mtime.tv_nsec,
        st_ctime: a.ctime.tv_sec,
        st_ctime_nsec: a.ctime.tv_nsec,
        ..Stat::default()
    }
}

fn timestamp(t: Timespec) -> StatxTimestamp {
    StatxTimestamp { tv_sec: t.tv_sec, tv_nsec: u32::try_from(t.tv_nsec).unwrap_or(0), reserved: 0 }
}

/// Linux: `cp_statx`.
fn to_statx(k: &Kstat, ns: &UserNamespace) -> Statx {
    let a = &k.attr;
    Statx {
        stx_mask: STATX_BASIC_STATS | STATX_MNT_ID | if a.btime.is_some() { STATX_BTIME } else { 0 },
        stx_blksize: a.blksize,
        stx_attributes: if k.mount_root { STATX_ATTR_MOUNT_ROOT } else { 0 },
        stx_nlink: a.nlink,
        stx_uid: ns.from_kuid_munged(a.uid),
        stx_gid: ns.from_kgid_munged(a.gid),
        stx_mode: u16::try_from(k.mode() & 0xffff).unwrap_or(0),
        stx_ino: a.ino,
        stx_size: a.size,
        stx_blocks: a.blocks,
        stx_attributes_mask: STATX_ATTR_MOUNT_ROOT,
        stx_atime: timestamp(a.atime),
        stx_btime: timestamp(a.btime.unwrap_or_default()),
        stx_ctime: timestamp(a.ctime),
        stx_mtime: timestamp(a.mtime),
        stx_rdev_major: major(a.rdev),
        stx_rdev_minor: minor(a.rdev),
        stx_dev_major: major(k.dev),
        stx_dev_minor: minor(k.dev),
        stx_mnt_id: k.mnt_id,
        ..Statx::default()
    }
}
