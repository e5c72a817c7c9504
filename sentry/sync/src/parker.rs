//! A one-token sleeper on a host futex.

use crate::{Wake, Woken, turns};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

const EMPTY: u32 = 0;
const TOKEN: u32 = 1;
/// No token, and the owner sleeps or is about to.
const PARKED: u32 = 2;

/// Puts one thread to sleep until another one hands it the token.
///
/// The owner calls [`Parker::park`]; anybody may call [`Parker::unpark`], before or during the sleep.
#[derive(Default)]
pub struct Parker {
    token: AtomicU32,
    /// Turns in a row that whoever woke the owner last has taken with it.
    turns: AtomicU32,
    /// The processor to come to, plus one; 0 for none.
    invitation: AtomicU32,
}

impl Parker {
    /// A parker without a token.
    pub const fn new() -> Parker {
        Parker { token: AtomicU32::new(EMPTY), turns: AtomicU32::new(0), invitation: AtomicU32::new(0) }
    }

    /// Hands over the token. Tokens do not add up.
    pub fn unpark(&self) {
        if self.hand_over() {
            self.rouse();
        }
    }

    /// Hands over the token; whether the owner sleeps, so that it must be roused.
    fn hand_over(&self) -> bool {
        self.token.swap(TOKEN, Ordering::Release) == PARKED
    }

    /// The processor of a thread that the owner takes turns with, if it would be well to be there too. Told once.
    pub fn invitation(&self) -> Option<u16> {
        if self.invitation.load(Ordering::Relaxed) == 0 {
            return None;
        }
        u16::try_from(self.invitation.swap(0, Ordering::Relaxed).checked_sub(1)?).ok()
    }

    /// Sleeps until there is a token, and takes it. Returns false if `deadline` passed first.
    pub fn park(&self, deadline: Option<Instant>) -> bool {
        turns::sleeps(self.turns.load(Ordering::Relaxed));
        loop {
            if self.token.swap(EMPTY, Ordering::Acquire) == TOKEN {
                return true;
            }
            let timeout = match deadline {
                None => None,
                Some(d) => match d.checked_duration_since(Instant::now()) {
                    None => return false,
                    Some(left) if left.is_zero() => return false,
                    Some(left) => Some(libc::timespec {
                        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                        tv_nsec: i64::from(left.subsec_nanos()),
                    }),
                },
            };
            let timeout_ptr = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
            let parked = self.token.compare_exchange(EMPTY, PARKED, Ordering::Relaxed, Ordering::Relaxed);
            if parked.is_err() {
                continue;
            }
            // SAFETY: FUTEX_WAIT on a word we own; the time-out, if any, lives until the call returns.
            unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    self.token.as_ptr(),
                    libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                    PARKED,
                    timeout_ptr,
                );
            }
        }
    }
}

impl Wake for Parker {
    fn wake(&self, _events: u32) -> Woken {
        Woken { counts: true, sleeps: self.hand_over() }
    }

    fn rouse(&self) {
        let (taken, mutual) = turns::wakes(std::ptr::from_ref(self).addr());
        self.turns.store(taken, Ordering::Relaxed);
        if mutual {
            // SAFETY: has no preconditions.
            let here = unsafe { libc::sched_getcpu() };
            self.invitation.store(u32::try_from(here).map_or(0, |cpu| cpu + 1), Ordering::Relaxed);
        }
        // SAFETY: FUTEX_WAKE on a word we own; it reads and writes no other memory.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.token.as_ptr(),
                libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                1,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn token_given_before_is_kept() {
        let p = Parker::new();
        p.unpark();
        assert!(p.park(None));
        assert!(!p.park(Some(Instant::now() + Duration::from_millis(1))));
    }

    #[test]
    fn wakes_across_threads() {
        let p = Arc::new(Parker::new());
        let q = p.clone();
        let t = std::thread::spawn(move || q.park(None));
        p.unpark();
        assert!(t.join().is_ok_and(|woken| woken));
    }
}
