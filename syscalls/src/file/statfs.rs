//! Linux: fs/statfs.c.

use super::user::{done, getname};
use crate::arg::{Addr, Fd, PathAddr};
use fs_vfs::{MountFlags, Path, StatFs, TaskContext, user_statfs};
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_uapi::errno::EBADF;
use sentry_uapi::fcntl::NAME_MAX;
use sentry_uapi::statfs::{
    ST_NOATIME, ST_NODEV, ST_NODIRATIME, ST_NOEXEC, ST_NOSUID, ST_NOSYMFOLLOW, ST_RDONLY, ST_RELATIME,
    ST_VALID, Statfs,
};

/// statfs(2).
pub(crate) fn statfs(task: &mut CurrentTask, path: PathAddr, buf: Addr) -> SyscallResult {
    let (st, path) = user_statfs(task, &getname(task, path)?)?;
    done(task.user()?.write_obj(buf.0, &to_statfs(&st, &path)))
}

/// fstatfs(2).
pub(crate) fn fstatfs(task: &mut CurrentTask, fd: Fd, buf: Addr) -> SyscallResult {
    let file = TaskContext::files(task).get_raw(fd.0).ok_or(EBADF)?;
    let st = file.path().dentry.sb().ops.statfs();
    done(task.user()?.write_obj(buf.0, &to_statfs(&st, file.path())))
}

/// Linux: `calculate_f_flags`.
fn f_flags(path: &Path) -> u64 {
    const NAMES: [(MountFlags, u64); 8] = [
        (MountFlags::READONLY, ST_RDONLY),
        (MountFlags::NOSUID, ST_NOSUID),
        (MountFlags::NODEV, ST_NODEV),
        (MountFlags::NOEXEC, ST_NOEXEC),
        (MountFlags::NOATIME, ST_NOATIME),
        (MountFlags::NODIRATIME, ST_NODIRATIME),
        (MountFlags::RELATIME, ST_RELATIME),
        (MountFlags::NOSYMFOLLOW, ST_NOSYMFOLLOW),
    ];
    let flags = path.mnt.flags();
    let of_mount = NAMES.iter().filter(|(f, _)| flags.contains(*f)).fold(ST_VALID, |all, (_, st)| all | st);
    if path.mnt.sb.is_read_only() { of_mount | ST_RDONLY } else { of_mount }
}

fn to_statfs(st: &StatFs, path: &Path) -> Statfs {
    let dev = path.mnt.sb.dev;
    let half = |n: u64| u32::try_from(n & 0xffff_ffff).unwrap_or(0).cast_signed();
    Statfs {
        f_type: st.magic,
        f_bsize: st.block_size,
        f_blocks: st.blocks,
        f_bfree: st.blocks_free,
        f_bavail: st.blocks_free,
        f_files: st.files,
        f_ffree: st.files_free,
        f_fsid: [half(dev), half(dev >> 32)],
        f_namelen: NAME_MAX as u64,
        f_frsize: st.block_size,
        f_flags: f_flags(path),
        f_spare: [0; 4],
    }
}
