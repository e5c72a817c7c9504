//! Linux: fs/xattr.c.

use super::user::{get_file, getname};
use crate::arg::{Addr, Bits, BufIn, BufOut, Fd, PathAddr};
use fs_vfs::{
    At, LookupFlags, Path, XATTR_LIST_MAX, XATTR_NAME_MAX, XATTR_SIZE_MAX, user_path_at, vfs_getxattr,
    vfs_listxattr, vfs_removexattr, vfs_setxattr,
};
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_uapi::Errno;
use sentry_uapi::errno::{E2BIG, EINVAL, ENAMETOOLONG, ERANGE};

/// setxattr(2).
pub(crate) fn setxattr(
    task: &mut CurrentTask,
    path: PathAddr,
    name: Addr,
    value: BufIn,
    size: usize,
    flags: Bits,
) -> SyscallResult {
    set(task, &lookup(task, path, LookupFlags::FOLLOW)?, name, value, size, flags)
}

/// lsetxattr(2).
pub(crate) fn lsetxattr(
    task: &mut CurrentTask,
    path: PathAddr,
    name: Addr,
    value: BufIn,
    size: usize,
    flags: Bits,
) -> SyscallResult {
    set(task, &lookup(task, path, LookupFlags::empty())?, name, value, size, flags)
}

/// fsetxattr(2).
pub(crate) fn fsetxattr(
    task: &mut CurrentTask,
    fd: Fd,
    name: Addr,
    value: BufIn,
    size: usize,
    flags: Bits,
) -> SyscallResult {
    set(task, get_file(task, fd)?.path(), name, value, size, flags)
}

/// getxattr(2).
pub(crate) fn getxattr(
    task: &mut CurrentTask,
    path: PathAddr,
    name: Addr,
    value: BufOut,
    size: usize,
) -> SyscallResult {
    get(task, &lookup(task, path, LookupFlags::FOLLOW)?, name, value, size)
}

/// lgetxattr(2).
pub(crate) fn lgetxattr(
    task: &mut CurrentTask,
    path: PathAddr,
    name: Addr,
    value: BufOut,
    size: usize,
) -> SyscallResult {
    get(task, &lookup(task, path, LookupFlags::empty())?, name, value, size)
}

/// fgetxattr(2).
pub(crate) fn fgetxattr(
    task: &mut CurrentTask,
    fd: Fd,
    name: Addr,
    value: BufOut,
    size: usize,
) -> SyscallResult {
    get(task, get_file(task, fd)?.path(), name, value, size)
}

/// listxattr(2).
pub(crate) fn listxattr(task: &mut CurrentTask, path: PathAddr, list: BufOut, size: usize) -> SyscallResult {
    all(task, &lookup(task, path, LookupFlags::FOLLOW)?, list, size)
}

/// llistxattr(2).
pub(crate) fn llistxattr(task: &mut CurrentTask, path: PathAddr, list: BufOut, size: usize) -> SyscallResult {
    all(task, &lookup(task, path, LookupFlags::empty())?, list, size)
}

/// flistxattr(2).
pub(crate) fn flistxattr(task: &mut CurrentTask, fd: Fd, list: BufOut, size: usize) -> SyscallResult {
    all(task, get_file(task, fd)?.path(), list, size)
}

/// removexattr(2).
pub(crate) fn removexattr(task: &mut CurrentTask, path: PathAddr, name: Addr) -> SyscallResult {
    remove(task, &lookup(task, path, LookupFlags::FOLLOW)?, name)
}

/// lremovexattr(2).
pub(crate) fn lremovexattr(task: &mut CurrentTask, path: PathAddr, name: Addr) -> SyscallResult {
    remove(task, &lookup(task, path, LookupFlags::empty())?, name)
}

/// fremovexattr(2).
pub(crate) fn fremovexattr(task: &mut CurrentTask, fd: Fd, name: Addr) -> SyscallResult {
    remove(task, get_file(task, fd)?.path(), name)
}

fn lookup(task: &CurrentTask, path: PathAddr, flags: LookupFlags) -> Result<Path, Errno> {
    user_path_at(task, &At::Cwd, &getname(task, path)?, flags)
}

/// The name of an attribute.
fn read_name(task: &CurrentTask, name: Addr) -> Result<Vec<u8>, Errno> {
    let name = task.user()?.read_cstring(name.0, XATTR_NAME_MAX + 1);
    let name = name.map_err(|e| if e == ENAMETOOLONG { ERANGE } else { e })?;
    if name.is_empty() { Err(ERANGE) } else { Ok(name) }
}

/// Linux: `setxattr_copy`, `do_setxattr`.
fn set(task: &CurrentTask, path: &Path, name: Addr, value: BufIn, size: usize, flags: Bits) -> SyscallResult {
    const XATTR_CREATE_REPLACE: u32 = 3;
    if flags.0 & !XATTR_CREATE_REPLACE != 0 {
        return Err(EINVAL.into());
    }
    let name = read_name(task, name)?;
    if size > XATTR_SIZE_MAX {
        return Err(E2BIG.into());
    }
    let value = task.user()?.read_array::<u8>(value.0, size)?;
    vfs_setxattr(task, path, &name, &value, flags.0)?;
    Ok(0)
}

fn get(task: &CurrentTask, path: &Path, name: Addr, value: BufOut, size: usize) -> SyscallResult {
    let name = read_name(task, name)?;
    hand_out(task, &vfs_getxattr(task, path, &name)?, value, size, XATTR_SIZE_MAX)
}

fn all(task: &CurrentTask, path: &Path, list: BufOut, size: usize) -> SyscallResult {
    hand_out(task, &vfs_listxattr(task, path)?, list, size, XATTR_LIST_MAX)
}

fn remove(task: &CurrentTask, path: &Path, name: Addr) -> SyscallResult {
    vfs_removexattr(task, path, &read_name(task, name)?)?;
    Ok(0)
}

/// Copies a value out; a size of 0 only asks how long it is.
fn hand_out(task: &CurrentTask, bytes: &[u8], buf: BufOut, size: usize, max: usize) -> SyscallResult {
    if size > 0 {
        if bytes.len() > size.min(max) {
            return Err(if size >= max { E2BIG } else { ERANGE }.into());
        }
        task.user()?.copy_to_user(buf.0, bytes)?;
    }
    Ok(bytes.len() as u64)
}
