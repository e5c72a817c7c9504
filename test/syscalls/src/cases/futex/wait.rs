//! FUTEX_WAIT and FUTEX_WAKE.

use crate::prelude::*;
use libc::*;

const WAIT: i32 = FUTEX_WAIT | FUTEX_PRIVATE_FLAG;
const WAKE: i32 = FUTEX_WAKE | FUTEX_PRIVATE_FLAG;

#[case(as_root, as_user)]
fn a_changed_word_is_eagain(_t: &mut Guest) {
    let word = AtomicU32::new(1);
    sys!(futex(word.as_ptr(), WAIT, 0, 0)).fails(EAGAIN);
}

#[case(as_root, as_user)]
fn a_timeout_is_etimedout(_t: &mut Guest) {
    let word = AtomicU32::new(0);
    let time = msec(10);
    sys!(futex(word.as_ptr(), WAIT, 0, &raw const time)).fails(ETIMEDOUT);
    let end = deadline(CLOCK_MONOTONIC, 10);
    sys!(futex(word.as_ptr(), FUTEX_WAIT_BITSET, 0, &raw const end, 0, u32::MAX)).fails(ETIMEDOUT);
    let end = deadline(CLOCK_REALTIME, 10);
    let op = FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME;
    sys!(futex(word.as_ptr(), op, 0, &raw const end, 0, u32::MAX)).fails(ETIMEDOUT);
}

#[case(as_root, as_user)]
fn wake_wakes_as_many_as_asked_for(t: &mut Guest) {
    static WORD: AtomicU32 = AtomicU32::new(0);
    let threads: Vec<_> = (0..3).map(|_| t.thread(|| sys!(futex(WORD.as_ptr(), WAIT, 0, 0)).is(0))).collect();
    threads.iter().for_each(|thread| t.until_asleep(thread.tid));
    sys!(futex(WORD.as_ptr(), WAKE, 2)).is(2);
    sys!(futex(WORD.as_ptr(), WAKE, 10)).is(1);
    sys!(futex(WORD.as_ptr(), WAKE, 10)).is(0);
    for thread in threads {
        thread.join();
    }
}

#[case(as_root, as_user)]
fn a_shared_word_wakes_another_process(t: &mut Guest) {
    let word = &t.shared()[0];
    let child = t.fork(|| sys!(futex(word.as_ptr(), FUTEX_WAIT, 0, 0)).is(0));
    t.until_asleep(child.pid);
    sys!(futex(word.as_ptr(), FUTEX_WAKE, 1)).is(1);
    child.done();
}

#[case(as_root, as_user)]
fn wrong_addresses_and_times_are_refused(_t: &mut Guest) {
    let words = [0_u32; 2];
    let address = words.as_ptr().addr();
    sys!(futex(address + 1, WAIT, 0, 0)).fails(EINVAL);
    sys!(futex(8, WAIT, 0, 0)).fails(EFAULT);
    let time = timespec { tv_sec: 0, tv_nsec: 1_000_000_000 };
    sys!(futex(&words, WAIT, 0, &raw const time)).fails(EINVAL);
    sys!(futex(&words, 99, 0, 0)).fails(ENOSYS);
    sys!(futex(&words, FUTEX_WAIT_BITSET, 0, 0, 0, 0)).fails(EINVAL);
    sys!(futex(&words, FUTEX_WAKE_BITSET, 1, 0, 0, 0)).fails(EINVAL);
}
