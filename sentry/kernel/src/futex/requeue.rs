//! FUTEX_REQUEUE and FUTEX_CMP_REQUEUE. Linux: kernel/futex/requeue.c.

use crate::futex::bucket::{FutexTable, Queue, wake_queue};
use sentry_mm::MemoryManager;
use sentry_sync::WakeList;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, EINVAL};

impl FutexTable {
    /// Wakes `wake` waiters of the first word and moves up to `requeue` others to the second; `expected` is the value
    /// the first word must have. Returns how many were woken or moved.
    ///
    /// # Errors
    /// `EAGAIN` if the word has another value; `EINVAL`; `EFAULT`.
    pub fn requeue(
        &self,
        mm: &MemoryManager,
        first: u64,
        second: u64,
        private: bool,
        counts: (u32, u32),
        expected: Option<u32>,
    ) -> Result<u32, Errno> {
        if !first.is_multiple_of(4) || !second.is_multiple_of(4) {
            return Err(EINVAL);
        }
        let (key1, key2) = (mm.futex_key(first, private)?, mm.futex_key(second, private)?);
        let mut list = WakeList::new();
        let (mut queue1, mut queue2) = self.lock_two(&key1, &key2);
        if let Some(expected) = expected
            && mm.load_u32(first)? != expected
        {
            return Err(EAGAIN);
        }
        let mut done = wake_queue(&mut queue1, &key1, counts.0, u32::MAX, &mut list)?;
        if key1 == key2 {
            let rest = queue1.iter().filter(|(k, _)| *k == key1).count();
            return Ok(done + u32::try_from(rest).unwrap_or(u32::MAX).min(counts.1));
        }
        let mut moved = Queue::new();
        let mut left = counts.1;
        let mut at = 0;
        while left > 0 {
            let Some((k, w)) = queue1.get(at) else { break };
            if *k != key1 {
                at += 1;
                continue;
            }
            if w.pi {
                return Err(EINVAL);
            }
            if let Some((_, w)) = queue1.remove(at) {
                w.state.moved(key2);
                moved.push_back((key2, w));
                left -= 1;
                done += 1;
            }
        }
        queue2.as_deref_mut().unwrap_or(&mut queue1).extend(moved);
        Ok(done)
    }
}
