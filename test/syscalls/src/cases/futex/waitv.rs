//! `futex_waitv`.

use crate::prelude::*;
use crate::sys::Ret;
use libc::*;

/// The size flag of a 32-bit futex, and the private flag.
const FLAGS: u32 = 2 | 128;

/// One entry of the vector: value, address, flags.
fn entry(word: &AtomicU32, value: u64, flags: u32) -> [u64; 3] {
    [value, word.as_ptr().expose_provenance() as u64, flags.into()]
}

fn waitv(entries: &[[u64; 3]], timeout: *const timespec) -> Ret {
    sys!(futex_waitv(entries, entries.len(), 0, timeout, CLOCK_MONOTONIC))
}

#[case(as_root, as_user)]
fn it_tells_which_word_woke_it(t: &mut Guest) {
    static WORDS: [AtomicU32; 3] = [const { AtomicU32::new(0) }; 3];
    let probe = waitv(&[entry(&WORDS[0], 1, FLAGS)], std::ptr::null());
    probe.or_skip(ENOSYS, "no futex_waitv").fails(EAGAIN);
    let thread = t.thread(|| {
        let entries = [0, 1, 2].map(|index| entry(&WORDS[index], 0, FLAGS));
        waitv(&entries, std::ptr::null()).is(1);
    });
    t.until_asleep(thread.tid);
    sys!(futex(WORDS[1].as_ptr(), FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1)).is(1);
    thread.join();
}

#[case(as_root, as_user)]
fn it_times_out_at_an_absolute_time(_t: &mut Guest) {
    let word = AtomicU32::new(0);
    let end = deadline(CLOCK_MONOTONIC, 10);
    waitv(&[entry(&word, 0, FLAGS)], &raw const end).or_skip(ENOSYS, "no futex_waitv").fails(ETIMEDOUT);
}

#[case(as_root, as_user)]
fn arguments_are_checked(_t: &mut Guest) {
    let word = AtomicU32::new(0);
    let end = deadline(CLOCK_MONOTONIC, 10);
    waitv(&[], &raw const end).or_skip(ENOSYS, "no futex_waitv").fails(EINVAL);
    waitv(&[entry(&word, 0, 0x4000_0000)], &raw const end).fails(EINVAL);
    waitv(&[[0, 8, FLAGS.into()]], &raw const end).fails(EFAULT);
    let many = vec![entry(&word, 0, FLAGS); 129];
    waitv(&many, &raw const end).fails(EINVAL);
    sys!(futex_waitv(&[entry(&word, 0, FLAGS)], 1, 1, 0, 0)).fails(EINVAL);
}
