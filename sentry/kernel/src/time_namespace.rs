//! Linux: kernel/time/namespace.c.

use crate::nsproxy::count;
use fs_vfs::{Namespace, NsKind};
use sentry_auth::{Kuid, Ucount, UcountType, UserNamespace};
use sentry_sync::{Mutex, level};
use sentry_time::Clocks;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, EINVAL, ERANGE};
use sentry_uapi::time::Timespec;
use std::sync::Arc;

/// Number of the first one. Linux: include/linux/proc_ns.h, `PROC_TIME_INIT_INO`.
const TIME_INIT_INO: u64 = 0xefff_fffa;
const NSEC_PER_SEC: i64 = 1_000_000_000;
/// Longest time that can be counted in nanoseconds. Linux: `KTIME_SEC_MAX`.
const KTIME_SEC_MAX: i64 = i64::MAX / NSEC_PER_SEC;

/// A clock that a time namespace moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetClock {
    /// CLOCK_MONOTONIC, and its coarse and raw forms.
    Monotonic,
    /// CLOCK_BOOTTIME, and its form for alarms.
    Boottime,
}

/// How far clocks are ahead of the kernel's.
#[derive(Clone, Copy, Debug, Default)]
pub struct TimeOffsets {
    /// Of CLOCK_MONOTONIC.
    pub monotonic: Timespec,
    /// Of CLOCK_BOOTTIME.
    pub boottime: Timespec,
}

struct State {
    offsets: TimeOffsets,
    /// A task is in it: time must not jump any more.
    frozen: bool,
}

/// Offsets of the monotonic and boot-time clocks.
pub struct TimeNamespace {
    inum: u64,
    /// Owner.
    pub user_ns: Arc<UserNamespace>,
    state: Mutex<State, { level::LEAF }>,
    _ucount: Option<Ucount>,
}

impl TimeNamespace {
    pub(crate) fn new_initial(user_ns: Arc<UserNamespace>) -> Arc<TimeNamespace> {
        let state = Mutex::new(State { offsets: TimeOffsets::default(), frozen: true });
        Arc::new(TimeNamespace { inum: TIME_INIT_INO, user_ns, state, _ucount: None })
    }

    /// One with the same offsets, which can be set until a task enters. Linux: `clone_time_ns`.
    pub(crate) fn clone_time_ns(
        &self,
        user_ns: &Arc<UserNamespace>,
        creator: Kuid,
    ) -> Result<Arc<TimeNamespace>, Errno> {
        let _ucount = count(user_ns, creator, UcountType::TimeNamespaces)?;
        let state = Mutex::new(State { offsets: self.offsets(), frozen: false });
        Ok(Arc::new(TimeNamespace { inum: user_ns.alloc_inum(), user_ns: user_ns.clone(), state, _ucount }))
    }

    /// The offsets.
    pub fn offsets(&self) -> TimeOffsets {
        self.state.lock().offsets
    }

    /// How far one clock is ahead, in nanoseconds.
    pub fn offset(&self, clock: OffsetClock) -> i64 {
        let offsets = self.offsets();
        match clock {
            OffsetClock::Monotonic => offsets.monotonic.to_nanos(),
            OffsetClock::Boottime => offsets.boottime.to_nanos(),
        }
    }

    /// The time on the kernel's own clock when the namespace's shows `time`; not before its beginning. Linux:
    /// `timens_ktime_to_host`.
    pub fn to_host(&self, clock: OffsetClock, time: i64) -> i64 {
        time.saturating_sub(self.offset(clock)).max(0)
    }

    /// Whether its clocks are the kernel's own.
    pub fn is_plain(&self) -> bool {
        let TimeOffsets { monotonic, boottime } = self.offsets();
        monotonic == Timespec::default() && boottime == Timespec::default()
    }

    /// A task enters. Linux: `timens_commit`.
    pub(crate) fn freeze(&self) {
        self.state.lock().frozen = true;
    }

    /// Sets offsets, all or none. Linux: `proc_timens_set_offset`.
    ///
    /// # Errors
    /// `ERANGE` for an offset that moves a clock below zero or too far; `EINVAL` for nanoseconds that are none; `EACCES`
    /// once a task is inside.
    pub fn set_offsets(&self, clocks: &Clocks, new: &[(OffsetClock, Timespec)]) -> Result<(), Errno> {
        for (clock, offset) in new {
            let now = match clock {
                OffsetClock::Monotonic => clocks.monotonic(),
                OffsetClock::Boottime => clocks.boottime(),
            };
            if !(-KTIME_SEC_MAX..=KTIME_SEC_MAX).contains(&offset.tv_sec) {
                return Err(ERANGE);
            }
            if !(0..NSEC_PER_SEC).contains(&offset.tv_nsec) {
                return Err(EINVAL);
            }
            let sum = i128::from(now)
                + i128::from(offset.tv_sec) * i128::from(NSEC_PER_SEC)
                + i128::from(offset.tv_nsec);
            if sum < 0 || sum / i128::from(NSEC_PER_SEC) > i128::from(KTIME_SEC_MAX / 2) {
                return Err(ERANGE);
            }
        }
        let mut state = self.state.lock();
        if state.frozen {
            return Err(EACCES);
        }
        for (clock, offset) in new {
            match clock {
                OffsetClock::Monotonic => state.offsets.monotonic = *offset,
                OffsetClock::Boottime => state.offsets.boottime = *offset,
            }
        }
        Ok(())
    }
}

impl Namespace for TimeNamespace {
    fn kind(&self) -> NsKind {
        NsKind::Time
    }

    fn inum(&self) -> u64 {
        self.inum
    }

    fn owner(&self) -> Option<Arc<UserNamespace>> {
        Some(self.user_ns.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_set_until_a_task_enters() {
        let user_ns = UserNamespace::new_initial();
        let clocks = Clocks::scripted();
        let first = TimeNamespace::new_initial(user_ns.clone());
        let ts = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
        let day = [(OffsetClock::Monotonic, ts(86400, 5))];
        assert_eq!(first.set_offsets(&clocks, &day), Err(EACCES));
        let Ok(ns) = first.clone_time_ns(&user_ns, Kuid::GLOBAL_ROOT) else { return };
        assert!(ns.is_plain());
        let too_low = [day[0], (OffsetClock::Boottime, ts(-1, 0))];
        assert_eq!(ns.set_offsets(&clocks, &too_low), Err(ERANGE));
        assert!(ns.is_plain());
        assert_eq!(ns.set_offsets(&clocks, &[(OffsetClock::Boottime, ts(i64::MAX, 0))]), Err(ERANGE));
        assert_eq!(ns.set_offsets(&clocks, &day), Ok(()));
        assert_eq!(ns.offset(OffsetClock::Monotonic), 86_400_000_000_005);
        ns.freeze();
        assert_eq!(ns.set_offsets(&clocks, &day), Err(EACCES));
    }
}
