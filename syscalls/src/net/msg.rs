//! Linux: net/socket.c: messages are sent and received.

use super::addr::{find_inode, get_socket, move_addr_to_kernel, move_addr_to_user};
use super::cmsg::{scm_recv, scm_send};
use crate::arg::{Addr, Bits, BufIn, BufOut, Fd};
use crate::file::UserIov;
use fs_vfs::File;
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_mm::{IoDst, MAX_VIEW};
use sentry_net::{Received, SendMsg, SockAddr, Socket};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EFAULT, EINVAL, EMSGSIZE};
use sentry_uapi::socket::{AF_INET, AF_INET6, MsgFlags, SOCK_STREAM, SOCKADDR_STORAGE_SIZE, UserMsghdr};
use sentry_uapi::uio::UIO_MAXIOV;
use std::mem::offset_of;

/// Most bytes that one call throws away.
const MAX_DISCARD: usize = 1 << 20;

/// sendto(2).
pub(crate) fn sendto(
    task: &mut CurrentTask,
    fd: Fd,
    buf: BufIn,
    len: usize,
    flags: Bits,
    addr: Addr,
    addr_len: i32,
) -> SyscallResult {
    let iov = UserIov::single(buf.0, len)?;
    let file = get_socket(task, fd)?;
    let mut msg = SendMsg { flags: MsgFlags::from_bits_retain(flags.0), ..SendMsg::default() };
    if addr.0 != 0 {
        set_addr(task, &file, &mut msg, move_addr_to_kernel(task, addr, addr_len)?)?;
    }
    Ok(send(task, &file, &mut msg, iov)?)
}

/// recvfrom(2).
pub(crate) fn recvfrom(
    task: &mut CurrentTask,
    fd: Fd,
    buf: BufOut,
    len: usize,
    flags: Bits,
    addr: Addr,
    addr_len: Addr,
) -> SyscallResult {
    let iov = UserIov::single(buf.0, len)?;
    let file = get_socket(task, fd)?;
    let received = receive(task, &file, iov, MsgFlags::from_bits_retain(flags.0))?;
    if addr.0 != 0 {
        move_addr_to_user(task, received.addr.as_ref(), addr, addr_len)?;
    }
    Ok(received.count as u64)
}

/// sendmsg(2).
pub(crate) fn sendmsg(task: &mut CurrentTask, fd: Fd, msg: Addr, flags: Bits) -> SyscallResult {
    let flags = user_flags(flags)?;
    let file = get_socket(task, fd)?;
    Ok(sys_sendmsg(task, &file, msg, flags)?)
}

/// recvmsg(2).
pub(crate) fn recvmsg(task: &mut CurrentTask, fd: Fd, msg: Addr, flags: Bits) -> SyscallResult {
    let flags = user_flags(flags)?;
    let file = get_socket(task, fd)?;
    Ok(sys_recvmsg(task, &file, msg, flags)?)
}

/// Flags of a call that takes a `struct msghdr`; that of 32-bit tasks is refused.
pub(super) fn user_flags(flags: Bits) -> Result<MsgFlags, Errno> {
    let flags = MsgFlags::from_bits_retain(flags.0);
    if flags.contains(MsgFlags::CMSG_COMPAT) { Err(EINVAL) } else { Ok(flags) }
}

/// Reads a header and its buffers. Linux: `copy_msghdr_from_user`.
fn read_msghdr(task: &CurrentTask, addr: Addr) -> Result<(UserMsghdr, UserIov), Errno> {
    let mut head: UserMsghdr = task.user()?.read_obj(addr.0)?;
    if head.msg_name == 0 {
        head.msg_namelen = 0;
    }
    if head.msg_namelen > i32::MAX.unsigned_abs() {
        return Err(EINVAL);
    }
    if head.msg_iovlen > UIO_MAXIOV as u64 {
        return Err(EMSGSIZE);
    }
    let iov = UserIov::import(task, head.msg_iov, head.msg_iovlen)?;
    Ok((head, iov))
}

/// Linux: `___sys_sendmsg`.
pub(super) fn sys_sendmsg(
    task: &CurrentTask,
    file: &File,
    addr: Addr,
    flags: MsgFlags,
) -> Result<u64, Errno> {
    let (head, iov) = read_msghdr(task, addr)?;
    let mut msg = SendMsg { flags, ..SendMsg::default() };
    if head.msg_namelen > 0 {
        let len = usize::try_from(head.msg_namelen).unwrap_or(usize::MAX).min(SOCKADDR_STORAGE_SIZE);
        let name = move_addr_to_kernel(task, Addr(head.msg_name), i32::try_from(len).map_err(|_| EINVAL)?)?;
        set_addr(task, file, &mut msg, name)?;
    }
    msg.control = scm_send(task, file, Addr(head.msg_control), head.msg_controllen)?;
    send(task, file, &mut msg, iov)
}

/// Linux: `___sys_recvmsg`.
pub(super) fn sys_recvmsg(
    task: &CurrentTask,
    file: &File,
    addr: Addr,
    flags: MsgFlags,
) -> Result<u64, Errno> {
    let (head, iov) = read_msghdr(task, addr)?;
    let received = receive(task, file, iov, flags)?;
    let cloexec = flags.contains(MsgFlags::CMSG_CLOEXEC);
    let control = Addr(head.msg_control);
    let (used, cut) = scm_recv(task, received.control, control, head.msg_controllen, cloexec)?;
    if head.msg_name != 0 {
        let len_addr = Addr(addr.0.wrapping_add(offset_of!(UserMsghdr, msg_namelen) as u64));
        move_addr_to_user(task, received.addr.as_ref(), Addr(head.msg_name), len_addr)?;
    }
    let mm = task.user()?;
    let told = received.flags | cut | (flags & MsgFlags::CMSG_CLOEXEC);
    mm.write_obj(addr.0.wrapping_add(offset_of!(UserMsghdr, msg_flags) as u64), &told.bits())?;
    mm.write_obj(addr.0.wrapping_add(offset_of!(UserMsghdr, msg_controllen) as u64), &used)?;
    Ok(received.count as u64)
}

fn set_addr(task: &CurrentTask, file: &File, msg: &mut SendMsg, addr: SockAddr) -> Result<(), Errno> {
    msg.inode = find_inode(task, file, &addr)?;
    msg.addr = Some(addr);
    Ok(())
}

/// Whether MSG_TRUNC throws bytes away: of TCP. Linux: `tcp_recvmsg_locked`.
fn discards(file: &File) -> bool {
    is_stream(file) && Socket::of(file).is_ok_and(|s| matches!(s.family(), AF_INET | AF_INET6))
}

fn is_stream(file: &File) -> bool {
    Socket::of(file).is_ok_and(|s| s.socket_type() == SOCK_STREAM)
}

/// Sends all of a stream's bytes, in as many pieces as there are views; any other message whole or not at all.
fn send(task: &CurrentTask, file: &File, msg: &mut SendMsg, mut iov: UserIov) -> Result<u64, Errno> {
    let mm = task.user()?;
    let stream = is_stream(file);
    if !stream && iov.len() > MAX_VIEW {
        return Err(EMSGSIZE);
    }
    let mut total = 0_u64;
    loop {
        let once = mm.src(iov.ranges()).and_then(|mut src| {
            let offered = src.remaining();
            if !stream && offered < iov.len() {
                return Err(EFAULT);
            }
            Ok((sentry_net::sendmsg(task, file, msg, &mut src)?, offered))
        });
        match once {
            Ok((n, offered)) => {
                total += n as u64;
                iov.advance(n);
                if !stream || n < offered || n == 0 || iov.len() == 0 {
                    return Ok(total);
                }
            }
            Err(_) if total > 0 => return Ok(total),
            Err(e) => return Err(e),
        }
    }
}

/// Receives one message, or what a stream has; with MSG_WAITALL, in as many pieces as there are views.
fn receive(task: &CurrentTask, file: &File, mut iov: UserIov, flags: MsgFlags) -> Result<Received, Errno> {
    if flags.contains(MsgFlags::TRUNC) && discards(file) {
        // Nothing is copied, so the buffer need not even be there.
        let mut scratch = vec![0; iov.len().min(MAX_DISCARD)];
        return sentry_net::recvmsg(task, file, &mut IoDst::from_slice(&mut scratch), flags);
    }
    let mm = task.user()?;
    let wait_all = is_stream(file) && flags.contains(MsgFlags::WAITALL) && !flags.contains(MsgFlags::PEEK);
    let mut first = sentry_net::recvmsg(task, file, &mut mm.dst(iov.ranges())?, flags)?;
    let mut last = first.count;
    while wait_all && last == MAX_VIEW && iov.len() > last {
        iov.advance(last);
        let next = mm.dst(iov.ranges()).and_then(|mut dst| sentry_net::recvmsg(task, file, &mut dst, flags));
        let Ok(next) = next else { break };
        last = next.count;
        first.count += next.count;
        first.control.extend(next.control);
        first.flags |= next.flags;
    }
    Ok(first)
}
