//! Priority-inheritance futexes. Linux: kernel/futex/pi.c. The host schedules, so no priority is lent; ownership, the
//! word's protocol and the errors are Linux's.

use crate::CurrentTask;
use crate::futex::bucket::{FutexTable, Queue, WaitState, Waiter, wake_one};
use crate::futex::{FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS};
use sentry_mm::{FutexKey, MemoryManager};
use sentry_sync::WakeList;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, EDEADLK, EINVAL, EPERM, ESRCH};
use std::sync::Arc;
use std::time::Instant;

enum Attempt {
    Owned,
    Queued(FutexKey),
}

impl CurrentTask {
    fn futex_tid(&self) -> u32 {
        self.pid().nr_in(&self.pid_ns())
    }

    /// FUTEX_LOCK_PI and FUTEX_TRYLOCK_PI (`try_only`).
    ///
    /// # Errors
    /// `EDEADLK` if the caller owns it, `ESRCH` if the owner does not exist, `EAGAIN` for a failed try, `ETIMEDOUT`,
    /// `ERESTARTSYS` on a signal.
    pub fn futex_lock_pi(
        &mut self,
        addr: u64,
        private: bool,
        deadline: Option<Instant>,
        try_only: bool,
    ) -> Result<(), Errno> {
        if !addr.is_multiple_of(4) {
            return Err(EINVAL);
        }
        let state = Arc::new(WaitState::default());
        let key = match self.try_lock_pi(addr, private, &state, try_only)? {
            Attempt::Owned => return Ok(()),
            Attempt::Queued(key) => key,
        };
        let kernel = self.kernel().clone();
        let result = self.sleep_on_futex(&state, deadline);
        kernel.futexes.remove(&key, &state);
        match (state.woken(), result) {
            // The one who woke us has put our id into the word.
            (Some(_), _) | (None, Ok(())) => Ok(()),
            (None, Err(e)) => Err(e),
        }
    }

    fn try_lock_pi(
        &self,
        addr: u64,
        private: bool,
        state: &Arc<WaitState>,
        try_only: bool,
    ) -> Result<Attempt, Errno> {
        let mm = self.user()?;
        let tid = self.futex_tid();
        let key = mm.futex_key(addr, private)?;
        let mut queue = self.kernel().futexes.lock(&key);
        let mut value = mm.load_u32(addr)?;
        loop {
            let owner = value & FUTEX_TID_MASK;
            if owner == tid {
                return Err(EDEADLK);
            }
            let new = if owner == 0 {
                let waiters = if has_waiter(&queue, &key) { FUTEX_WAITERS } else { 0 };
                tid | (value & FUTEX_OWNER_DIED) | waiters
            } else {
                if try_only {
                    return Err(EAGAIN);
                }
                value | FUTEX_WAITERS
            };
            let seen = if new == value { value } else { mm.cmpxchg_u32(addr, value, new)? };
            if seen != value {
                value = seen;
                continue;
            }
            if owner == 0 {
                return Ok(Attempt::Owned);
            }
            break;
        }
        if self.pid_ns().find(value & FUTEX_TID_MASK).is_none() {
            return Err(ESRCH);
        }
        let waiter =
            Waiter { task: self.task().clone(), bitset: u32::MAX, index: 0, state: state.clone(), pi: true };
        queue.push_back((key, waiter));
        Ok(Attempt::Queued(key))
    }

    /// FUTEX_UNLOCK_PI.
    ///
    /// # Errors
    /// `EPERM` if the caller does not own it.
    pub fn futex_unlock_pi(&mut self, addr: u64, private: bool) -> Result<(), Errno> {
        if !addr.is_multiple_of(4) {
            return Err(EINVAL);
        }
        let mm = self.user()?.clone();
        if mm.load_u32(addr)? & FUTEX_TID_MASK != self.futex_tid() {
            return Err(EPERM);
        }
        let key = mm.futex_key(addr, private)?;
        self.kernel().futexes.unlock_pi(&mm, addr, &key, 0)
    }
}

impl FutexTable {
    /// Gives the lock to the longest waiter, or frees it. `keep` are bits that stay in the word.
    fn unlock_pi(&self, mm: &MemoryManager, addr: u64, key: &FutexKey, keep: u32) -> Result<(), Errno> {
        let mut list = WakeList::new();
        let mut queue = self.lock(key);
        let next = queue.iter().position(|(k, w)| k == key && w.pi);
        let next = next.and_then(|at| queue.remove(at)).map(|(_, w)| w);
        let mut value = mm.load_u32(addr)?;
        loop {
            let new = match &next {
                Some(w) => {
                    let waiters = if has_waiter(&queue, key) { FUTEX_WAITERS } else { 0 };
                    w.task.pid().nr_in(&w.task.pid_ns()) | waiters | keep
                }
                None => keep,
            };
            let seen = mm.cmpxchg_u32(addr, value, new)?;
            if seen == value {
                break;
            }
            value = seen;
        }
        if let Some(w) = next {
            wake_one(&w, &mut list);
        }
        Ok(())
    }

    /// The owner of a robust PI futex has died.
    pub(crate) fn hand_over_pi(&self, mm: &MemoryManager, addr: u64) {
        for private in [true, false] {
            if let Ok(key) = mm.futex_key(addr, private)
                && has_waiter(&self.lock(&key), &key)
            {
                let _ = self.unlock_pi(mm, addr, &key, FUTEX_OWNER_DIED);
                return;
            }
        }
    }
}

fn has_waiter(queue: &Queue, key: &FutexKey) -> bool {
    queue.iter().any(|(k, w)| k == key && w.pi)
}
