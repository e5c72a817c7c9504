//! Pipes.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn bytes_come_out_in_order(t: &mut Guest) {
    let pipe = t.pipe();
    t.send(pipe.w, "abc");
    t.send(pipe.w, "def");
    expect_eq!(t.recv(pipe.r, 4), b"abcd");
    expect_eq!(t.recv(pipe.r, 4), b"ef");
}

#[case(as_root, as_user)]
fn an_empty_pipe_without_writers_is_at_its_end(t: &mut Guest) {
    let pipe = t.pipe();
    t.send(pipe.w, "x");
    sys!(close(pipe.w)).ok();
    expect_eq!(t.recv(pipe.r, 4), b"x");
    expect_eq!(t.recv(pipe.r, 4), b"");
}

#[case(as_root, as_user)]
fn a_write_without_readers_is_epipe_and_sigpipe(t: &mut Guest) {
    let pipe = t.pipe();
    sys!(close(pipe.r)).ok();
    t.fork(|| {
        let _ = sys!(write(pipe.w, b"x", 1));
    })
    .wait()
    .killed(SIGPIPE);
    t.catch(SIGPIPE, 0);
    sys!(write(pipe.w, b"x", 1)).fails(EPIPE);
    expect_eq!(t.caught(), [SIGPIPE]);
    expect_eq!(t.log()[0].code(), SI_USER);
    t.ignore(SIGPIPE);
    sys!(write(pipe.w, b"x", 1)).fails(EPIPE);
}

#[case(as_root, as_user)]
fn nonblock_gives_eagain_when_empty_or_full(t: &mut Guest) {
    let pipe = t.pipe2(O_NONBLOCK);
    let mut byte = [0_u8];
    sys!(read(pipe.r, &mut byte, 1)).fails(EAGAIN);
    let chunk = [0_u8; 4096];
    let mut filled = 0;
    loop {
        let wrote = sys!(write(pipe.w, &chunk, chunk.len()));
        if wrote.errno() == EAGAIN {
            break;
        }
        filled += wrote.ok();
    }
    sys!(fcntl(pipe.w, F_GETPIPE_SZ, 0)).is(filled);
}

#[case(as_root, as_user)]
fn a_read_waits_for_a_writer(t: &mut Guest) {
    let pipe = t.pipe();
    let child = t.fork(|| expect_eq!(t.recv(pipe.r, 8), b"late"));
    t.until_asleep(child.pid);
    t.send(pipe.w, "late");
    child.done();
}

#[case(as_root, as_user)]
fn a_full_pipe_makes_a_writer_wait(t: &mut Guest) {
    let pipe = t.pipe();
    let size = sys!(fcntl(pipe.w, F_GETPIPE_SZ, 0)).size();
    t.send(pipe.w, vec![1; size]);
    let child = t.fork(|| t.send(pipe.w, "end"));
    t.until_asleep(child.pid);
    let mut got = 0;
    while got < size + 3 {
        got += t.recv(pipe.r, size).len();
    }
    child.done();
    expect_eq!(got, size + 3);
}

#[case(as_root, as_user)]
fn setpipe_sz_rounds_up_to_pages_and_keeps_what_is_inside(t: &mut Guest) {
    let pipe = t.pipe();
    sys!(fcntl(pipe.w, F_SETPIPE_SZ, 1)).is(PAGE);
    sys!(fcntl(pipe.r, F_GETPIPE_SZ, 0)).is(PAGE);
    sys!(fcntl(pipe.w, F_SETPIPE_SZ, 3 * PAGE)).is(4 * PAGE);
    t.send(pipe.w, vec![0; 2 * PAGE]);
    sys!(fcntl(pipe.w, F_SETPIPE_SZ, PAGE)).fails(EBUSY);
    expect_eq!(t.recv(pipe.r, 4 * PAGE).len(), 2 * PAGE);
}

#[case(as_root, as_user)]
fn poll_tells_both_ends(t: &mut Guest) {
    let pipe = t.pipe();
    expect_eq!(t.poll(pipe.r, POLLIN, 0), 0);
    expect_eq!(t.poll(pipe.w, POLLOUT, 0), POLLOUT);
    t.send(pipe.w, "x");
    expect_eq!(t.poll(pipe.r, POLLIN, 0), POLLIN);
    sys!(close(pipe.w)).ok();
    expect_eq!(t.poll(pipe.r, POLLIN, 0), POLLIN | POLLHUP);
    t.recv(pipe.r, 1);
    expect_eq!(t.poll(pipe.r, POLLIN, 0), POLLHUP);
    let other = t.pipe();
    sys!(close(other.r)).ok();
    expect_eq!(t.poll(other.w, POLLOUT, 0), POLLOUT | POLLERR);
}

#[case(as_root, as_user)]
fn fionread_counts_bytes(t: &mut Guest) {
    let pipe = t.pipe();
    let mut count = -1_i32;
    sys!(ioctl(pipe.r, FIONREAD, &raw mut count)).is(0);
    expect_eq!(count, 0);
    t.send(pipe.w, "12345");
    sys!(ioctl(pipe.r, FIONREAD, &raw mut count)).is(0);
    expect_eq!(count, 5);
}

#[case(as_root, as_user)]
fn the_wrong_end_is_ebadf_and_a_pipe_has_no_offset(t: &mut Guest) {
    let pipe = t.pipe();
    let mut byte = [0_u8];
    sys!(read(pipe.w, &mut byte, 1)).fails(EBADF);
    sys!(write(pipe.r, &byte, 1)).fails(EBADF);
    sys!(lseek(pipe.r, 0, SEEK_CUR)).fails(ESPIPE);
    sys!(pread64(pipe.r, &mut byte, 1, 0)).fails(ESPIPE);
    sys!(pwrite64(pipe.w, &byte, 1, 0)).fails(ESPIPE);
    expect_eq!(t.fstat(pipe.r).st_mode & S_IFMT, S_IFIFO);
}

#[case(as_root, as_user)]
fn pipe2_knows_its_flags(t: &mut Guest) {
    let mut ends = [0_i32; 2];
    sys!(pipe2(&mut ends, O_CREAT)).fails(EINVAL);
    sys!(pipe2(1, 0)).fails(EFAULT);
    let pipe = t.pipe2(O_CLOEXEC | O_NONBLOCK);
    sys!(fcntl(pipe.r, F_GETFD, 0)).is(FD_CLOEXEC);
    sys!(fcntl(pipe.r, F_GETFL, 0)).is(O_RDONLY | O_NONBLOCK);
    sys!(fcntl(pipe.w, F_GETFL, 0)).is(O_WRONLY | O_NONBLOCK);
}

/// Linux: with O_DIRECT each write is a packet, and a short read drops the packet's rest.
#[case(as_root, as_user)]
fn packet_mode_keeps_writes_apart(t: &mut Guest) {
    let pipe = t.pipe2(O_DIRECT);
    t.send(pipe.w, "first");
    t.send(pipe.w, "second");
    expect_eq!(t.recv(pipe.r, 3), b"fir");
    expect_eq!(t.recv(pipe.r, 64), b"second");
}

/// Up to PIPE_BUF bytes go in whole or not at all.
#[case(as_root, as_user)]
fn small_writes_are_whole_and_large_ones_may_be_cut(t: &mut Guest) {
    let pipe = t.pipe2(O_NONBLOCK);
    sys!(fcntl(pipe.w, F_SETPIPE_SZ, 2 * PAGE)).is(2 * PAGE);
    t.send(pipe.w, vec![1; PAGE + 1]);
    sys!(write(pipe.w, &vec![2_u8; PAGE], PAGE)).fails(EAGAIN);
    expect_eq!(t.recv(pipe.r, 4 * PAGE).len(), PAGE + 1);
    sys!(write(pipe.w, &vec![3_u8; 3 * PAGE], 3 * PAGE)).is(2 * PAGE);
}

#[case(as_root, as_user)]
fn writers_of_small_pieces_do_not_mix(t: &mut Guest) {
    let pipe = t.pipe();
    let children: Vec<_> = (0..3_u8)
        .map(|byte| {
            t.fork(|| {
                for _ in 0..100 {
                    t.send(pipe.w, vec![byte; 300]);
                }
            })
        })
        .collect();
    sys!(close(pipe.w)).ok();
    let mut bytes = Vec::new();
    loop {
        let part = t.recv(pipe.r, 65536);
        if part.is_empty() {
            break;
        }
        bytes.extend(part);
    }
    children.into_iter().for_each(Child::done);
    expect_eq!(bytes.len(), 3 * 100 * 300);
    check!(bytes.chunks(300).all(|chunk| chunk.iter().all(|byte| *byte == chunk[0])));
}

#[case(as_root, as_user)]
fn a_long_exchange_keeps_every_byte(t: &mut Guest) {
    let (there, back) = (t.pipe(), t.pipe());
    let child = t.fork(|| {
        sys!(close(there.w)).ok();
        loop {
            let part = t.recv(there.r, 1000);
            if part.is_empty() {
                break;
            }
            t.send(back.w, part);
        }
    });
    sys!(close(there.r)).ok();
    for round in 0..200_u8 {
        t.send(there.w, [round; 100]);
        let mut got = Vec::new();
        while got.len() < 100 {
            got.extend(t.recv(back.r, 100 - got.len()));
        }
        expect_eq!(got, [round; 100]);
    }
    sys!(close(there.w)).ok();
    child.done();
}
