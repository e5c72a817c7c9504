//! Addresses and paths of sockets. Linux: net/socket.c, `move_addr_to_kernel`, `move_addr_to_user`; net/unix/af_unix.c,
//! `unix_find_bsd`.

use crate::arg::{Addr, Fd};
use crate::file::get_file;
use fs_vfs::{At, File, Inode, LookupFlags, user_path_at};
use sentry_kernel::CurrentTask;
use sentry_net::{SockAddr, Socket, unix_path};
use sentry_uapi::Errno;
use sentry_uapi::errno::{ECONNREFUSED, EINVAL};
use sentry_uapi::socket::SOCKADDR_STORAGE_SIZE;
use std::sync::Arc;

/// The socket behind a descriptor. Linux: `sockfd_lookup`.
///
/// # Errors
/// `EBADF`, `ENOTSOCK`.
pub(super) fn get_socket(task: &CurrentTask, fd: Fd) -> Result<Arc<File>, Errno> {
    let file = get_file(task, fd)?;
    Socket::of(&file)?;
    Ok(file)
}

/// An address from guest memory.
///
/// # Errors
/// `EINVAL` for a length that is negative or beyond `struct sockaddr_storage`; `EFAULT`.
pub(super) fn move_addr_to_kernel(task: &CurrentTask, addr: Addr, len: i32) -> Result<SockAddr, Errno> {
    let len = usize::try_from(len).ok().filter(|n| *n <= SOCKADDR_STORAGE_SIZE).ok_or(EINVAL)?;
    let mut bytes = [0; SOCKADDR_STORAGE_SIZE];
    let bytes = bytes.get_mut(..len).ok_or(EINVAL)?;
    task.user()?.copy_from_user(addr.0, bytes)?;
    SockAddr::from_bytes(bytes)
}

/// An address to guest memory, cut to the length that stands at `len_addr`, which becomes the whole one.
///
/// # Errors
/// `EFAULT`; `EINVAL` for a negative length.
pub(super) fn move_addr_to_user(
    task: &CurrentTask,
    from: Option<&SockAddr>,
    addr: Addr,
    len_addr: Addr,
) -> Result<(), Errno> {
    let mm = task.user()?;
    let room = usize::try_from(mm.read_obj::<i32>(len_addr.0)?).map_err(|_| EINVAL)?;
    let bytes = from.map(SockAddr::as_bytes).unwrap_or_default();
    mm.copy_to_user(addr.0, bytes.get(..room).unwrap_or(bytes))?;
    mm.write_obj(len_addr.0, &i32::try_from(bytes.len()).map_err(|_| EINVAL)?)
}

/// What the path in an address of a unix socket leads to; none for an address without a path.
///
/// # Errors
/// Those of the walk.
pub(super) fn find_inode(
    task: &CurrentTask,
    file: &File,
    addr: &SockAddr,
) -> Result<Option<Arc<Inode>>, Errno> {
    let Some(path) = unix_path(file, addr) else { return Ok(None) };
    let found = user_path_at(task, &At::Cwd, path, LookupFlags::FOLLOW)?;
    Ok(Some(found.inode().ok_or(ECONNREFUSED)?.clone()))
}
