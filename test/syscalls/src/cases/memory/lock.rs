//! `mlock` and its kin.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn locked_memory_is_counted_in_status(t: &mut Guest) {
    let map = t.pages(2);
    expect_eq!(t.field("/proc/self/status", "VmLck"), "0 kB");
    sys!(mlock(map.address, 2 * PAGE)).ok();
    expect_eq!(t.field("/proc/self/status", "VmLck"), "8 kB");
    sys!(munlock(map.address, PAGE)).ok();
    expect_eq!(t.field("/proc/self/status", "VmLck"), "4 kB");
    t.unmap(map.address, 2 * PAGE).ok();
    expect_eq!(t.field("/proc/self/status", "VmLck"), "0 kB");
}

#[case(as_root, as_user)]
fn holes_and_unknown_flags_are_refused(t: &mut Guest) {
    let map = t.pages(2);
    t.unmap(map.page(1), PAGE).ok();
    sys!(mlock(map.address, 2 * PAGE)).fails(ENOMEM);
    sys!(munlock(map.address, 2 * PAGE)).fails(ENOMEM);
    sys!(mlock2(map.address, PAGE, 2)).fails(EINVAL);
    sys!(mlock2(map.address, PAGE, MLOCK_ONFAULT)).ok();
    sys!(mlockall(0)).fails(EINVAL);
    sys!(mlockall(99)).fails(EINVAL);
    sys!(munlockall()).ok();
}

#[case(as_user)]
fn the_limit_binds_users(t: &mut Guest) {
    let map = t.pages(4);
    t.limit(RLIMIT_MEMLOCK, 2 * PAGE as u64);
    sys!(mlock(map.address, 2 * PAGE)).ok();
    sys!(mlock(map.page(2), PAGE)).fails(ENOMEM);
    t.limit(RLIMIT_MEMLOCK, 0);
    sys!(mlock(map.page(2), PAGE)).fails(EPERM);
}

#[case(as_root)]
fn the_limit_does_not_bind_root(t: &mut Guest) {
    let map = t.pages(4);
    t.limit(RLIMIT_MEMLOCK, 0);
    sys!(mlock(map.address, 4 * PAGE)).ok();
}
