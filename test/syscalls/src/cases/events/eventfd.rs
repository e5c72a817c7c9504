//! eventfd.

use crate::prelude::*;
use crate::sys::Ret;
use libc::*;

fn put(fd: i32, value: u64) -> Ret {
    sys!(write(fd, &raw const value, 8))
}

#[track_caller]
fn get(fd: i32) -> u64 {
    let mut value = 0_u64;
    sys!(read(fd, &raw mut value, 8)).is(8);
    value
}

#[case(as_root, as_user)]
fn a_read_takes_the_whole_sum(_t: &mut Guest) {
    let fd = sys!(eventfd2(3, EFD_NONBLOCK)).fd();
    put(fd, 4).is(8);
    expect_eq!(get(fd), 7);
    let mut value = 0_u64;
    sys!(read(fd, &raw mut value, 8)).fails(EAGAIN);
}

#[case(as_root, as_user)]
fn as_a_semaphore_it_gives_one_at_a_time(_t: &mut Guest) {
    let fd = sys!(eventfd2(2, EFD_NONBLOCK | EFD_SEMAPHORE)).fd();
    expect_eq!((get(fd), get(fd)), (1, 1));
    let mut value = 0_u64;
    sys!(read(fd, &raw mut value, 8)).fails(EAGAIN);
}

#[case(as_root, as_user)]
fn it_holds_at_most_two_to_the_64_minus_two(_t: &mut Guest) {
    let fd = sys!(eventfd2(0, EFD_NONBLOCK)).fd();
    put(fd, u64::MAX).fails(EINVAL);
    put(fd, u64::MAX - 1).is(8);
    put(fd, 1).fails(EAGAIN);
    put(fd, 0).is(8);
    expect_eq!(get(fd), u64::MAX - 1);
}

#[case(as_root, as_user)]
fn short_buffers_and_unknown_flags_are_refused(_t: &mut Guest) {
    let fd = sys!(eventfd2(1, 0)).fd();
    let mut value = 0_u64;
    sys!(read(fd, &raw mut value, 7)).fails(EINVAL);
    sys!(write(fd, &raw const value, 7)).fails(EINVAL);
    sys!(eventfd2(0, 0x10_0000)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn a_read_waits_for_a_write(t: &mut Guest) {
    let fd = sys!(eventfd2(0, 0)).fd();
    let child = t.fork(|| expect_eq!(get(fd), 5));
    t.until_asleep(child.pid);
    put(fd, 5).is(8);
    child.done();
}

#[case(as_root, as_user)]
fn poll_follows_the_count(t: &mut Guest) {
    let fd = sys!(eventfd2(0, 0)).fd();
    expect_eq!(t.poll(fd, POLLIN | POLLOUT, 0), POLLOUT);
    put(fd, u64::MAX - 1).is(8);
    expect_eq!(t.poll(fd, POLLIN | POLLOUT, 0), POLLIN);
}
