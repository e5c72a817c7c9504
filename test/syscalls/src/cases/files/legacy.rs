//! The old calls without `at`, which x86-64 programs still make.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn open_and_creat_work(t: &mut Guest) {
    let fd = sys!(open(c"f", O_CREAT | O_EXCL | O_RDWR, 0o600)).fd();
    t.send(fd, "text");
    let fd = sys!(open(c"f", O_RDONLY, 0)).fd();
    expect_eq!(t.recv(fd, 8), b"text");
    let fd = sys!(creat(c"f", 0o600)).fd();
    expect_eq!(t.fstat(fd).st_size, 0);
    sys!(read(fd, &mut [0_u8], 1)).fails(EBADF);
}

#[case(as_root, as_user)]
fn stat_and_lstat_fill_the_same_structure(t: &mut Guest) {
    t.file("f", "text");
    sys!(symlink(c"f", c"l")).ok();
    let mut stat: stat = zeroed();
    sys!(stat(c"l", &raw mut stat)).ok();
    expect_eq!((stat.st_ino, stat.st_size), (t.stat("f").st_ino, 4));
    sys!(lstat(c"l", &raw mut stat)).ok();
    expect_eq!(stat.st_ino, t.lstat("l").st_ino);
}

#[case(as_root, as_user)]
fn mknod_makes_fifos_and_files(t: &mut Guest) {
    sys!(mknod(c"p", S_IFIFO | 0o600, 0)).ok();
    sys!(mknod(c"f", S_IFREG | 0o600, 0)).ok();
    expect_eq!(t.lstat("p").st_mode & S_IFMT, S_IFIFO);
    expect_eq!(t.lstat("f").st_mode & S_IFMT, S_IFREG);
}

#[case(as_root, as_user)]
fn utime_utimes_and_futimesat_set_times(t: &mut Guest) {
    t.file("f", "");
    let seconds = [1000_i64, 2000];
    sys!(utime(c"f", &seconds)).ok();
    expect_eq!((t.stat("f").st_atime, t.stat("f").st_mtime), (1000, 2000));
    let micros = [3000_i64, 5, 4000, 6];
    sys!(utimes(c"f", &micros)).ok();
    expect_eq!((t.stat("f").st_atime, t.stat("f").st_mtime_nsec), (3000, 6000));
    sys!(futimesat(AT_FDCWD, c"f", 0)).ok();
    check!(t.stat("f").st_mtime > 4000);
}

/// The old entry has its type as the last byte of the record.
#[case(as_root, as_user)]
fn getdents_has_the_type_at_the_end(t: &mut Guest) {
    t.file("name", "");
    let fd = t.open(".", O_RDONLY);
    let mut buffer = [0_u64; 64];
    let length = sys!(getdents(fd, &mut buffer, 512)).size();
    let bytes: Vec<u8> = buffer.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let mut at = 0;
    let mut found = false;
    while at < length {
        let size = usize::from(u16::from_ne_bytes([bytes[at + 16], bytes[at + 17]]));
        if bytes[at + 18..].starts_with(b"name\0") {
            expect_eq!(bytes[at + size - 1], DT_REG);
            found = true;
        }
        at += size;
    }
    check!(found);
}

#[case(as_root, as_user)]
fn the_descriptor_makers_without_flags_work(t: &mut Guest) {
    let mut ends = [0_i32; 2];
    sys!(pipe(&mut ends)).ok();
    t.send(ends[1], "x");
    expect_eq!(t.recv(ends[0], 4), b"x");
    let event = sys!(eventfd(3)).fd();
    expect_eq!(t.recv(event, 8), 3_u64.to_ne_bytes());
    let set = 1_u64 << (SIGUSR1 - 1);
    for fd in
        [sys!(epoll_create(1)).fd(), sys!(inotify_init()).fd(), sys!(signalfd(-1, &raw const set, 8)).fd()]
    {
        sys!(fcntl(fd, F_GETFD, 0)).is(0);
    }
}

#[case(as_root, as_user)]
fn the_fork_number_makes_a_child(_t: &mut Guest) {
    let pid = sys!(fork());
    if pid.raw() == 0 {
        let _ = sys!(exit_group(4));
    }
    Child { pid: pid.fd() }.wait().exited(4);
}

#[case(as_root, as_user)]
fn sync_flags_are_kept(t: &mut Guest) {
    let fd = t.open("f", O_CREAT | O_WRONLY | O_SYNC);
    t.send(fd, "x");
    expect_eq!(sys!(fcntl(fd, F_GETFL, 0)).fd() & O_SYNC, O_SYNC);
    let fd = t.open("f", O_WRONLY | O_DSYNC);
    expect_eq!(sys!(fcntl(fd, F_GETFL, 0)).fd() & O_SYNC, O_DSYNC);
    sys!(fsync(t.open(".", O_RDONLY))).is(0);
}
