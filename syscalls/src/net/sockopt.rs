//! Linux: net/socket.c, setsockopt(2) and getsockopt(2); the options of net/core/sock.c that are about processes.

use super::addr::get_socket;
use super::cmsg::{pid_here, pidfd_of};
use crate::arg::{Addr, BufIn, Fd};
use fs_vfs::TaskContext;
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_net::Socket;
use sentry_uapi::errno::{EINVAL, ENODATA};
use sentry_uapi::socket::{AF_UNIX, SO_PEERCRED, SO_PEERPIDFD, SOL_SOCKET, Ucred};
use zerocopy::IntoBytes;

/// Longest value that is looked at; no option has a longer one.
const MAX_OPTION: usize = 1 << 16;

/// setsockopt(2).
pub(crate) fn setsockopt(
    task: &mut CurrentTask,
    fd: Fd,
    level: i32,
    name: i32,
    value: BufIn,
    len: i32,
) -> SyscallResult {
    let len = usize::try_from(len).map_err(|_| EINVAL)?;
    let file = get_socket(task, fd)?;
    let value = task.user()?.read_array::<u8>(value.0, len.min(MAX_OPTION))?;
    sentry_net::setsockopt(task, &file, level, name, &value)?;
    Ok(0)
}

/// getsockopt(2).
pub(crate) fn getsockopt(
    task: &mut CurrentTask,
    fd: Fd,
    level: i32,
    name: i32,
    value: Addr,
    len_addr: Addr,
) -> SyscallResult {
    let file = get_socket(task, fd)?;
    let mm = task.user()?.clone();
    let len = usize::try_from(mm.read_obj::<i32>(len_addr.0)?).map_err(|_| EINVAL)?.min(MAX_OPTION);
    let unix = Socket::of(&file)?.family() == AF_UNIX;
    if unix && level == SOL_SOCKET && name == SO_PEERPIDFD {
        return peer_pidfd(task, &file, value, len, len_addr);
    }
    let mut bytes = match sentry_net::getsockopt(task, &file, level, name, len) {
        Ok(bytes) => bytes,
        Err(e) => {
            if let Some(wanted) = e.len {
                mm.write_obj(len_addr.0, &u32::try_from(wanted).unwrap_or(u32::MAX))?;
            }
            return Err(e.errno.into());
        }
    };
    if unix && level == SOL_SOCKET && name == SO_PEERCRED {
        let pid = Socket::of(&file)?.peercred().map_or(0, |peer| pid_here(task, peer.pid));
        let pid = pid.to_ne_bytes();
        const { assert!(std::mem::offset_of!(Ucred, pid) == 0) };
        for (to, from) in bytes.iter_mut().zip(pid) {
            *to = from;
        }
    }
    mm.copy_to_user(value.0, &bytes)?;
    mm.write_obj(len_addr.0, &u32::try_from(bytes.len()).unwrap_or(u32::MAX))?;
    Ok(0)
}

/// SO_PEERPIDFD: a pidfd of whoever made the other end.
fn peer_pidfd(
    task: &CurrentTask,
    file: &fs_vfs::File,
    value: Addr,
    len: usize,
    len_addr: Addr,
) -> SyscallResult {
    let peer = Socket::of(file)?.peercred().ok_or(ENODATA)?;
    let pidfd = pidfd_of(task, peer.pid)?;
    let files = TaskContext::files(task);
    let fd = files.get_unused_fd(task, true)?;
    let len = len.min(size_of::<i32>());
    let told = task.user().and_then(|mm| {
        mm.copy_to_user(value.0, fd.as_bytes().get(..len).unwrap_or_default())?;
        mm.write_obj(len_addr.0, &u32::try_from(len).unwrap_or(0))
    });
    match told {
        Ok(()) => files.fd_install(fd, pidfd),
        Err(_) => files.put_unused_fd(fd),
    }
    told?;
    Ok(0)
}
