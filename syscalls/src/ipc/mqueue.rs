//! Linux: ipc/mqueue.c.

use crate::arg::{Addr, Fd, Mode, OFlags, PathAddr, TimespecAddr};
use crate::file::{done, get_file, getname, install};
use crate::time::clock::deadline_on;
use sentry_kernel::{CurrentTask, MqNotify, SyscallResult};
use sentry_net::NetlinkSink;
use sentry_uapi::Errno;
use sentry_uapi::errno::EINVAL;
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::mqueue::{MQ_PRIO_MAX, MqAttr, NOTIFY_COOKIE_LEN};
use sentry_uapi::signal::NSIG;
use sentry_uapi::time::Timespec;
use std::time::Instant;

/// sigevent(3type): kinds of notification.
const SIGEV_SIGNAL: i32 = 0;
const SIGEV_NONE: i32 = 1;
const SIGEV_THREAD: i32 = 2;

/// The parts of a `struct sigevent` that the kernel looks at: value, signal, kind.
fn read_sigevent(task: &CurrentTask, addr: Addr) -> Result<(u64, i32, i32), Errno> {
    /// `SIGEV_MAX_SIZE` in words.
    const WORDS: usize = 8;
    let [value, kinds, ..] = task.user()?.read_obj::<[u64; WORDS]>(addr.0)?;
    let half = |shift: u32| u32::try_from(kinds >> shift & 0xffff_ffff).unwrap_or(0).cast_signed();
    Ok((value, half(0), half(32)))
}

/// mq_open(2).
pub(crate) fn mq_open(
    task: &mut CurrentTask,
    name: PathAddr,
    flags: OFlags,
    mode: Mode,
    attr: Addr,
) -> SyscallResult {
    let attr: Option<MqAttr> = if attr.0 == 0 { None } else { Some(task.user()?.read_obj(attr.0)?) };
    let name = getname(task, name)?;
    let file = task.mq_open(&name, OpenFlags::from_bits_retain(flags.0), mode.0, attr)?;
    install(task, file, true)
}

/// mq_unlink(2).
pub(crate) fn mq_unlink(task: &mut CurrentTask, name: PathAddr) -> SyscallResult {
    let name = getname(task, name)?;
    done(task.mq_unlink(&name))
}

/// An absolute time on the wall clock. Linux: `prepare_timeout`.
fn read_timeout(task: &CurrentTask, addr: TimespecAddr) -> Result<Option<Instant>, Errno> {
    if addr.0 == 0 {
        return Ok(None);
    }
    let ts: Timespec = task.user()?.read_obj(addr.0)?;
    if !ts.is_valid() {
        return Err(EINVAL);
    }
    Ok(Some(deadline_on(task.kernel().clocks.realtime_nanos(), ts)))
}

/// mq_timedsend(2).
pub(crate) fn mq_timedsend(
    task: &mut CurrentTask,
    mqdes: Fd,
    msg: Addr,
    len: usize,
    priority: u32,
    timeout: TimespecAddr,
) -> SyscallResult {
    let deadline = read_timeout(task, timeout)?;
    if priority >= MQ_PRIO_MAX {
        return Err(EINVAL.into());
    }
    let file = get_file(task, mqdes)?;
    let mm = task.user()?.clone();
    let read = || {
        let mut text = vec![0; len];
        mm.copy_from_user(msg.0, &mut text)?;
        Ok(text)
    };
    done(task.mq_send(&file, priority, read, len, deadline))
}

/// mq_timedreceive(2).
pub(crate) fn mq_timedreceive(
    task: &mut CurrentTask,
    mqdes: Fd,
    msg: Addr,
    len: usize,
    priority: Addr,
    timeout: TimespecAddr,
) -> SyscallResult {
    let deadline = read_timeout(task, timeout)?;
    let file = get_file(task, mqdes)?;
    let (prio, text) = task.mq_receive(&file, len, deadline)?;
    let mm = task.user()?;
    if priority.0 != 0 {
        mm.write_obj(priority.0, &prio)?;
    }
    mm.copy_to_user(msg.0, &text)?;
    Ok(u64::try_from(text.len()).unwrap_or(u64::MAX))
}

/// mq_notify(2).
pub(crate) fn mq_notify(task: &mut CurrentTask, mqdes: Fd, event: Addr) -> SyscallResult {
    if event.0 == 0 {
        let file = get_file(task, mqdes)?;
        return done(task.mq_notify(&file, None));
    }
    let (value, signo, kind) = read_sigevent(task, event)?;
    let how = match kind {
        SIGEV_NONE => MqNotify::None,
        SIGEV_SIGNAL if !(0..=NSIG).contains(&signo) => return Err(EINVAL.into()),
        SIGEV_SIGNAL => MqNotify::Signal(signo, value),
        SIGEV_THREAD => {
            let cookie: [u8; NOTIFY_COOKIE_LEN] = task.user()?.read_obj(value)?;
            // The number of a socket takes the place of that of a signal.
            MqNotify::Thread(NetlinkSink::of(&*get_file(task, Fd(signo))?)?, cookie)
        }
        _ => return Err(EINVAL.into()),
    };
    let file = get_file(task, mqdes)?;
    done(task.mq_notify(&file, Some(how)))
}

/// mq_getsetattr(2).
pub(crate) fn mq_getsetattr(task: &mut CurrentTask, mqdes: Fd, new: Addr, old: Addr) -> SyscallResult {
    let nonblock = if new.0 == 0 {
        None
    } else {
        let attr: MqAttr = task.user()?.read_obj(new.0)?;
        let bit = i64::from(OpenFlags::NONBLOCK.bits());
        if attr.mq_flags & !bit != 0 {
            return Err(EINVAL.into());
        }
        Some(attr.mq_flags & bit != 0)
    };
    let file = get_file(task, mqdes)?;
    let attr = task.mq_getsetattr(&file, nonblock)?;
    if old.0 != 0 {
        task.user()?.write_obj(old.0, &attr)?;
    }
    Ok(0)
}
