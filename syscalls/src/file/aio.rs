//! Linux: fs/aio.c.

use super::iov::UserIov;
use super::read_write::{do_iter_read, do_iter_write, may_read, may_write, rw_flags, verify_area};
use super::user::{done, get_file};
use super::{Timeout, timeout::set_user_sigmask};
use crate::arg::{Addr, Fd, SigSetAddr, TimespecAddr};
use fs_vfs::{File, TaskContext, eventfd_fget, eventfd_signal, wait_event};
use sentry_kernel::{CurrentTask, Kioctx, SyscallExit, SyscallResult};
use sentry_uapi::Errno;
use sentry_uapi::aio_abi::*;
use sentry_uapi::errno::{
    EFAULT, EINTR, EINVAL, ERESTART_RESTARTBLOCK, ERESTARTNOHAND, ERESTARTNOINTR, ERESTARTSYS,
};
use sentry_uapi::time::Timespec;
use std::sync::Arc;

/// Bytes of an event.
const EVENT_LEN: u64 = 32;
/// Offset of `aio_key`.
const KEY_OFFSET: u64 = 8;
/// Requests one call submits at most, whatever the context takes.
const SUBMIT_MAX: i64 = 1 << 20;

/// io_setup(2).
pub(crate) fn io_setup(task: &mut CurrentTask, nr_events: u32, ctx: Addr) -> SyscallResult {
    let mm = task.user()?.clone();
    let old: u64 = mm.read_obj(ctx.0)?;
    if old != 0 || nr_events == 0 {
        return Err(EINVAL.into());
    }
    let id = task.io_setup(nr_events)?;
    if let Err(e) = mm.write_obj(ctx.0, &id) {
        task.io_destroy(id)?;
        return Err(e.into());
    }
    Ok(0)
}

/// io_destroy(2).
pub(crate) fn io_destroy(task: &mut CurrentTask, ctx: Addr) -> SyscallResult {
    done(task.io_destroy(ctx.0))
}

/// io_submit(2).
pub(crate) fn io_submit(task: &mut CurrentTask, ctx: Addr, nr: i64, iocbs: Addr) -> SyscallResult {
    if nr < 0 {
        return Err(EINVAL.into());
    }
    let kioctx = task.lookup_ioctx(ctx.0)?;
    let nr = nr.min(kioctx.nr_events().into()).min(SUBMIT_MAX);
    let mm = task.user()?.clone();
    let mut submitted = 0;
    let mut at = iocbs.0;
    while submitted < nr {
        let one = mm.read_obj::<u64>(at).and_then(|addr| submit_one(task, &kioctx, addr));
        match one {
            Ok(()) => {}
            Err(_) if submitted > 0 => break,
            Err(e) => return Err(e.into()),
        }
        submitted += 1;
        at = at.wrapping_add(8);
    }
    Ok(submitted.unsigned_abs())
}

/// Linux: `io_submit_one`.
fn submit_one(task: &CurrentTask, ctx: &Arc<Kioctx>, addr: u64) -> Result<(), Errno> {
    let iocb: Iocb = task.user()?.read_obj(addr)?;
    if iocb.aio_reserved2 != 0 || i64::try_from(iocb.aio_nbytes).is_err() {
        return Err(EINVAL);
    }
    ctx.get_req()?;
    let result = start(task, ctx, &iocb, addr);
    match result {
        // Outstanding.
        Ok(None) => Ok(()),
        Ok(Some((res, eventfd))) => {
            ctx.complete(&IoEvent { data: iocb.aio_data, obj: addr, res, res2: 0 });
            if let Some(eventfd) = eventfd {
                // A counter at its maximum stays there.
                let _ = eventfd_signal(&eventfd);
            }
            Ok(())
        }
        Err(e) => {
            ctx.put_req();
            Err(e)
        }
    }
}

type Outcome = Option<(i64, Option<Arc<File>>)>;

/// Linux: `__io_submit_one`.
fn start(task: &CurrentTask, ctx: &Arc<Kioctx>, iocb: &Iocb, addr: u64) -> Result<Outcome, Errno> {
    let file = get_file(task, Fd(iocb.aio_fildes))?;
    let eventfd = if iocb.aio_flags & IOCB_FLAG_RESFD != 0 {
        let eventfd = get_file(task, Fd(iocb.aio_resfd))?;
        eventfd_fget(&eventfd)?;
        Some(eventfd)
    } else {
        None
    };
    // KIOCB_KEY.
    task.user()?.write_obj(addr.checked_add(KEY_OFFSET).ok_or(EFAULT)?, &0_u32)?;
    let res = match iocb.aio_lio_opcode {
        IOCB_CMD_PREAD | IOCB_CMD_PREADV => transfer(task, &file, iocb, false)?,
        IOCB_CMD_PWRITE | IOCB_CMD_PWRITEV => transfer(task, &file, iocb, true)?,
        IOCB_CMD_FSYNC | IOCB_CMD_FDSYNC => {
            let used = iocb.aio_buf != 0 || iocb.aio_offset != 0 || iocb.aio_nbytes != 0;
            if used || iocb.aio_rw_flags != 0 {
                return Err(EINVAL);
            }
            match file.ops().fsync(&file, iocb.aio_lio_opcode == IOCB_CMD_FDSYNC) {
                // It cannot be synced at all.
                Err(EINVAL) => return Err(EINVAL),
                result => result_of(result.map(|()| 0)),
            }
        }
        IOCB_CMD_POLL => {
            let events = u16::try_from(iocb.aio_buf).map_err(|_| EINVAL)?;
            if iocb.aio_offset != 0 || iocb.aio_nbytes != 0 || iocb.aio_rw_flags != 0 {
                return Err(EINVAL);
            }
            if !file.ops().pollable() {
                return Err(EINVAL);
            }
            ctx.poll(&file, eventfd, events.into(), iocb.aio_data, addr)?;
            return Ok(None);
        }
        _ => return Err(EINVAL),
    };
    Ok(Some((res, eventfd)))
}

/// Reads or writes. What goes wrong before it begins is the caller's error; what goes wrong later, the event's. Linux:
/// `aio_read`, `aio_write`.
fn transfer(task: &CurrentTask, file: &File, iocb: &Iocb, write: bool) -> Result<i64, Errno> {
    let flags = rw_flags(iocb.aio_rw_flags)?;
    if write {
        may_write(file)?;
    } else {
        may_read(file)?;
    }
    let vectored = matches!(iocb.aio_lio_opcode, IOCB_CMD_PREADV | IOCB_CMD_PWRITEV);
    let iov = if vectored {
        UserIov::import(task, iocb.aio_buf, iocb.aio_nbytes)?
    } else {
        UserIov::single(iocb.aio_buf, usize::try_from(iocb.aio_nbytes).map_err(|_| EINVAL)?)?
    };
    let pos =
        if file.ops().seekable() { Some(u64::try_from(iocb.aio_offset).map_err(|_| EINVAL)?) } else { None };
    verify_area(pos, iov.len())?;
    let result = if write {
        do_iter_write(task, file, iov, pos, flags)
    } else {
        do_iter_read(task, file, iov, pos, flags)
    };
    Ok(match result {
        Ok(n) => i64::try_from(n).unwrap_or(i64::MAX),
        Err(SyscallExit::Errno(e)) => result_of(Err(e)),
        Err(SyscallExit::NoReturn) => 0,
    })
}

/// The result in an event: nothing is ever restarted. Linux: `aio_rw_done`.
fn result_of(result: Result<i64, Errno>) -> i64 {
    match result {
        Ok(n) => n,
        Err(ERESTARTSYS | ERESTARTNOINTR | ERESTARTNOHAND | ERESTART_RESTARTBLOCK) => -i64::from(EINTR.raw()),
        Err(e) => -i64::from(e.raw()),
    }
}

/// io_cancel(2).
pub(crate) fn io_cancel(task: &mut CurrentTask, ctx: Addr, iocb: Addr, _result: Addr) -> SyscallResult {
    let key: u32 = task.user()?.read_obj(iocb.0.checked_add(KEY_OFFSET).ok_or(EFAULT)?)?;
    if key != 0 {
        return Err(EINVAL.into());
    }
    done(task.lookup_ioctx(ctx.0)?.cancel(iocb.0))
}

/// io_getevents(2).
pub(crate) fn io_getevents(
    task: &mut CurrentTask,
    ctx: Addr,
    min_nr: i64,
    nr: i64,
    events: Addr,
    timeout: TimespecAddr,
) -> SyscallResult {
    let timeout = read_timeout(task, timeout)?;
    match getevents(task, ctx, min_nr, nr, events, timeout) {
        Err(ERESTARTSYS) => Err(EINTR.into()),
        result => Ok(result?),
    }
}

/// io_pgetevents(2).
pub(crate) fn io_pgetevents(
    task: &mut CurrentTask,
    ctx: Addr,
    min_nr: i64,
    nr: i64,
    events: Addr,
    timeout: TimespecAddr,
    sig: Addr,
) -> SyscallResult {
    let timeout = read_timeout(task, timeout)?;
    if sig.0 != 0 {
        let [mask, size]: [u64; 2] = task.user()?.read_obj(sig.0)?;
        set_user_sigmask(task, SigSetAddr(mask), usize::try_from(size).map_err(|_| EINVAL)?)?;
    }
    let result = getevents(task, ctx, min_nr, nr, events, timeout);
    task.restore_temporary_mask(result == Err(ERESTARTSYS));
    match result {
        Err(ERESTARTSYS) => Err(ERESTARTNOHAND.into()),
        result => Ok(result?),
    }
}

/// A time-out that is not checked for sense: one in the past is none to wait for.
fn read_timeout(task: &CurrentTask, addr: TimespecAddr) -> Result<Timeout, Errno> {
    if addr.0 == 0 {
        return Ok(Timeout::NEVER);
    }
    let ts: Timespec = task.user()?.read_obj(addr.0)?;
    let nanos = u64::try_from(ts.to_nanos()).unwrap_or(0);
    Ok(Timeout::after(std::time::Duration::from_nanos(nanos)))
}

/// Linux: `do_io_getevents`, `read_events`.
fn getevents(
    task: &CurrentTask,
    ctx: Addr,
    min_nr: i64,
    nr: i64,
    events: Addr,
    timeout: Timeout,
) -> Result<u64, Errno> {
    let kioctx = task.lookup_ioctx(ctx.0)?;
    if min_nr > nr || min_nr < 0 {
        return Err(EINVAL);
    }
    let (min, max) = (usize::try_from(min_nr).unwrap_or(0), usize::try_from(nr).unwrap_or(usize::MAX));
    let mm = task.user()?.clone();
    let mut got = 0_usize;
    let mut look = || -> Option<Result<(), Errno>> {
        let from = events.0.wrapping_add(u64::try_from(got).unwrap_or(0).wrapping_mul(EVENT_LEN));
        let read = kioctx.read_events(max - got, |at, part| {
            let at = u64::try_from(at).unwrap_or(0).wrapping_mul(EVENT_LEN);
            mm.write_obj(from.wrapping_add(at), part)
        });
        match read {
            Ok(n) => got += n,
            Err(e) => return Some(Err(e)),
        }
        if kioctx.is_dead() && got == 0 {
            return Some(Err(EINVAL));
        }
        (got >= min).then_some(Ok(()))
    };
    let waited = if timeout.zero {
        Ok(look())
    } else {
        let ctx: &dyn TaskContext = task;
        wait_event(ctx, &kioctx.wait, timeout.deadline, &mut look)
    };
    match waited {
        Err(e) if got == 0 => Err(e),
        Ok(Some(Err(e))) if got == 0 => Err(e),
        _ => Ok(u64::try_from(got).unwrap_or(u64::MAX)),
    }
}
