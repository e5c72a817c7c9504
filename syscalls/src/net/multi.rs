//! Linux: net/socket.c, sendmmsg(2) and recvmmsg(2).

use super::addr::get_socket;
use super::msg::{sys_recvmsg, sys_sendmsg, user_flags};
use crate::arg::{Addr, Bits, Fd, TimespecAddr};
use crate::file::Timeout;
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_uapi::Errno;
use sentry_uapi::socket::{Mmsghdr, MsgFlags};
use sentry_uapi::time::Timespec;
use sentry_uapi::uio::UIO_MAXIOV;
use std::mem::offset_of;
use std::time::Instant;

/// sendmmsg(2): how many messages were sent, if it is at least one.
pub(crate) fn sendmmsg(task: &mut CurrentTask, fd: Fd, vec: Addr, vlen: u32, flags: Bits) -> SyscallResult {
    let flags = user_flags(flags)?;
    let file = get_socket(task, fd)?;
    let most = u32::try_from(UIO_MAXIOV).unwrap_or(u32::MAX);
    each(vlen.min(most), |at| {
        let msg = nth(vec, at);
        let sent = sys_sendmsg(task, &file, msg, flags)?;
        note_len(task, msg, sent)?;
        Ok(Next::Go)
    })
}

/// recvmmsg(2): the time-out is looked at after each message only, as in Linux.
pub(crate) fn recvmmsg(
    task: &mut CurrentTask,
    fd: Fd,
    vec: Addr,
    vlen: u32,
    flags: Bits,
    timeout: TimespecAddr,
) -> SyscallResult {
    let mut flags = user_flags(flags)?;
    let until = Timeout::read_timespec(task, timeout)?;
    let file = get_socket(task, fd)?;
    let result = each(vlen, |at| {
        let msg = nth(vec, at);
        let received = sys_recvmsg(task, &file, msg, flags - MsgFlags::WAITFORONE)?;
        note_len(task, msg, received)?;
        if flags.contains(MsgFlags::WAITFORONE) {
            flags |= MsgFlags::DONTWAIT;
        }
        let over = until.deadline.is_some_and(|d| d <= Instant::now());
        Ok(if over { Next::Stop } else { Next::Go })
    });
    if result.is_ok()
        && let Some(deadline) = until.deadline
    {
        let left = deadline.saturating_duration_since(Instant::now());
        let tv_sec = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
        task.user()?.write_obj(timeout.0, &Timespec { tv_sec, tv_nsec: left.subsec_nanos().into() })?;
    }
    result
}

/// Whether to go on with the next message.
enum Next {
    Go,
    Stop,
}

/// Does one message after the other until one fails; that error counts only if it is the first's.
fn each(count: u32, mut one: impl FnMut(u32) -> Result<Next, Errno>) -> SyscallResult {
    for at in 0..count {
        match one(at) {
            Ok(Next::Go) => {}
            Ok(Next::Stop) => return Ok(u64::from(at) + 1),
            Err(_) if at > 0 => return Ok(u64::from(at)),
            Err(e) => return Err(e.into()),
        }
    }
    Ok(u64::from(count))
}

fn nth(vec: Addr, at: u32) -> Addr {
    Addr(vec.0.wrapping_add(u64::from(at) * size_of::<Mmsghdr>() as u64))
}

fn note_len(task: &CurrentTask, msg: Addr, len: u64) -> Result<(), Errno> {
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    task.user()?.write_obj(msg.0.wrapping_add(offset_of!(Mmsghdr, msg_len) as u64), &len)
}
