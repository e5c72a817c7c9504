//! Sleeping until a condition holds. Linux: include/linux/wait.h, `wait_event_interruptible`.

use crate::{File, PollTable, Sleep, TaskContext};
use sentry_sync::{ANY_EVENT, WaitQueue};
use sentry_uapi::Errno;
use sentry_uapi::errno::EAGAIN;
use std::time::Instant;

/// Sleeps on `queue` until `cond` gives a value, or gives `None` when the deadline passes.
///
/// # Errors
/// `ERESTARTSYS` when a signal is pending.
pub fn wait_event<T>(
    ctx: &dyn TaskContext,
    queue: &WaitQueue,
    deadline: Option<Instant>,
    mut cond: impl FnMut() -> Option<T>,
) -> Result<Option<T>, Errno> {
    if let Some(value) = cond() {
        return Ok(Some(value));
    }
    let _registration = queue.register(ANY_EVENT, ctx.waker());
    loop {
        if let Some(value) = cond() {
            return Ok(Some(value));
        }
        if ctx.sleep(deadline)? == Sleep::TimedOut {
            return Ok(cond());
        }
    }
}

/// Repeats `op` on a file until it stops saying `EAGAIN`, sleeping for `events` in between.
///
/// # Errors
/// Those of `op`; `EAGAIN` when the deadline passes; `ERESTARTSYS` when a signal is pending.
pub fn block_on_file<T>(
    ctx: &dyn TaskContext,
    file: &File,
    events: u32,
    deadline: Option<Instant>,
    mut op: impl FnMut() -> Result<T, Errno>,
) -> Result<T, Errno> {
    match op() {
        Err(EAGAIN) => {}
        done => return done,
    }
    let mut table = PollTable::for_io(events, ctx.waker());
    file.ops().poll_for(file, ctx, &mut table);
    loop {
        table.rearm();
        match op() {
            Err(EAGAIN) => {}
            done => return done,
        }
        let ended = match ctx.sleep(deadline) {
            Ok(Sleep::Woken) => continue,
            Ok(Sleep::TimedOut) => EAGAIN,
            Err(e) => e,
        };
        // Off the queues first: a wake-up that chose this task of several is then acted upon, and not lost.
        drop(table);
        return match op() {
            Err(EAGAIN) => Err(ended),
            done => done,
        };
    }
}
