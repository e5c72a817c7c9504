//! Robust lists.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn the_list_is_kept_and_given_back(t: &mut Guest) {
    let map = t.pages(1);
    sys!(set_robust_list(map.address, 24)).ok();
    let (mut head, mut length) = (0_usize, 0_usize);
    sys!(get_robust_list(0, &raw mut head, &raw mut length)).ok();
    expect_eq!((head, length), (map.address, 24));
    sys!(set_robust_list(map.address, 23)).fails(EINVAL);
    sys!(get_robust_list(0x3fff_ffff, &raw mut head, &raw mut length)).fails(ESRCH);
}

/// When the owner dies the word gets FUTEX_OWNER_DIED and a waiter wakes.
#[case(as_root, as_user)]
fn a_dead_owner_is_marked_and_a_waiter_woken(t: &mut Guest) {
    let map = t.map(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
    // The list: head {next, offset, pending} at 0, one entry at 64 whose futex word is at 72.
    let (entry, word) = (map.address + 64, &t.shared()[0]);
    let offset = word.as_ptr().addr() as i64 - entry as i64;
    map.put(0, &entry.to_ne_bytes());
    map.put(8, &offset.to_ne_bytes());
    map.put(16, &0_usize.to_ne_bytes());
    map.put(64, &map.address.to_ne_bytes());
    let go = t.pipe();
    let owner = t.fork(|| {
        word.store(sys!(gettid()).ok() as u32 | FUTEX_WAITERS, SeqCst);
        sys!(set_robust_list(map.address, 24)).ok();
        go.wait();
    });
    t.until(|| word.load(SeqCst) != 0);
    let value = word.load(SeqCst);
    let waiter = t.fork(|| sys!(futex(word.as_ptr(), FUTEX_WAIT, value, 0)).is(0));
    t.until_asleep(waiter.pid);
    go.signal();
    owner.done();
    waiter.done();
    expect_eq!(word.load(SeqCst), FUTEX_OWNER_DIED | FUTEX_WAITERS);
}

#[case(as_root, as_user)]
fn a_broken_list_does_no_harm(t: &mut Guest) {
    t.fork(|| {
        sys!(set_robust_list(8, 24)).ok();
    })
    .done();
    let ring = t.pages(1);
    ring.put(0, &(ring.address + 64).to_ne_bytes());
    ring.put(64, &(ring.address + 64).to_ne_bytes());
    t.fork(|| {
        sys!(set_robust_list(ring.address, 24)).ok();
    })
    .done();
}
