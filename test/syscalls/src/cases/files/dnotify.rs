//! fcntl(F_NOTIFY).

use crate::prelude::*;
use libc::*;

/// A realtime signal, which queues and tells the descriptor.
const SIGNAL: i32 = 40;

/// `si_code` of all these signals.
const POLL_MSG: i32 = 3;

const DN_ACCESS: u32 = 0x1;
const DN_MODIFY: u32 = 0x2;
const DN_CREATE: u32 = 0x4;
const DN_DELETE: u32 = 0x8;
const DN_RENAME: u32 = 0x10;
const DN_ATTRIB: u32 = 0x20;
const DN_MULTISHOT: u32 = 0x8000_0000;

/// A directory whose events send [`SIGNAL`].
#[track_caller]
fn watch(t: &Guest, directory: &str, events: u32) -> i32 {
    t.block(&[SIGNAL, SIGIO]);
    let fd = t.open(directory, O_RDONLY | O_DIRECTORY);
    sys!(fcntl(fd, F_SETSIG, SIGNAL)).ok();
    sys!(fcntl(fd, F_NOTIFY, events)).ok();
    fd
}

/// A new directory `d`, watched.
#[track_caller]
fn watched(t: &Guest, events: u32) -> i32 {
    t.dir("d");
    watch(t, "d", events)
}

/// The descriptor of the next signal.
#[track_caller]
fn next(t: &Guest) -> i32 {
    let info = t.take(&[SIGNAL]);
    expect_eq!(info.code(), POLL_MSG);
    info.fd()
}

/// No signal is on its way: the next is that of another directory.
#[track_caller]
fn no_more(t: &Guest) {
    t.dir("end");
    let fd = watch(t, "end", DN_CREATE);
    t.file("end/f", "");
    expect_eq!(next(t), fd);
}

#[case(as_root, as_user)]
fn the_owner_is_whoever_asks(t: &mut Guest) {
    let fd = watched(t, DN_CREATE);
    sys!(fcntl(fd, F_GETOWN, 0)).is(sys!(getpid()).ok());
    t.file("d/f", "");
    expect_eq!(next(t), fd);
}

#[case(as_root, as_user)]
fn without_a_choice_it_is_sigio(t: &mut Guest) {
    let fd = watched(t, DN_DELETE);
    sys!(fcntl(fd, F_SETSIG, 0)).ok();
    t.file("d/f", "");
    sys!(unlink(c"d/f")).ok();
    expect_eq!(t.take(&[SIGIO]).code(), SI_KERNEL);
}

#[case(as_root, as_user)]
fn once_is_enough_unless_more_are_asked_for(t: &mut Guest) {
    watched(t, DN_CREATE);
    t.file("d/1", "");
    t.file("d/2", "");
    next(t);
    no_more(t);
}

#[case(as_root, as_user)]
fn multishot_tells_of_each(t: &mut Guest) {
    let fd = watched(t, DN_CREATE | DN_MULTISHOT);
    t.file("d/1", "");
    t.file("d/2", "");
    expect_eq!((next(t), next(t)), (fd, fd));
    no_more(t);
}

#[case(as_root, as_user)]
fn kinds_of_events_are_told_apart(t: &mut Guest) {
    t.dir("d");
    t.file("d/f", "x");
    let fd = watch(t, "d", DN_ACCESS);
    sys!(chmod(c"d/f", 0o600)).ok();
    let file = t.open("d/f", O_RDWR);
    t.send(file, "y");
    t.send(file, "z");
    no_more(t);
    expect_eq!(t.recv(t.open("d/f", O_RDONLY), 1), b"y");
    expect_eq!(next(t), fd);
    sys!(fcntl(fd, F_NOTIFY, DN_MODIFY)).ok();
    t.send(file, "y");
    expect_eq!(next(t), fd);
    sys!(fcntl(fd, F_NOTIFY, DN_ATTRIB)).ok();
    sys!(chmod(c"d/f", 0o640)).ok();
    expect_eq!(next(t), fd);
    sys!(fcntl(fd, F_NOTIFY, DN_RENAME)).ok();
    sys!(rename(c"d/f", c"f")).ok();
    sys!(rename(c"f", c"d/f")).ok();
    sys!(rename(c"d/f", c"d/g")).ok();
    expect_eq!(next(t), fd);
}

#[case(as_root, as_user)]
fn closing_any_copy_in_the_table_ends_it(t: &mut Guest) {
    let fd = watched(t, DN_CREATE);
    sys!(close(sys!(dup(fd)).fd())).ok();
    t.file("d/f", "");
    no_more(t);
}

#[case(as_root, as_user)]
fn another_table_closing_it_changes_nothing(t: &mut Guest) {
    let fd = watched(t, DN_CREATE);
    t.fork(|| {
        sys!(close(fd)).ok();
    })
    .done();
    t.file("d/f", "");
    expect_eq!(next(t), fd);
}

#[case(as_root, as_user)]
fn asking_for_nothing_takes_it_back(t: &mut Guest) {
    let fd = watched(t, DN_CREATE);
    sys!(fcntl(fd, F_NOTIFY, 0)).ok();
    t.file("d/f", "");
    no_more(t);
}

#[case(as_root, as_user)]
fn only_directories_have_it(t: &mut Guest) {
    t.file("f", "");
    let fd = t.open("f", O_RDONLY);
    sys!(fcntl(fd, F_NOTIFY, DN_CREATE)).fails(ENOTDIR);
    sys!(fcntl(fd, F_NOTIFY, DN_MULTISHOT)).ok();
    sys!(fcntl(t.open(".", O_PATH), F_NOTIFY, DN_CREATE)).fails(EBADF);
}
