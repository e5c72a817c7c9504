//! Requeueing, FUTEX_WAKE_OP and bit sets.

use crate::prelude::*;
use libc::*;

const PRIVATE: i32 = FUTEX_PRIVATE_FLAG;

#[case(as_root, as_user)]
fn cmp_requeue_wakes_some_and_moves_the_rest(t: &mut Guest) {
    static WORDS: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];
    let [a, b] = [WORDS[0].as_ptr(), WORDS[1].as_ptr()];
    let threads: Vec<_> = (0..4)
        .map(|_| t.thread(|| sys!(futex(WORDS[0].as_ptr(), FUTEX_WAIT | PRIVATE, 0, 0)).is(0)))
        .collect();
    threads.iter().for_each(|thread| t.until_asleep(thread.tid));
    sys!(futex(a, FUTEX_CMP_REQUEUE | PRIVATE, 1, 2, b, 5)).fails(EAGAIN);
    sys!(futex(a, FUTEX_CMP_REQUEUE | PRIVATE, 1, 2, b, 0)).is(3);
    sys!(futex(b, FUTEX_WAKE | PRIVATE, 9)).is(2);
    sys!(futex(a, FUTEX_WAKE | PRIVATE, 9)).is(1);
    for thread in threads {
        thread.join();
    }
}

/// Linux: FUTEX_REQUEUE counts only the woken, FUTEX_CMP_REQUEUE the moved as well.
#[case(as_root, as_user)]
fn requeue_counts_the_woken(t: &mut Guest) {
    static WORDS: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];
    let thread = t.thread(|| sys!(futex(WORDS[0].as_ptr(), FUTEX_WAIT | PRIVATE, 0, 0)).is(0));
    t.until_asleep(thread.tid);
    sys!(futex(WORDS[0].as_ptr(), FUTEX_REQUEUE | PRIVATE, 0, 1, WORDS[1].as_ptr())).is(1);
    sys!(futex(WORDS[1].as_ptr(), FUTEX_WAKE | PRIVATE, 1)).is(1);
    thread.join();
    sys!(futex(WORDS[0].as_ptr(), FUTEX_REQUEUE | PRIVATE, -1, 1, WORDS[1].as_ptr())).fails(EINVAL);
}

#[case(as_root, as_user)]
fn bit_sets_choose_who_wakes(t: &mut Guest) {
    static WORD: AtomicU32 = AtomicU32::new(0);
    let wait = |bits: u32| {
        t.thread(move || sys!(futex(WORD.as_ptr(), FUTEX_WAIT_BITSET | PRIVATE, 0, 0, 0, bits)).is(0))
    };
    let (one, two) = (wait(1), wait(2));
    for thread in [&one, &two] {
        t.until_asleep(thread.tid);
    }
    sys!(futex(WORD.as_ptr(), FUTEX_WAKE_BITSET | PRIVATE, 9, 0, 0, 4)).is(0);
    sys!(futex(WORD.as_ptr(), FUTEX_WAKE_BITSET | PRIVATE, 9, 0, 0, 2)).is(1);
    two.join();
    sys!(futex(WORD.as_ptr(), FUTEX_WAKE | PRIVATE, 9)).is(1);
    one.join();
}

#[case(as_root, as_user)]
fn wake_op_changes_a_word_and_wakes_by_its_old_value(t: &mut Guest) {
    static WORDS: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];
    let wait = |index: usize| {
        t.thread(move || {
            let expected = WORDS[index].load(SeqCst);
            sys!(futex(WORDS[index].as_ptr(), FUTEX_WAIT | PRIVATE, expected, 0)).is(0);
        })
    };
    let [a, b] = [WORDS[0].as_ptr(), WORDS[1].as_ptr()];
    let (first, second) = (wait(0), wait(1));
    for thread in [&first, &second] {
        t.until_asleep(thread.tid);
    }
    // Add 5; wake the second word's waiters too if the old value was greater than 100.
    let add_if_above_100 = (FUTEX_OP_ADD << 28) | (FUTEX_OP_CMP_GT << 24) | (5 << 12) | 100;
    sys!(futex(a, FUTEX_WAKE_OP | PRIVATE, 1, 1, b, add_if_above_100)).is(1);
    first.join();
    expect_eq!(WORDS[1].load(SeqCst), 5);
    let set_if_equal_5 = (FUTEX_OP_SET << 28) | (FUTEX_OP_CMP_EQ << 24) | (9 << 12) | 5;
    sys!(futex(a, FUTEX_WAKE_OP | PRIVATE, 1, 1, b, set_if_equal_5)).is(1);
    second.join();
    expect_eq!(WORDS[1].load(SeqCst), 9);
}

#[case(as_root, as_user)]
fn private_and_shared_waiters_do_not_meet(t: &mut Guest) {
    static WORD: AtomicU32 = AtomicU32::new(0);
    let thread = t.thread(|| sys!(futex(WORD.as_ptr(), FUTEX_WAIT | PRIVATE, 0, 0)).is(0));
    t.until_asleep(thread.tid);
    sys!(futex(WORD.as_ptr(), FUTEX_WAKE, 1)).is(0);
    sys!(futex(WORD.as_ptr(), FUTEX_WAKE | PRIVATE, 1)).is(1);
    thread.join();
}

/// A shared futex is known by its page, so two mappings of one file meet.
#[case(as_root, as_user)]
fn two_mappings_of_a_file_are_one_futex(t: &mut Guest) {
    t.file("f", vec![0; PAGE]);
    let fd = t.open("f", O_RDWR);
    let map = || t.map_file(fd, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0).address;
    let (a, b) = (map(), map());
    let child = t.fork(|| sys!(futex(a, FUTEX_WAIT, 0, 0)).is(0));
    t.until_asleep(child.pid);
    sys!(futex(b, FUTEX_WAKE | PRIVATE, 1)).is(0);
    sys!(futex(b, FUTEX_WAKE, 1)).is(1);
    child.done();
}
