//! Linux: fs/eventpoll.c.

use super::timeout::{Timeout, set_user_sigmask};
use super::user::{access_ok, done, get_file, install};
use crate::arg::{Addr, Bits, Fd, SigSetAddr, TimespecAddr};
use fs_vfs::{do_epoll_create, do_epoll_ctl, do_epoll_wait};
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EFAULT, EINTR, EINVAL};
use sentry_uapi::eventpoll::{EPOLL_CLOEXEC, EPOLL_CTL_DEL, EpollEvent};

/// epoll_create(2).
pub(crate) fn epoll_create(task: &mut CurrentTask, size: i32) -> SyscallResult {
    if size <= 0 {
        return Err(EINVAL.into());
    }
    epoll_create1(task, Bits(0))
}

/// epoll_create1(2).
pub(crate) fn epoll_create1(task: &mut CurrentTask, flags: Bits) -> SyscallResult {
    let file = do_epoll_create(task, flags.0)?;
    install(task, file, flags.0 & EPOLL_CLOEXEC != 0)
}

/// epoll_ctl(2).
pub(crate) fn epoll_ctl(task: &mut CurrentTask, epfd: Fd, op: i32, fd: Fd, event: Addr) -> SyscallResult {
    let event = if op == EPOLL_CTL_DEL {
        EpollEvent::default()
    } else {
        task.user()?.read_obj::<EpollEvent>(event.0)?
    };
    let ep = get_file(task, epfd)?;
    let file = get_file(task, fd)?;
    done(do_epoll_ctl(task, &ep, op, &file, fd.0, event))
}

/// epoll_wait(2).
pub(crate) fn epoll_wait(
    task: &mut CurrentTask,
    epfd: Fd,
    events: Addr,
    maxevents: i32,
    timeout: i32,
) -> SyscallResult {
    Ok(wait(task, epfd, events, maxevents, Timeout::from_millis(timeout))? as u64)
}

/// epoll_pwait(2).
pub(crate) fn epoll_pwait(
    task: &mut CurrentTask,
    epfd: Fd,
    events: Addr,
    maxevents: i32,
    timeout: i32,
    mask: SigSetAddr,
    mask_size: usize,
) -> SyscallResult {
    masked_wait(task, epfd, events, maxevents, Timeout::from_millis(timeout), (mask, mask_size))
}

/// epoll_pwait2(2).
pub(crate) fn epoll_pwait2(
    task: &mut CurrentTask,
    epfd: Fd,
    events: Addr,
    maxevents: i32,
    timeout: TimespecAddr,
    mask: SigSetAddr,
    mask_size: usize,
) -> SyscallResult {
    let timeout = Timeout::read_timespec(task, timeout)?;
    masked_wait(task, epfd, events, maxevents, timeout, (mask, mask_size))
}

fn masked_wait(
    task: &mut CurrentTask,
    epfd: Fd,
    events: Addr,
    max: i32,
    timeout: Timeout,
    mask: (SigSetAddr, usize),
) -> SyscallResult {
    set_user_sigmask(task, mask.0, mask.1)?;
    let result = wait(task, epfd, events, max, timeout);
    task.restore_temporary_mask(result == Err(EINTR));
    Ok(result? as u64)
}

/// Linux: `do_epoll_wait`.
fn wait(task: &CurrentTask, epfd: Fd, events: Addr, max: i32, timeout: Timeout) -> Result<usize, Errno> {
    let size = size_of::<EpollEvent>() as u64;
    let room = u64::try_from(max).ok().filter(|n| *n > 0).ok_or(EINVAL)?;
    if !access_ok(events.0, room.saturating_mul(size)) {
        return Err(EFAULT);
    }
    let ep = get_file(task, epfd)?;
    let mm = task.user()?;
    let mut at = events.0;
    do_epoll_wait(task, &ep, max, timeout.deadline, &mut |event| {
        mm.write_obj(at, &event)?;
        at = at.wrapping_add(size);
        Ok(())
    })
}
