//! Priority-inheritance futexes.

use crate::prelude::*;
use libc::*;

const PRIVATE: i32 = FUTEX_PRIVATE_FLAG;

#[case(as_root, as_user)]
fn lock_and_unlock_keep_the_owner_in_the_word(_t: &mut Guest) {
    let word = AtomicU32::new(0);
    let tid = sys!(gettid()).ok() as u32;
    sys!(futex(word.as_ptr(), FUTEX_LOCK_PI | PRIVATE, 0, 0)).or_skip(ENOSYS, "no PI futexes").is(0);
    expect_eq!(word.load(SeqCst), tid);
    sys!(futex(word.as_ptr(), FUTEX_LOCK_PI | PRIVATE, 0, 0)).fails(EDEADLK);
    sys!(futex(word.as_ptr(), FUTEX_TRYLOCK_PI | PRIVATE, 0, 0)).fails(EDEADLK);
    sys!(futex(word.as_ptr(), FUTEX_UNLOCK_PI | PRIVATE, 0, 0)).is(0);
    expect_eq!(word.load(SeqCst), 0);
    sys!(futex(word.as_ptr(), FUTEX_UNLOCK_PI | PRIVATE, 0, 0)).fails(EPERM);
}

#[case(as_root, as_user)]
fn a_waiter_gets_the_lock_from_the_owner(t: &mut Guest) {
    static WORD: AtomicU32 = AtomicU32::new(0);
    let word = WORD.as_ptr();
    sys!(futex(word, FUTEX_LOCK_PI | PRIVATE, 0, 0)).or_skip(ENOSYS, "no PI futexes").is(0);
    let thread = t.thread(|| {
        let word = WORD.as_ptr();
        sys!(futex(word, FUTEX_TRYLOCK_PI | PRIVATE, 0, 0)).fails(EAGAIN);
        sys!(futex(word, FUTEX_LOCK_PI | PRIVATE, 0, 0)).is(0);
        expect_eq!(WORD.load(SeqCst) & FUTEX_TID_MASK, sys!(gettid()).ok() as u32);
        sys!(futex(word, FUTEX_UNLOCK_PI | PRIVATE, 0, 0)).is(0);
    });
    t.until(|| WORD.load(SeqCst) & FUTEX_WAITERS != 0);
    t.until_asleep(thread.tid);
    sys!(futex(word, FUTEX_UNLOCK_PI | PRIVATE, 0, 0)).is(0);
    thread.join();
    expect_eq!(WORD.load(SeqCst) & FUTEX_TID_MASK, 0);
}

#[case(as_root, as_user)]
fn a_timeout_ends_the_wait(t: &mut Guest) {
    static WORD: AtomicU32 = AtomicU32::new(0);
    sys!(futex(WORD.as_ptr(), FUTEX_LOCK_PI | PRIVATE, 0, 0)).or_skip(ENOSYS, "no PI futexes").is(0);
    t.thread(|| {
        let end = deadline(CLOCK_REALTIME, 10);
        sys!(futex(WORD.as_ptr(), FUTEX_LOCK_PI | PRIVATE, 0, &raw const end)).fails(ETIMEDOUT);
    })
    .join();
    sys!(futex(WORD.as_ptr(), FUTEX_UNLOCK_PI | PRIVATE, 0, 0)).is(0);
}

#[case(as_root, as_user)]
fn a_word_that_names_nobody_is_esrch(_t: &mut Guest) {
    let word = AtomicU32::new(0x3fff_ff00);
    sys!(futex(word.as_ptr(), FUTEX_LOCK_PI | PRIVATE, 0, 0)).or_skip(ENOSYS, "no PI futexes").fails(ESRCH);
}
