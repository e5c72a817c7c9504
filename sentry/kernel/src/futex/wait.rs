//! Waiting. Linux: kernel/futex/waitwake.c, `futex_wait`, `futex_wait_multiple`.

use crate::CurrentTask;
use crate::futex::bucket::{WaitState, Waiter};
use fs_vfs::{Sleep, TaskContext};
use sentry_mm::FutexKey;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, EINVAL, ETIMEDOUT};
use std::sync::Arc;
use std::time::Instant;

/// One word of futex_waitv(2).
#[derive(Clone, Copy, Debug)]
pub struct FutexWaitv {
    /// Address of the word.
    pub addr: u64,
    /// Value it must have.
    pub value: u32,
    /// Not shared between processes.
    pub private: bool,
}

impl CurrentTask {
    /// FUTEX_WAIT_BITSET: sleeps if the word has the value, until it is woken.
    ///
    /// # Errors
    /// `EAGAIN` if it has another value, `ETIMEDOUT`, `EINVAL`, `EFAULT`, `ERESTARTSYS` on a signal.
    pub fn futex_wait(
        &mut self,
        word: FutexWaitv,
        bitset: u32,
        deadline: Option<Instant>,
    ) -> Result<(), Errno> {
        if bitset == 0 {
            return Err(EINVAL);
        }
        self.wait_on_words(&[word], bitset, deadline).map(drop)
    }

    /// futex_waitv(2): returns the index of a word that was woken.
    ///
    /// # Errors
    /// As [`CurrentTask::futex_wait`].
    pub fn futex_wait_multiple(
        &mut self,
        words: &[FutexWaitv],
        deadline: Option<Instant>,
    ) -> Result<u32, Errno> {
        self.wait_on_words(words, u32::MAX, deadline)
    }

    fn wait_on_words(
        &mut self,
        words: &[FutexWaitv],
        bitset: u32,
        deadline: Option<Instant>,
    ) -> Result<u32, Errno> {
        let mm = self.user()?.clone();
        let kernel = self.kernel().clone();
        let state = Arc::new(WaitState::default());
        let mut queued: Vec<FutexKey> = Vec::with_capacity(words.len());
        let mut failed = None;
        for (index, word) in (0u32..).zip(words) {
            let step = || -> Result<FutexKey, Errno> {
                if !word.addr.is_multiple_of(4) {
                    return Err(EINVAL);
                }
                let key = mm.futex_key(word.addr, word.private)?;
                let mut queue = kernel.futexes.lock(&key);
                if mm.load_u32(word.addr)? != word.value {
                    return Err(EAGAIN);
                }
                let waiter =
                    Waiter { task: self.task().clone(), bitset, index, state: state.clone(), pi: false };
                queue.push_back((key, waiter));
                Ok(key)
            };
            match step() {
                Ok(key) => queued.push(key),
                Err(e) => {
                    failed = Some(e);
                    break;
                }
            }
        }
        let result = match failed {
            Some(e) => Err(e),
            None => self.sleep_on_futex(&state, deadline),
        };
        // The one record of a wait is taken out by who wakes it.
        if words.len() > 1 || state.woken().is_none() {
            for key in &queued {
                kernel.futexes.remove(key, &state);
            }
        }
        // A wake-up that came in while giving up counts: the waker believes it has woken somebody.
        match (state.woken(), result) {
            (Some(index), _) => Ok(index),
            (None, Err(e)) => Err(e),
            (None, Ok(())) => Ok(0),
        }
    }

    /// Sleeps until a record of the wait has been woken.
    pub(crate) fn sleep_on_futex(&self, state: &WaitState, deadline: Option<Instant>) -> Result<(), Errno> {
        loop {
            if state.woken().is_some() {
                return Ok(());
            }
            if self.sleep(deadline)? == Sleep::TimedOut && state.woken().is_none() {
                return Err(ETIMEDOUT);
            }
        }
    }
}
