//! Linux: net/socket.c: sockets are made, named, connected and shut down.

use super::addr::{find_inode, get_socket, move_addr_to_kernel, move_addr_to_user};
use crate::arg::{Addr, Bits, Fd};
use crate::file::{done, fd_result, install, install_two};
use fs_vfs::{At, File, TaskContext, do_unlinkat, mknod_socket};
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_net::{SockAddr, unix_path};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EADDRINUSE, EEXIST, EINVAL, ENOENT};
use sentry_uapi::socket::{SOCK_CLOEXEC, SOCK_NONBLOCK};
use std::sync::Arc;

/// socket(2).
pub(crate) fn socket(task: &mut CurrentTask, domain: i32, ty: i32, protocol: i32) -> SyscallResult {
    let file = sentry_net::socket(task, &task.ns().net, domain, ty, protocol)?;
    install(task, file, is_cloexec(ty))
}

/// socketpair(2).
pub(crate) fn socketpair(
    task: &mut CurrentTask,
    domain: i32,
    ty: i32,
    protocol: i32,
    fds: Addr,
) -> SyscallResult {
    let (a, b) = sentry_net::socketpair(task, &task.ns().net, domain, ty, protocol)?;
    install_two(task, a, b, is_cloexec(ty), fds)
}

fn is_cloexec(ty: i32) -> bool {
    ty.cast_unsigned() & SOCK_CLOEXEC != 0
}

/// bind(2).
pub(crate) fn bind(task: &mut CurrentTask, fd: Fd, addr: Addr, len: i32) -> SyscallResult {
    let file = get_socket(task, fd)?;
    let addr = move_addr_to_kernel(task, addr, len)?;
    done(match unix_path(&file, &addr) {
        Some(path) => unix_bind_bsd(task, &file, &addr, path),
        None => sentry_net::bind(task, &file, &addr),
    })
}

/// Makes the file a unix socket is bound to. Linux: `unix_bind_bsd`.
fn unix_bind_bsd(task: &CurrentTask, file: &File, addr: &SockAddr, path: &[u8]) -> Result<(), Errno> {
    let mode = file.inode().getattr()?.perm & !TaskContext::fs(task).umask();
    let made = mknod_socket(task, path, mode).map_err(|e| if e == EEXIST { EADDRINUSE } else { e })?;
    let inode = made.inode().ok_or(ENOENT)?;
    sentry_net::bind_inode(task, file, addr, inode).inspect_err(|_| {
        // Nobody has been told of the file: if it is gone already, so much the better.
        let _ = do_unlinkat(task, &At::Cwd, path, 0);
    })
}

/// listen(2).
pub(crate) fn listen(task: &mut CurrentTask, fd: Fd, backlog: i32) -> SyscallResult {
    done(sentry_net::listen(task, &*get_socket(task, fd)?, backlog))
}

/// accept(2).
pub(crate) fn accept(task: &mut CurrentTask, fd: Fd, addr: Addr, len: Addr) -> SyscallResult {
    accept4(task, fd, addr, len, Bits(0))
}

/// accept4(2): without a free descriptor no connection is taken.
pub(crate) fn accept4(task: &mut CurrentTask, fd: Fd, addr: Addr, len: Addr, flags: Bits) -> SyscallResult {
    let file = crate::file::get_file(task, fd)?;
    if flags.0 & !(SOCK_CLOEXEC | SOCK_NONBLOCK) != 0 {
        return Err(EINVAL.into());
    }
    let files = TaskContext::files(task);
    let new = files.get_unused_fd(task, flags.0 & SOCK_CLOEXEC != 0)?;
    match do_accept(task, &file, addr, len, flags.0) {
        Ok(accepted) => {
            files.fd_install(new, accepted);
            fd_result(new)
        }
        Err(e) => {
            files.put_unused_fd(new);
            Err(e.into())
        }
    }
}

fn do_accept(task: &CurrentTask, file: &File, addr: Addr, len: Addr, flags: u32) -> Result<Arc<File>, Errno> {
    let (accepted, peer) = sentry_net::accept4(task, file, flags)?;
    if addr.0 != 0 {
        move_addr_to_user(task, Some(&peer), addr, len)?;
    }
    Ok(accepted)
}

/// connect(2).
pub(crate) fn connect(task: &mut CurrentTask, fd: Fd, addr: Addr, len: i32) -> SyscallResult {
    let file = crate::file::get_file(task, fd)?;
    let addr = move_addr_to_kernel(task, addr, len)?;
    sentry_net::Socket::of(&file)?;
    done(match find_inode(task, &file, &addr)? {
        Some(inode) => sentry_net::connect_inode(task, &file, &addr, &inode),
        None => sentry_net::connect(task, &file, &addr),
    })
}

/// getsockname(2).
pub(crate) fn getsockname(task: &mut CurrentTask, fd: Fd, addr: Addr, len: Addr) -> SyscallResult {
    let name = sentry_net::getsockname(&*get_socket(task, fd)?)?;
    done(move_addr_to_user(task, Some(&name), addr, len))
}

/// getpeername(2).
pub(crate) fn getpeername(task: &mut CurrentTask, fd: Fd, addr: Addr, len: Addr) -> SyscallResult {
    let name = sentry_net::getpeername(&*get_socket(task, fd)?)?;
    done(move_addr_to_user(task, Some(&name), addr, len))
}

/// shutdown(2).
pub(crate) fn shutdown(task: &mut CurrentTask, fd: Fd, how: i32) -> SyscallResult {
    done(sentry_net::shutdown(&*get_socket(task, fd)?, how))
}
