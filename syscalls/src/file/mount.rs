//! Linux: fs/namespace.c.

use super::user::{at, done, getname, install};
use crate::arg::{Addr, Bits, DirFd, PathAddr};
use fs_vfs::{
    MountArgs, MountAttr, do_mount, do_mount_setattr, do_move_mount, do_open_tree, do_umount,
    move_mount as move_flags, open_tree as open_tree_flags,
};
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_mm::UserAccess;
use sentry_uapi::Errno;
use sentry_uapi::errno::{E2BIG, EFAULT, EINVAL, ENAMETOOLONG};
use sentry_uapi::fcntl::PATH_MAX;

const PAGE_SIZE: usize = 4096;
/// Size of the first `struct mount_attr`.
const MOUNT_ATTR_SIZE_VER0: usize = 32;

/// mount(2).
pub(crate) fn mount(
    task: &mut CurrentTask,
    source: PathAddr,
    target: PathAddr,
    fs_type: PathAddr,
    flags: u64,
    data: Addr,
) -> SyscallResult {
    let fs_type = copy_mount_string(task, fs_type)?;
    let source = copy_mount_string(task, source)?;
    let data = copy_mount_options(task, data)?;
    let args =
        MountArgs { source: source.as_deref(), fs_type: fs_type.as_deref(), flags, data: data.as_deref() };
    done(do_mount(task, &getname(task, target)?, &args))
}

/// umount2(2).
pub(crate) fn umount2(task: &mut CurrentTask, target: PathAddr, flags: Bits) -> SyscallResult {
    done(do_umount(task, &getname(task, target)?, flags.0))
}

/// pivot_root(2): tasks that stand on the old root move to the new one.
pub(crate) fn pivot_root(task: &mut CurrentTask, new_root: PathAddr, put_old: PathAddr) -> SyscallResult {
    let new_root = getname(task, new_root)?;
    let put_old = getname(task, put_old)?;
    let (old, new) = fs_vfs::pivot_root(task, &new_root, &put_old)?;
    let tasks: Vec<_> = task.kernel().tree.lock().tasks.values().cloned().collect();
    for other in tasks {
        other.fs().chroot_refs(&old, &new);
    }
    Ok(0)
}

/// open_tree(2).
pub(crate) fn open_tree(task: &mut CurrentTask, dfd: DirFd, path: PathAddr, flags: Bits) -> SyscallResult {
    let file = do_open_tree(task, &at(dfd), &getname(task, path)?, flags.0)?;
    install(task, file, flags.0 & open_tree_flags::CLOEXEC != 0)
}

/// move_mount(2).
pub(crate) fn move_mount(
    task: &mut CurrentTask,
    from_dfd: DirFd,
    from: PathAddr,
    to_dfd: DirFd,
    to: PathAddr,
    flags: Bits,
) -> SyscallResult {
    if flags.0 & !move_flags::MASK != 0 {
        return Err(EINVAL.into());
    }
    let from = getname(task, from)?;
    let to = getname(task, to)?;
    done(do_move_mount(task, &at(from_dfd), &from, &at(to_dfd), &to, flags.0))
}

/// mount_setattr(2).
pub(crate) fn mount_setattr(
    task: &mut CurrentTask,
    dfd: DirFd,
    path: PathAddr,
    flags: Bits,
    attr: Addr,
    size: usize,
) -> SyscallResult {
    if size > PAGE_SIZE {
        return Err(E2BIG.into());
    }
    if size < MOUNT_ATTR_SIZE_VER0 {
        return Err(EINVAL.into());
    }
    let mm = task.user()?;
    let rest = attr.0.saturating_add(MOUNT_ATTR_SIZE_VER0 as u64);
    if mm.read_array::<u8>(rest, size - MOUNT_ATTR_SIZE_VER0)?.iter().any(|b| *b != 0) {
        return Err(E2BIG.into());
    }
    let [attr_set, attr_clr, propagation, _userns_fd] = mm.read_obj::<[u64; 4]>(attr.0)?;
    let attr = MountAttr { attr_set, attr_clr, propagation };
    if attr == MountAttr::default() {
        return Ok(0);
    }
    done(do_mount_setattr(task, &at(dfd), &getname(task, path)?, flags.0, &attr))
}

/// A string that may be missing. Linux: `copy_mount_string`.
fn copy_mount_string(task: &CurrentTask, addr: PathAddr) -> Result<Option<Vec<u8>>, Errno> {
    if addr.0 == 0 {
        return Ok(None);
    }
    let text = task.user()?.read_cstring(addr.0, PATH_MAX);
    text.map(Some).map_err(|e| if e == ENAMETOOLONG { EINVAL } else { e })
}

/// A page of options, or what of it there is. Linux: `copy_mount_options`.
fn copy_mount_options(task: &CurrentTask, addr: Addr) -> Result<Option<String>, Errno> {
    if addr.0 == 0 {
        return Ok(None);
    }
    let mut page = vec![0; PAGE_SIZE - 1];
    let len = task.user()?.copy_from_user_partial(addr.0, &mut page, UserAccess::Read);
    if len == 0 {
        return Err(EFAULT);
    }
    page.truncate(page.iter().take(len).position(|b| *b == 0).unwrap_or(len));
    // What is no text belongs to a filesystem that takes a structure; there is none here.
    Ok(Some(String::from_utf8(page).unwrap_or_default()))
}
