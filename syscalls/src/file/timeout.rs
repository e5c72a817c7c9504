//! Time-outs of select(2), poll(2) and their kin. Linux: fs/select.c, `poll_select_set_timeout`, `poll_select_finish`.

use crate::arg::{Addr, SigSetAddr, TimespecAddr};
use sentry_kernel::CurrentTask;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINTR, EINVAL, ERESTARTNOHAND};
use sentry_uapi::signal::SigSet;
use sentry_uapi::time::{Timespec, Timeval};
use std::time::{Duration, Instant};

/// When a call gives up waiting.
#[derive(Clone, Copy)]
pub(crate) struct Timeout {
    /// None: never.
    pub(crate) deadline: Option<Instant>,
    /// It does not wait at all.
    pub(crate) zero: bool,
}

/// In what form a call tells the time left.
pub(crate) enum TimeLeft {
    /// `struct timespec`.
    Timespec(TimespecAddr),
    /// `struct timeval`.
    Timeval(Addr),
}

impl Timeout {
    /// Waits for ever.
    pub(crate) const NEVER: Timeout = Timeout { deadline: None, zero: false };

    /// After a span of time.
    pub(crate) fn after(span: Duration) -> Timeout {
        Timeout { deadline: Instant::now().checked_add(span), zero: span.is_zero() }
    }

    /// In milliseconds; negative for never.
    pub(crate) fn from_millis(ms: i32) -> Timeout {
        u64::try_from(ms).map_or(Timeout::NEVER, |ms| Timeout::after(Duration::from_millis(ms)))
    }

    /// From a span.
    ///
    /// # Errors
    /// `EINVAL` if it is none.
    pub(crate) fn from_timespec(ts: Timespec) -> Result<Timeout, Errno> {
        let (Ok(sec), Ok(nsec)) = (u64::try_from(ts.tv_sec), u32::try_from(ts.tv_nsec)) else {
            return Err(EINVAL);
        };
        if !ts.is_valid() {
            return Err(EINVAL);
        }
        Ok(Timeout::after(Duration::new(sec, nsec)))
    }

    /// From guest memory; a null address is for ever.
    ///
    /// # Errors
    /// `EFAULT`, `EINVAL`.
    pub(crate) fn read_timespec(task: &CurrentTask, addr: TimespecAddr) -> Result<Timeout, Errno> {
        if addr.0 == 0 {
            return Ok(Timeout::NEVER);
        }
        Timeout::from_timespec(task.user()?.read_obj(addr.0)?)
    }

    /// From a `struct timeval`, whose microseconds may be more than a second.
    ///
    /// # Errors
    /// `EFAULT`, `EINVAL`.
    pub(crate) fn read_timeval(task: &CurrentTask, addr: Addr) -> Result<Timeout, Errno> {
        if addr.0 == 0 {
            return Ok(Timeout::NEVER);
        }
        let tv: Timeval = task.user()?.read_obj(addr.0)?;
        let tv_sec = tv.tv_sec.checked_add(tv.tv_usec / 1_000_000).ok_or(EINVAL)?;
        Timeout::from_timespec(Timespec { tv_sec, tv_nsec: tv.tv_usec % 1_000_000 * 1000 })
    }

    /// Ends a call that tells the time left and may have swapped the mask of signals. Linux: `poll_select_finish`.
    pub(crate) fn finish(
        self,
        task: &mut CurrentTask,
        result: Result<usize, Errno>,
        left: &TimeLeft,
    ) -> Result<usize, Errno> {
        task.restore_temporary_mask(result == Err(ERESTARTNOHAND));
        let Some(deadline) = self.deadline.filter(|_| !self.zero) else { return result };
        let span = deadline.saturating_duration_since(Instant::now());
        let tv_sec = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        let told = task.user().and_then(|mm| match left {
            TimeLeft::Timespec(addr) if addr.0 != 0 => {
                mm.write_obj(addr.0, &Timespec { tv_sec, tv_nsec: span.subsec_nanos().into() })
            }
            TimeLeft::Timeval(addr) if addr.0 != 0 => {
                mm.write_obj(addr.0, &Timeval { tv_sec, tv_usec: span.subsec_micros().into() })
            }
            _ => Ok(()),
        });
        match (told, result) {
            // A time that cannot be told would be waited for anew by a restart.
            (Err(_), Err(ERESTARTNOHAND)) => Err(EINTR),
            (_, result) => result,
        }
    }
}

/// Swaps the mask of signals for the duration of a call. Linux: kernel/signal.c, `set_user_sigmask`.
///
/// # Errors
/// `EINVAL` for a size that is not that of a set; `EFAULT`.
pub(crate) fn set_user_sigmask(task: &mut CurrentTask, mask: SigSetAddr, size: usize) -> Result<(), Errno> {
    if mask.0 == 0 {
        return Ok(());
    }
    if size != size_of::<u64>() {
        return Err(EINVAL);
    }
    let set = SigSet(task.user()?.read_obj(mask.0)?);
    task.set_temporary_mask(set);
    Ok(())
}
