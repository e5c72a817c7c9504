//! `flock`, POSIX locks and locks of open file descriptions.

use crate::prelude::*;
use crate::sys::Ret;
use libc::*;

fn lock(fd: i32, command: i32, kind: i32, start: i64, length: i64) -> Ret {
    let lock =
        flock { l_type: kind as i16, l_whence: SEEK_SET as i16, l_start: start, l_len: length, l_pid: 0 };
    sys!(fcntl(fd, command, &raw const lock))
}

#[track_caller]
fn test(fd: i32, command: i32, kind: i32, start: i64, length: i64) -> flock {
    let mut lock =
        flock { l_type: kind as i16, l_whence: SEEK_SET as i16, l_start: start, l_len: length, l_pid: 0 };
    sys!(fcntl(fd, command, &raw mut lock)).ok();
    lock
}

#[case(as_root, as_user)]
fn flock_excludes_other_open_files(t: &mut Guest) {
    t.file("f", "");
    let (a, b) = (t.open("f", O_RDONLY), t.open("f", O_RDONLY));
    sys!(flock(a, LOCK_SH)).ok();
    sys!(flock(b, LOCK_SH | LOCK_NB)).ok();
    sys!(flock(b, LOCK_EX | LOCK_NB)).fails(EWOULDBLOCK);
    sys!(flock(a, LOCK_UN)).ok();
    sys!(flock(b, LOCK_EX | LOCK_NB)).ok();
    sys!(flock(a, LOCK_SH | LOCK_NB)).fails(EWOULDBLOCK);
    sys!(flock(a, 0)).fails(EINVAL);
    sys!(flock(99, LOCK_SH)).fails(EBADF);
}

#[case(as_root, as_user)]
fn flock_belongs_to_the_open_file_not_the_process(t: &mut Guest) {
    t.file("f", "");
    let (a, b) = (t.open("f", O_RDONLY), t.open("f", O_RDONLY));
    sys!(flock(a, LOCK_EX)).ok();
    let copy = sys!(dup(a)).fd();
    sys!(flock(copy, LOCK_EX | LOCK_NB)).ok();
    sys!(close(a)).ok();
    sys!(flock(b, LOCK_EX | LOCK_NB)).fails(EWOULDBLOCK);
    sys!(close(copy)).ok();
    sys!(flock(b, LOCK_EX | LOCK_NB)).ok();
}

#[case(as_root, as_user)]
fn flock_waits_for_the_holder(t: &mut Guest) {
    t.file("f", "");
    let fd = t.open("f", O_RDONLY);
    sys!(flock(fd, LOCK_EX)).ok();
    let child = t.fork(|| {
        let own = t.open("f", O_RDONLY);
        sys!(close(fd)).ok();
        sys!(flock(own, LOCK_EX)).ok();
    });
    t.until_asleep(child.pid);
    sys!(flock(fd, LOCK_UN)).ok();
    child.done();
}

#[case(as_root, as_user)]
fn posix_locks_exclude_other_processes(t: &mut Guest) {
    t.file("f", "0123456789");
    let fd = t.open("f", O_RDWR);
    lock(fd, F_SETLK, F_WRLCK, 2, 4).ok();
    lock(t.open("f", O_RDWR), F_SETLK, F_WRLCK, 0, 10).ok();
    lock(fd, F_SETLK, F_UNLCK, 0, 2).ok();
    lock(fd, F_SETLK, F_UNLCK, 6, 0).ok();
    let parent = sys!(getpid()).ok();
    t.fork(|| {
        lock(fd, F_SETLK, F_RDLCK, 0, 3).fails(EAGAIN);
        lock(fd, F_SETLK, F_WRLCK, 0, 2).ok();
        lock(fd, F_SETLK, F_WRLCK, 6, 0).ok();
        let seen = test(fd, F_GETLK, F_RDLCK, 0, 0);
        expect_eq!(
            (i32::from(seen.l_type), seen.l_start, seen.l_len, i64::from(seen.l_pid)),
            (F_WRLCK, 2, 4, parent)
        );
    })
    .done();
    expect_eq!(i32::from(test(fd, F_GETLK, F_WRLCK, 0, 0).l_type), F_UNLCK);
}

/// The trap of POSIX locks: closing any descriptor of the file drops them.
#[case(as_root, as_user)]
fn posix_locks_go_with_any_close_of_the_file(t: &mut Guest) {
    t.file("f", "");
    let fd = t.open("f", O_RDWR);
    lock(fd, F_SETLK, F_WRLCK, 0, 0).ok();
    t.fork(|| lock(fd, F_SETLK, F_WRLCK, 0, 0).fails(EAGAIN)).done();
    sys!(close(t.open("f", O_RDONLY))).ok();
    t.fork(|| {
        lock(fd, F_SETLK, F_WRLCK, 0, 0).ok();
    })
    .done();
}

#[case(as_root, as_user)]
fn posix_locks_are_not_inherited(t: &mut Guest) {
    t.file("f", "");
    let fd = t.open("f", O_RDWR);
    lock(fd, F_SETLK, F_WRLCK, 0, 0).ok();
    t.fork(|| expect_eq!(i32::from(test(fd, F_GETLK, F_WRLCK, 0, 0).l_type), F_WRLCK)).done();
}

#[case(as_root, as_user)]
fn the_kind_of_lock_needs_the_same_access(t: &mut Guest) {
    t.file("f", "");
    lock(t.open("f", O_RDONLY), F_SETLK, F_WRLCK, 0, 0).fails(EBADF);
    lock(t.open("f", O_WRONLY), F_SETLK, F_RDLCK, 0, 0).fails(EBADF);
    let fd = t.open("f", O_RDWR);
    lock(fd, F_SETLK, 99, 0, 0).fails(EINVAL);
    lock(fd, F_SETLK, F_RDLCK, -1, 1).fails(EINVAL);
    sys!(fcntl(fd, F_SETLK, 8)).fails(EFAULT);
}

#[case(as_root, as_user)]
fn setlkw_waits_for_the_holder(t: &mut Guest) {
    t.file("f", "");
    let fd = t.open("f", O_RDWR);
    lock(fd, F_SETLK, F_WRLCK, 0, 0).ok();
    let child = t.fork(|| {
        lock(fd, F_SETLKW, F_RDLCK, 0, 0).ok();
    });
    t.until_asleep(child.pid);
    lock(fd, F_SETLK, F_UNLCK, 0, 0).ok();
    child.done();
}

#[case(as_root, as_user)]
fn setlkw_is_interrupted_by_a_signal(t: &mut Guest) {
    t.file("f", "");
    let fd = t.open("f", O_RDWR);
    lock(fd, F_SETLK, F_WRLCK, 0, 0).ok();
    let child = t.fork(|| {
        t.catch(SIGUSR1, 0);
        lock(fd, F_SETLKW, F_RDLCK, 0, 0).fails(EINTR);
    });
    t.until_asleep(child.pid);
    child.kill(SIGUSR1);
    child.done();
}

#[case(as_root, as_user)]
fn two_that_wait_for_each_other_are_edeadlk(t: &mut Guest) {
    t.file("f", "");
    let fd = t.open("f", O_RDWR);
    lock(fd, F_SETLK, F_WRLCK, 0, 1).ok();
    let child = t.fork(|| {
        lock(fd, F_SETLK, F_WRLCK, 1, 1).ok();
        lock(fd, F_SETLKW, F_WRLCK, 0, 1).ok();
    });
    t.until(|| i32::from(test(fd, F_GETLK, F_WRLCK, 1, 1).l_type) == F_WRLCK);
    t.until_asleep(child.pid);
    lock(fd, F_SETLKW, F_WRLCK, 1, 1).fails(EDEADLK);
    lock(fd, F_SETLK, F_UNLCK, 0, 1).ok();
    child.done();
}

#[case(as_root, as_user)]
fn ofd_locks_belong_to_the_open_file(t: &mut Guest) {
    t.file("f", "");
    let (a, b) = (t.open("f", O_RDWR), t.open("f", O_RDWR));
    lock(a, F_OFD_SETLK, F_WRLCK, 0, 10).ok();
    lock(b, F_OFD_SETLK, F_WRLCK, 5, 10).fails(EAGAIN);
    let seen = test(b, F_OFD_GETLK, F_RDLCK, 0, 0);
    expect_eq!((i32::from(seen.l_type), seen.l_start, seen.l_len, seen.l_pid), (F_WRLCK, 0, 10, -1));
    t.fork(|| {
        lock(a, F_OFD_SETLK, F_WRLCK, 0, 20).ok();
    })
    .done();
    sys!(close(a)).ok();
    lock(b, F_OFD_SETLK, F_WRLCK, 0, 0).ok();
}
