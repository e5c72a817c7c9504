//! Hash buckets and plain wake-ups. Linux: kernel/futex/core.c, waitwake.c.

use crate::Task;
use sentry_mm::{FutexKey, MemoryManager};
use sentry_sync::{ANY_EVENT, Mutex, MutexGuard, Wake, WakeList, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, ENOSYS};
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Number of buckets.
const BUCKETS: usize = 256;

/// A waiter's own record.
pub(crate) struct Waiter {
    pub(crate) task: Arc<Task>,
    pub(crate) bitset: u32,
    /// Index among the words of futex_waitv(2).
    pub(crate) index: u32,
    /// How the wait ended, shared by all records of one wait.
    pub(crate) state: Arc<WaitState>,
    /// Waits to own a PI futex.
    pub(crate) pi: bool,
}

/// Outcome of a wait: which word woke it.
#[derive(Default)]
pub(crate) struct WaitState {
    /// 0 while waiting, else the index of the word plus one.
    woken: AtomicU32,
    /// Where FUTEX_REQUEUE has moved the only record of the wait.
    moved: Mutex<Option<FutexKey>, { level::LEAF }>,
}

impl WaitState {
    pub(crate) fn moved(&self, to: FutexKey) {
        *self.moved.lock() = Some(to);
    }

    pub(crate) fn woken(&self) -> Option<u32> {
        self.woken.load(Ordering::SeqCst).checked_sub(1)
    }

    /// Claims the wake-up; only the first to do so succeeds.
    fn claim(&self, index: u32) -> bool {
        self.woken.compare_exchange(0, index + 1, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

pub(crate) type Queue = VecDeque<(FutexKey, Waiter)>;
pub(crate) type Bucket = Mutex<Queue, { level::FUTEX }>;

/// All futexes of a kernel that somebody waits on.
pub struct FutexTable {
    buckets: Vec<Bucket>,
    hasher: RandomState,
}

impl FutexTable {
    pub(crate) fn new() -> FutexTable {
        FutexTable {
            buckets: (0..BUCKETS).map(|_| Mutex::new(VecDeque::new())).collect(),
            hasher: RandomState::new(),
        }
    }

    fn index(&self, key: &FutexKey) -> usize {
        usize::try_from(self.hasher.hash_one(key) % BUCKETS as u64).unwrap_or(0)
    }

    pub(crate) fn lock(&self, key: &FutexKey) -> MutexGuard<'_, Queue, { level::FUTEX }> {
        self.buckets[self.index(key)].lock()
    }

    /// Locks the buckets of two keys, in an order all agree on; one guard if they share a bucket.
    #[allow(clippy::type_complexity)]
    pub(crate) fn lock_two(
        &self,
        a: &FutexKey,
        b: &FutexKey,
    ) -> (MutexGuard<'_, Queue, { level::FUTEX }>, Option<MutexGuard<'_, Queue, { level::FUTEX }>>) {
        let (i, j) = (self.index(a), self.index(b));
        match i.cmp(&j) {
            std::cmp::Ordering::Equal => (self.buckets[i].lock(), None),
            std::cmp::Ordering::Less => {
                let first = self.buckets[i].lock();
                (first, Some(self.buckets[j].lock_nested()))
            }
            std::cmp::Ordering::Greater => {
                let second = self.buckets[j].lock();
                (self.buckets[i].lock_nested(), Some(second))
            }
        }
    }

    /// Removes every record of a wait.
    pub(crate) fn remove(&self, key: &FutexKey, state: &Arc<WaitState>) {
        self.lock(key).retain(|(_, w)| !Arc::ptr_eq(&w.state, state));
        // A record that is being moved right now is found where it arrives; it cannot move without saying so first.
        loop {
            let Some(moved) = state.moved.lock().take() else { return };
            self.lock(&moved).retain(|(_, w)| !Arc::ptr_eq(&w.state, state));
        }
    }

    /// FUTEX_WAKE_BITSET. Returns how many were woken.
    ///
    /// # Errors
    /// `EINVAL` for an empty bit set or a misaligned address, or a PI waiter.
    pub fn wake(
        &self,
        mm: &MemoryManager,
        addr: u64,
        private: bool,
        count: u32,
        bitset: u32,
    ) -> Result<u32, Errno> {
        if bitset == 0 || !addr.is_multiple_of(4) {
            return Err(EINVAL);
        }
        let key = mm.futex_key(addr, private)?;
        let mut list = WakeList::new();
        let mut queue = self.lock(&key);
        wake_queue(&mut queue, &key, count, bitset, &mut list)
    }

    /// FUTEX_WAKE_OP: changes the second word, wakes on the first, and on the second if its old value compares.
    ///
    /// # Errors
    /// `ENOSYS` for an operation that does not exist; those of a wake.
    pub fn wake_op(
        &self,
        mm: &MemoryManager,
        first: u64,
        second: u64,
        private: bool,
        counts: (u32, u32),
        op: u32,
    ) -> Result<u32, Errno> {
        if !first.is_multiple_of(4) || !second.is_multiple_of(4) {
            return Err(EINVAL);
        }
        let (key1, key2) = (mm.futex_key(first, private)?, mm.futex_key(second, private)?);
        let mut list = WakeList::new();
        let (mut queue1, mut queue2) = self.lock_two(&key1, &key2);
        let compares = atomic_op(mm, second, op)?;
        let mut woken = wake_queue(&mut queue1, &key1, counts.0, u32::MAX, &mut list)?;
        if compares {
            let queue = queue2.as_deref_mut().unwrap_or(&mut queue1);
            woken += wake_queue(queue, &key2, counts.1, u32::MAX, &mut list)?;
        }
        Ok(woken)
    }
}

/// Wakes up to `count` waiters of a key, oldest first.
pub(crate) fn wake_queue(
    queue: &mut Queue,
    key: &FutexKey,
    count: u32,
    bitset: u32,
    list: &mut WakeList,
) -> Result<u32, Errno> {
    let mut woken = 0;
    let mut at = 0;
    while woken < count {
        let Some((k, w)) = queue.get(at) else { break };
        if k != key || w.bitset & bitset == 0 {
            at += 1;
            continue;
        }
        if w.pi {
            return Err(EINVAL);
        }
        if let Some((_, w)) = queue.remove(at)
            && wake_one(&w, list)
        {
            woken += 1;
        }
    }
    Ok(woken)
}

/// Wakes a waiter that has been taken out of its queue; false if another word has woken it before.
pub(crate) fn wake_one(w: &Waiter, list: &mut WakeList) -> bool {
    let claimed = w.state.claim(w.index);
    if claimed {
        let parker: Arc<dyn Wake> = w.task.parker.clone();
        list.wake(&parker, ANY_EVENT);
    }
    claimed
}

/// Carries out the encoded operation and comparison. Linux: `futex_atomic_op_inuser`.
fn atomic_op(mm: &MemoryManager, addr: u64, encoded: u32) -> Result<bool, Errno> {
    const OPARG_SHIFT: u32 = 8;
    let op = (encoded >> 28) & 0xf;
    let cmp = (encoded >> 24) & 0xf;
    // Both arguments are signed numbers of 12 bits.
    let sign_extend = |n: u32| ((n << 20).cast_signed() >> 20).cast_unsigned();
    let mut arg = sign_extend((encoded >> 12) & 0xfff);
    let cmp_arg = sign_extend(encoded & 0xfff);
    if op & OPARG_SHIFT != 0 {
        arg = 1u32.wrapping_shl(arg & 31);
    }
    let mut old = mm.load_u32(addr)?;
    loop {
        let new = match op & 7 {
            0 => arg,
            1 => old.wrapping_add(arg),
            2 => old | arg,
            3 => old & !arg,
            4 => old ^ arg,
            _ => return Err(ENOSYS),
        };
        let seen = mm.cmpxchg_u32(addr, old, new)?;
        if seen == old {
            break;
        }
        old = seen;
    }
    let (a, b) = (old.cast_signed(), cmp_arg.cast_signed());
    Ok(match cmp {
        0 => a == b,
        1 => a != b,
        2 => a < b,
        3 => a <= b,
        4 => a > b,
        5 => a >= b,
        _ => return Err(ENOSYS),
    })
}
