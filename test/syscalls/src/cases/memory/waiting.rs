//! Memory that changes while a call with a buffer in it waits.

use crate::prelude::*;
use libc::*;

/// A thread waits to read two bytes into a page from `r`; the process forks, and writes to the page itself. What comes
/// through `w` is for the process, and not for its child.
#[track_caller]
fn the_reader_alone_gets_it(t: &Guest, r: i32, w: i32, data: &str) {
    let page = t.pages(1);
    page.set(100, 1);
    let reader = t.thread(move || {
        sys!(read(r, page.address, 2)).is(2);
    });
    t.until_asleep(reader.tid);
    let go = t.pipe();
    let child = t.fork_exit(|| {
        go.wait();
        i32::from(page.get(0))
    });
    page.set(100, 2);
    t.send(w, data);
    reader.join();
    go.signal();
    expect_eq!(page.bytes(0, 3), [data.as_bytes(), b"\0"].concat());
    child.done();
}

#[case(as_root, as_user)]
fn a_fork_while_a_pipe_is_read_takes_nothing_away(t: &mut Guest) {
    let pipe = t.pipe();
    the_reader_alone_gets_it(t, pipe.r, pipe.w, "ok");
}

#[case(as_root, as_user)]
fn a_fork_while_a_socket_is_read_takes_nothing_away(t: &mut Guest) {
    let (a, b) = t.socketpair(SOCK_STREAM);
    the_reader_alone_gets_it(t, a, b, "ok");
    let (a, b) = t.tcp_pair();
    the_reader_alone_gets_it(t, a, b, "ok");
}

#[case(as_root, as_user)]
fn a_fork_while_a_terminal_is_read_takes_nothing_away(t: &mut Guest) {
    let pty = t.pty();
    the_reader_alone_gets_it(t, pty.slave, pty.master, "o\n");
}

#[case(as_root, as_user)]
fn a_read_goes_to_what_is_mapped_when_data_come(t: &mut Guest) {
    let (pipe, page) = (t.pipe(), t.pages(1));
    let reader = t.thread(move || {
        sys!(read(pipe.r, page.address, 2)).is(2);
    });
    t.until_asleep(reader.tid);
    let flags = MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS;
    sys!(mmap(page.address, page.length, PROT_READ | PROT_WRITE, flags, -1, 0)).size();
    t.send(pipe.w, "ok");
    reader.join();
    expect_eq!(page.bytes(0, 2), b"ok");
}

#[case(as_root, as_user)]
fn a_read_into_what_is_unmapped_meanwhile_is_efault(t: &mut Guest) {
    let (pipe, page) = (t.pipe(), t.pages(1));
    let reader = t.thread(move || {
        sys!(read(pipe.r, page.address, 2)).fails(EFAULT);
    });
    t.until_asleep(reader.tid);
    t.unmap(page.address, page.length).ok();
    t.send(pipe.w, "ok");
    reader.join();
    expect_eq!(t.recv(pipe.r, 2), b"ok");
}

#[case(as_root, as_user)]
fn a_write_that_waits_sends_what_is_there_in_the_end(t: &mut Guest) {
    let (pipe, page) = (t.pipe(), t.pages(1));
    sys!(fcntl(pipe.w, F_SETPIPE_SZ, 4096)).is(4096);
    t.send(pipe.w, [0; 4096]);
    page.put(0, b"old");
    let writer = t.thread(move || {
        sys!(write(pipe.w, page.address, 3)).is(3);
    });
    t.until_asleep(writer.tid);
    let child = t.sleeper();
    page.put(0, b"new");
    t.recv_all(pipe.r, 4096);
    writer.join();
    expect_eq!(t.recv(pipe.r, 3), b"new");
    child.kill(SIGKILL);
    child.wait().killed(SIGKILL);
}
