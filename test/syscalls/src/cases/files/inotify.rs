//! inotify.

use crate::prelude::*;
use libc::*;

/// The events that are waiting: mask, cookie and name of each.
#[track_caller]
fn events(t: &Guest, fd: i32) -> Vec<(u32, u32, String)> {
    let mut events = Vec::new();
    if t.poll(fd, POLLIN, 0) == 0 {
        return events;
    }
    let bytes = t.recv(fd, 4096);
    let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
    let mut at = 0;
    while at < bytes.len() {
        let length = word(at + 12) as usize;
        let name = String::from_utf8_lossy(&bytes[at + 16..at + 16 + length]);
        events.push((word(at + 4), word(at + 8), name.trim_end_matches('\0').to_owned()));
        at += 16 + length;
    }
    events
}

#[track_caller]
fn masks(t: &Guest, fd: i32) -> Vec<(u32, String)> {
    events(t, fd).into_iter().map(|(mask, _, name)| (mask, name)).collect()
}

#[case(as_root, as_user)]
fn a_directory_tells_what_happens_to_its_files(t: &mut Guest) {
    t.dir("d");
    let fd = sys!(inotify_init1(IN_NONBLOCK | IN_CLOEXEC)).fd();
    sys!(inotify_add_watch(fd, c"d", IN_ALL_EVENTS & !IN_ACCESS)).is(1);
    t.file("d/f", "x");
    let name = || "f".to_owned();
    expect_eq!(
        masks(t, fd),
        [(IN_CREATE, name()), (IN_OPEN, name()), (IN_MODIFY, name()), (IN_CLOSE_WRITE, name())]
    );
    sys!(chmod(c"d/f", 0o600)).ok();
    sys!(unlink(c"d/f")).ok();
    expect_eq!(masks(t, fd), [(IN_ATTRIB, name()), (IN_DELETE, name())]);
    t.dir("d/sub");
    expect_eq!(masks(t, fd)[0], (IN_CREATE | IN_ISDIR, "sub".to_owned()));
}

#[case(as_root, as_user)]
fn a_move_is_two_events_with_one_cookie(t: &mut Guest) {
    t.dir("d");
    t.file("d/a", "");
    let fd = sys!(inotify_init1(IN_NONBLOCK)).fd();
    sys!(inotify_add_watch(fd, c"d", IN_MOVE)).ok();
    sys!(rename(c"d/a", c"d/b")).ok();
    let events = events(t, fd);
    expect_eq!(events.len(), 2);
    expect_eq!((events[0].0, events[0].2.as_str()), (IN_MOVED_FROM, "a"));
    expect_eq!((events[1].0, events[1].2.as_str()), (IN_MOVED_TO, "b"));
    check!(events[0].1 != 0 && events[0].1 == events[1].1);
}

#[case(as_root, as_user)]
fn removing_the_watched_file_ends_the_watch(t: &mut Guest) {
    t.file("f", "");
    let fd = sys!(inotify_init1(IN_NONBLOCK)).fd();
    sys!(inotify_add_watch(fd, c"f", IN_DELETE_SELF)).is(1);
    sys!(unlink(c"f")).ok();
    expect_eq!(masks(t, fd), [(IN_DELETE_SELF, String::new()), (IN_IGNORED, String::new())]);
    sys!(inotify_rm_watch(fd, 1)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn watches_are_added_changed_and_removed(t: &mut Guest) {
    t.file("f", "");
    t.file("g", "");
    let fd = sys!(inotify_init1(IN_NONBLOCK)).fd();
    sys!(inotify_add_watch(fd, c"f", IN_MODIFY)).is(1);
    sys!(inotify_add_watch(fd, c"g", IN_MODIFY)).is(2);
    sys!(inotify_add_watch(fd, c"f", IN_ATTRIB)).is(1);
    sys!(inotify_add_watch(fd, c"f", IN_ATTRIB | IN_MASK_CREATE)).fails(EEXIST);
    t.write("f", "x").ok();
    expect_eq!(masks(t, fd), []);
    sys!(inotify_rm_watch(fd, 1)).ok();
    expect_eq!(masks(t, fd), [(IN_IGNORED, String::new())]);
    sys!(inotify_add_watch(fd, c"none", IN_MODIFY)).fails(ENOENT);
    sys!(inotify_add_watch(fd, c"f", 0)).fails(EINVAL);
    sys!(inotify_add_watch(fd, c"f", IN_MODIFY | IN_ONLYDIR)).fails(ENOTDIR);
    sys!(inotify_add_watch(t.pipe().r, c"f", IN_MODIFY)).fails(EINVAL);
    sys!(inotify_init1(0x1)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn reading_waits_or_is_eagain_and_needs_room(t: &mut Guest) {
    t.dir("d");
    let fd = sys!(inotify_init1(IN_NONBLOCK)).fd();
    sys!(inotify_add_watch(fd, c"d", IN_CREATE)).ok();
    let mut buffer = [0_u8; 64];
    sys!(read(fd, &mut buffer, 64)).fails(EAGAIN);
    t.file("d/f", "");
    sys!(read(fd, &mut buffer, 16)).fails(EINVAL);
    let mut count = 0_i32;
    sys!(ioctl(fd, FIONREAD, &raw mut count)).ok();
    expect_eq!(count, 32);
    sys!(read(fd, &mut buffer, 64)).is(32);
}

#[case(as_root, as_user)]
fn equal_events_in_a_row_are_one(t: &mut Guest) {
    t.file("f", "");
    let fd = sys!(inotify_init1(IN_NONBLOCK)).fd();
    sys!(inotify_add_watch(fd, c"f", IN_MODIFY)).ok();
    let file = t.open("f", O_WRONLY);
    t.send(file, "a");
    t.send(file, "b");
    expect_eq!(masks(t, fd).len(), 1);
}

#[case(as_root, as_user)]
fn oneshot_fires_once(t: &mut Guest) {
    t.file("f", "");
    let fd = sys!(inotify_init1(IN_NONBLOCK)).fd();
    sys!(inotify_add_watch(fd, c"f", IN_MODIFY | IN_ONESHOT)).ok();
    t.write("f", "x").ok();
    expect_eq!(masks(t, fd), [(IN_MODIFY, String::new()), (IN_IGNORED, String::new())]);
}

#[case(as_root, as_user)]
fn the_watched_file_itself_can_move_and_change(t: &mut Guest) {
    t.file("f", "");
    let fd = sys!(inotify_init1(IN_NONBLOCK)).fd();
    sys!(inotify_add_watch(fd, c"f", IN_MOVE_SELF | IN_ATTRIB)).ok();
    sys!(rename(c"f", c"g")).ok();
    expect_eq!(masks(t, fd), [(IN_MOVE_SELF, String::new())]);
    sys!(chmod(c"g", 0o600)).ok();
    expect_eq!(masks(t, fd), [(IN_ATTRIB, String::new())]);
}

#[case(as_root, as_user)]
fn reads_and_closes_are_told_apart_from_writes(t: &mut Guest) {
    t.file("f", "text");
    let fd = sys!(inotify_init1(IN_NONBLOCK)).fd();
    sys!(inotify_add_watch(fd, c"f", IN_ACCESS | IN_CLOSE | IN_OPEN)).ok();
    t.read("f").is("text");
    let kinds: Vec<u32> = masks(t, fd).into_iter().map(|(mask, _)| mask).collect();
    expect_eq!(kinds, [IN_OPEN, IN_ACCESS, IN_CLOSE_NOWRITE]);
}
