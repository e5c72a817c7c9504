//! Listings that go on while the directory changes, and what lookups remember of names.

use crate::prelude::*;
use libc::*;
use std::collections::BTreeSet;

/// An entry of getdents64.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    name: String,
    ino: u64,
    next: i64,
    kind: u8,
}

/// The entries of one call with a buffer of `room` bytes.
#[track_caller]
fn some_entries(fd: i32, room: usize) -> Vec<Entry> {
    let mut buffer = vec![0_u64; room / 8];
    let length = sys!(getdents64(fd, &mut buffer, room)).size();
    let bytes: Vec<u8> = buffer.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let mut entries = Vec::new();
    let mut at = 0;
    while at < length {
        let word = |from: usize| bytes[from..from + 8].try_into().map(u64::from_ne_bytes).unwrap_or_default();
        let size = usize::from(u16::from_ne_bytes([bytes[at + 16], bytes[at + 17]]));
        let name = bytes[at + 19..at + size].split(|byte| *byte == 0).next().unwrap_or_default();
        let name = String::from_utf8_lossy(name).into_owned();
        entries.push(Entry { name, ino: word(at), next: word(at + 8).cast_signed(), kind: bytes[at + 18] });
        at += size;
    }
    entries
}

/// All of a directory, from its start, by calls with a small buffer.
#[track_caller]
fn all_entries(fd: i32) -> Vec<Entry> {
    sys!(lseek(fd, 0, SEEK_SET)).is(0);
    let mut all = Vec::new();
    loop {
        let some = some_entries(fd, 512);
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

#[case(as_root, as_user)]
fn a_position_leads_back_to_the_entry_behind_it(t: &mut Guest) {
    for n in 0..100 {
        t.file(&format!("file-{n:03}"), "");
    }
    for directory in [".", "/", "/etc", "/proc/self"] {
        let fd = t.open(directory, O_RDONLY | O_DIRECTORY);
        let all = all_entries(fd);
        for pair in all.windows(2).rev().step_by(7) {
            sys!(lseek(fd, pair[0].next, SEEK_SET)).is(pair[0].next);
            expect_eq!(some_entries(fd, 512).first(), Some(&pair[1]));
        }
        sys!(lseek(fd, all[0].next, SEEK_SET)).is(all[0].next);
        sys!(lseek(fd, 0, SEEK_CUR)).is(all[0].next);
        expect_eq!(some_entries(fd, 512).first(), all.get(1));
        expect_eq!(all_entries(fd), all);
        sys!(close(fd)).ok();
    }
}

#[case(as_root, as_user)]
fn a_listing_says_of_each_entry_what_lstat_says(t: &mut Guest) {
    t.file("f", "x");
    t.dir("d");
    sys!(symlink(c"f", c"l")).ok();
    sys!(mknodat(AT_FDCWD, c"p", S_IFIFO | 0o600, 0)).ok();
    let fd = t.open(".", O_RDONLY | O_DIRECTORY);
    for entry in all_entries(fd) {
        let stat = t.lstat(&entry.name);
        let listed = (entry.ino, u32::from(entry.kind) << 12);
        expect_eq!((&entry.name, listed), (&entry.name, (stat.st_ino, stat.st_mode & S_IFMT)));
    }
    // Files nobody in here has looked at.
    let fd = t.open("/usr", O_RDONLY | O_DIRECTORY);
    for entry in all_entries(fd).iter().filter(|entry| entry.kind != DT_UNKNOWN) {
        let mode = t.lstat(&format!("/usr/{}", entry.name)).st_mode;
        expect_eq!((&entry.name, u32::from(entry.kind) << 12), (&entry.name, mode & S_IFMT));
    }
}

#[case(as_root, as_user)]
fn what_stays_is_listed_once_whatever_else_comes_and_goes(t: &mut Guest) {
    let stays = |n: usize| format!("stays-{n:03}");
    let goes = |n: usize| format!("goes-{n:03}");
    for n in 0..150 {
        t.file(&stays(n), "");
        t.file(&goes(n), "");
    }
    let fd = t.open(".", O_RDONLY | O_DIRECTORY);
    let (mut seen, mut round) = (Vec::new(), 0);
    loop {
        let some = some_entries(fd, 512);
        if some.is_empty() {
            break;
        }
        seen.extend(some.into_iter().map(|entry| entry.name));
        if round < 50 {
            sys!(unlink(&cstr(goes(3 * round)))).ok();
            sys!(rename(&cstr(goes(3 * round + 1)), &cstr(format!("renamed-{round}")))).ok();
            t.file(&format!("comes-{round}"), "");
        }
        round += 1;
    }
    check!(round > 10);
    for n in 0..150 {
        expect_eq!((stays(n), seen.iter().filter(|name| **name == stays(n)).count()), (stays(n), 1));
    }
    let (names, unique): (Vec<_>, BTreeSet<_>) = (seen.clone(), seen.into_iter().collect());
    expect_eq!(names.len(), unique.len());
    // From the start everything is as it is now.
    let now: BTreeSet<_> = all_entries(fd).into_iter().map(|entry| entry.name).collect();
    for n in 0..50.min(round) {
        check!(!now.contains(&goes(3 * n)) && !now.contains(&goes(3 * n + 1)));
        check!(now.contains(&goes(3 * n + 2)));
        check!(now.contains(&format!("renamed-{n}")) && now.contains(&format!("comes-{n}")));
    }
}

#[case(as_root, as_user)]
fn a_renamed_directory_goes_on_being_listed(t: &mut Guest) {
    t.dir("a");
    t.dir("b");
    for n in 0..60 {
        t.file(&format!("a/file-{n:02}"), "");
    }
    let fd = t.open("a", O_RDONLY | O_DIRECTORY);
    let mut seen: Vec<_> = some_entries(fd, 512).into_iter().map(|entry| entry.name).collect();
    sys!(rename(c"a", c"b/c")).ok();
    loop {
        let some = some_entries(fd, 512);
        if some.is_empty() {
            break;
        }
        seen.extend(some.into_iter().map(|entry| entry.name));
    }
    expect_eq!(seen.len(), 62);
    let above = all_entries(fd).into_iter().find(|entry| entry.name == "..");
    expect_eq!(above.map(|entry| entry.ino), Some(t.stat("b").st_ino));
}

/// Makes `d/n`; the directory is also open as the descriptor.
type Make = fn(&Guest, i32);

/// Looks at a name that is not there, has it made, and looks again, each time by another way.
#[case(as_root, as_user)]
fn a_name_that_was_not_there_is_found_once_it_is_made(t: &mut Guest) {
    t.dir("d");
    t.file("d/old", "x");
    sys!(symlink(c"d", c"way")).ok();
    let dir = t.open("d", O_PATH | O_DIRECTORY);
    let make: [(&str, Make); 8] = [
        ("open through a link", |t, _| t.file("way/n", "")),
        ("openat", |_, dir| {
            sys!(close(sys!(openat(dir, c"n", O_CREAT | O_WRONLY, 0o600)).fd())).ok();
        }),
        ("mkdir", |_, _| {
            sys!(mkdir(c"way/../d/n", 0o700)).ok();
        }),
        ("link", |_, dir| {
            sys!(linkat(dir, c"old", AT_FDCWD, c"d/n", 0)).ok();
        }),
        ("symlink", |_, dir| {
            sys!(symlinkat(c"old", dir, c"n")).ok();
        }),
        ("rename", |t, dir| {
            t.file("other", "");
            sys!(renameat(AT_FDCWD, c"other", dir, c"n")).ok();
        }),
        ("mknod by /proc", |_, dir| {
            sys!(mknodat(AT_FDCWD, &cstr(format!("/proc/self/fd/{dir}/n")), S_IFIFO | 0o600, 0)).ok();
        }),
        ("another process", |t, _| {
            t.fork(|| t.file("d/n", "")).wait().exited(0);
        }),
    ];
    for (how, make) in make {
        for path in ["d/n", "way/n", "./d/../d/n"] {
            sys!(access(&cstr(path), F_OK)).fails(ENOENT);
            t.try_open(path, O_RDONLY | O_NONBLOCK).fails(ENOENT);
        }
        check!(!t.names("d").contains(&"n".to_owned()));
        make(t, dir);
        for path in ["d/n", "way/n", "./d/../d/n"] {
            check!(t.exists(path), "{path} after {how}");
        }
        check!(t.names("d").contains(&"n".to_owned()), "listed after {how}");
        let flags = if t.lstat("d/n").st_mode & S_IFMT == S_IFDIR { AT_REMOVEDIR } else { 0 };
        sys!(unlinkat(dir, c"n", flags)).ok();
    }
}

#[case(as_root, as_user)]
fn a_name_below_a_directory_that_moved_is_where_that_is(t: &mut Guest) {
    t.dir("a");
    t.dir("a/b");
    t.file("a/b/f", "x");
    check!(t.exists("a/b/f") && !t.exists("c/b/f") && !t.exists("a/b/g"));
    sys!(rename(c"a", c"c")).ok();
    check!(!t.exists("a/b/f") && t.exists("c/b/f") && !t.exists("c/b/g"));
    t.file("c/b/g", "");
    t.dir("a");
    check!(!t.exists("a/b"));
    sys!(renameat2(AT_FDCWD, c"a", AT_FDCWD, c"c", 2)).ok();
    check!(t.exists("a/b/g") && !t.exists("c/b"));
}

#[case(as_root, as_user)]
fn attributes_are_the_files_whatever_leads_to_it(t: &mut Guest) {
    t.file("f", "12345");
    sys!(link(c"f", c"g")).ok();
    sys!(symlink(c"f", c"l")).ok();
    let fd = t.open("f", O_RDWR);
    let seen = |t: &Guest| {
        let of = |stat: libc::stat| (stat.st_size, stat.st_mode & 0o7777, stat.st_nlink);
        let all = [of(t.fstat(fd)), of(t.stat("f")), of(t.stat("g")), of(t.stat("l"))];
        check!(all.iter().all(|each| *each == all[0]), "{all:?}");
        all[0]
    };
    expect_eq!(seen(t), (5, 0o644, 2));
    sys!(ftruncate(fd, 9)).ok();
    expect_eq!(seen(t), (9, 0o644, 2));
    sys!(chmod(c"g", 0o600)).ok();
    expect_eq!(seen(t), (9, 0o600, 2));
    sys!(truncate(c"l", 3)).ok();
    sys!(link(c"f", c"h")).ok();
    expect_eq!(seen(t), (3, 0o600, 3));
    t.fork(|| {
        t.write("g", "a longer text").ok();
    })
    .wait()
    .exited(0);
    sys!(unlink(c"h")).ok();
    expect_eq!(seen(t), (13, 0o600, 2));
}

/// An overlay at `m`, of `t/lower` below `t/upper`, on a tmpfs.
#[track_caller]
fn overlay(t: &Guest, lower: &[(&str, &str)]) {
    sys!(unshare(CLONE_NEWNS)).ok();
    sys!(mount(0, c"/", 0, MS_REC | MS_PRIVATE, 0)).ok();
    t.dir("t");
    sys!(mount(c"none", c"t", c"tmpfs", 0, c"mode=755")).ok();
    for name in ["t/lower", "t/lower/d", "t/upper", "t/work", "m"] {
        t.dir(name);
    }
    for (name, data) in lower {
        t.file(&format!("t/lower/{name}"), data);
    }
    sys!(mount(c"none", c"m", c"overlay", 0, c"lowerdir=t/lower,upperdir=t/upper,workdir=t/work"))
        .or_skip(ENODEV, "no overlay here")
        .ok();
}

#[case(as_root)]
fn an_open_file_of_an_overlay_shows_its_copy(t: &mut Guest) {
    overlay(t, &[("d/f", "below")]);
    let reader = t.open("m/d/f", O_RDONLY);
    let before = t.fstat(reader);
    expect_eq!(before.st_size, 5);
    t.write("m/d/f", "and above it").ok();
    for after in [t.fstat(reader), t.stat("m/d/f"), t.lstat("m/d/f")] {
        expect_eq!((after.st_ino, after.st_dev), (before.st_ino, before.st_dev));
        expect_eq!(after.st_size, 12);
    }
    expect_eq!(t.recv(reader, 100), b"and above it");
    t.read("t/lower/d/f").is("below");
    sys!(chmod(c"m/d/f", 0o600)).ok();
    expect_eq!(t.fstat(reader).st_mode & 0o777, 0o600);
    sys!(unlink(c"m/d/f")).ok();
    expect_eq!(t.fstat(reader).st_nlink, 0);
    check!(!t.exists("m/d/f") && t.exists("t/lower/d/f"));
}

#[case(as_root)]
fn a_listing_of_an_overlay_follows_its_changes(t: &mut Guest) {
    overlay(t, &[("d/one", ""), ("d/two", ""), ("d/three", "")]);
    let fd = t.open("m/d", O_RDONLY | O_DIRECTORY);
    let names = |fd: i32| {
        let mut names: Vec<_> = all_entries(fd).into_iter().map(|entry| entry.name).collect();
        names.sort();
        names
    };
    expect_eq!(names(fd), [".", "..", "one", "three", "two"]);
    check!(!t.exists("m/d/new"));
    sys!(unlink(c"m/d/one")).ok();
    t.file("m/d/new", "");
    sys!(rename(c"m/d/two", c"m/d/moved")).ok();
    expect_eq!(names(fd), [".", "..", "moved", "new", "three"]);
    check!(t.exists("m/d/new") && !t.exists("m/d/one") && !t.exists("m/d/two"));
    t.file("m/d/one", "again");
    t.read("m/d/one").is("again");
    expect_eq!(names(fd), [".", "..", "moved", "new", "one", "three"]);
    for entry in all_entries(fd).iter().filter(|entry| entry.name != "..") {
        let ino = t.lstat(&format!("m/d/{}", entry.name)).st_ino;
        expect_eq!((&entry.name, entry.ino), (&entry.name, ino));
    }
}
