//! Named pipes.

use crate::prelude::*;
use libc::*;

#[track_caller]
fn fifo() {
    sys!(mknodat(AT_FDCWD, c"p", S_IFIFO | 0o644, 0)).ok();
}

#[case(as_root, as_user)]
fn a_writer_without_readers_is_enxio_when_nonblocking(t: &mut Guest) {
    fifo();
    t.try_open("p", O_WRONLY | O_NONBLOCK).fails(ENXIO);
    let r = t.open("p", O_RDONLY | O_NONBLOCK);
    t.open("p", O_WRONLY | O_NONBLOCK);
    let mut byte = [0_u8];
    sys!(read(r, &mut byte, 1)).fails(EAGAIN);
}

#[case(as_root, as_user)]
fn a_nonblocking_reader_without_writers_is_at_its_end(t: &mut Guest) {
    fifo();
    let r = t.open("p", O_RDONLY | O_NONBLOCK);
    expect_eq!(t.recv(r, 4), b"");
    expect_eq!(t.poll(r, POLLIN, 0), 0);
}

#[case(as_root, as_user)]
fn opening_waits_for_the_other_end(t: &mut Guest) {
    fifo();
    let child = t.fork(|| expect_eq!(t.recv(t.open("p", O_RDONLY), 8), b"hello"));
    t.until_asleep(child.pid);
    t.send(t.open("p", O_WRONLY), "hello");
    child.done();
    let child = t.fork(|| t.send(t.open("p", O_WRONLY), "back"));
    t.until_asleep(child.pid);
    expect_eq!(t.recv(t.open("p", O_RDONLY), 8), b"back");
    child.done();
}

#[case(as_root, as_user)]
fn opening_for_both_does_not_wait(t: &mut Guest) {
    fifo();
    let fd = t.open("p", O_RDWR);
    t.send(fd, "x");
    expect_eq!(t.recv(fd, 4), b"x");
}

#[case(as_root, as_user)]
fn a_waiting_open_is_interrupted(t: &mut Guest) {
    fifo();
    let child = t.fork(|| {
        t.catch(SIGUSR1, 0);
        t.try_open("p", O_RDONLY).fails(EINTR);
    });
    t.until_asleep(child.pid);
    child.kill(SIGUSR1);
    child.done();
}

#[case(as_root, as_user)]
fn a_hang_up_shows_after_the_last_writer(t: &mut Guest) {
    fifo();
    let r = t.open("p", O_RDONLY | O_NONBLOCK);
    let w = t.open("p", O_WRONLY);
    expect_eq!(t.poll(r, POLLIN, 0), 0);
    sys!(close(w)).ok();
    expect_eq!(t.poll(r, POLLIN, 0), POLLHUP);
    let _w = t.open("p", O_WRONLY);
    expect_eq!(t.poll(r, POLLIN, 0), 0);
}
