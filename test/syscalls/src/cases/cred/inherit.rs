//! What credentials mean for files, signals and children.

use crate::prelude::*;
use libc::*;

/// Runs `body` in a child with all its ids `uid` and no groups.
fn as_user(t: &Guest, uid: u32, body: impl FnOnce()) -> Child {
    t.fork(|| {
        sys!(setgroups(0, 0)).ok();
        sys!(setresgid(uid, uid, uid)).ok();
        sys!(setresuid(uid, uid, uid)).ok();
        body();
    })
}

#[case(as_root)]
fn children_inherit_all_ids(t: &mut Guest) {
    sys!(setgroups(2, &[7_u32, 8])).ok();
    sys!(setresgid(10, 20, 30)).ok();
    sys!(setresuid(1, 2, 3)).ok();
    t.fork(|| {
        let (mut uids, mut gids) = ([0_u32; 3], [0_u32; 3]);
        let at = uids.as_mut_ptr();
        sys!(getresuid(at, at.wrapping_add(1), at.wrapping_add(2))).ok();
        let at = gids.as_mut_ptr();
        sys!(getresgid(at, at.wrapping_add(1), at.wrapping_add(2))).ok();
        expect_eq!((uids, gids), ([1, 2, 3], [10, 20, 30]));
        sys!(getgroups(0, 0)).is(2);
        sys!(getuid()).is(1);
        sys!(geteuid()).is(2);
        sys!(getgid()).is(10);
        sys!(getegid()).is(20);
    })
    .done();
}

/// setuid is per thread in the kernel; glibc makes it per process.
#[case(as_root)]
fn the_raw_calls_change_one_thread(t: &mut Guest) {
    t.thread(|| {
        sys!(setresuid(1000, 1000, 1000)).ok();
        sys!(geteuid()).is(1000);
    })
    .join();
    sys!(geteuid()).is(0);
}

#[case(as_root)]
fn fsuid_decides_about_files_and_follows_the_effective_id(t: &mut Guest) {
    t.file("f", "");
    sys!(chmod(c"f", 0o600)).ok();
    sys!(setfsuid(1000)).is(0);
    sys!(setfsuid(-1)).is(1000);
    t.try_open("f", O_RDONLY).fails(EACCES);
    sys!(geteuid()).is(0);
    sys!(setresuid(-1, 0, -1)).ok();
    sys!(setfsuid(-1)).is(0);
    t.open("f", O_RDONLY);
    sys!(setfsgid(77)).is(0);
    t.file("g", "");
    expect_eq!(t.stat("g").st_gid, 77);
}

/// Linux: kill_ok_by_cred. The sender's real or effective id is the target's real or saved id.
#[case(as_root)]
fn signals_go_to_processes_of_the_same_user(t: &mut Guest) {
    let ready = t.pipe();
    let target = as_user(t, 1000, || {
        ready.signal();
        loop {
            let _ = sys!(pause());
        }
    });
    ready.wait();
    as_user(t, 1001, || sys!(kill(target.pid, 0)).fails(EPERM)).done();
    // SIGCONT may be sent to anyone in the session.
    as_user(t, 1001, || sys!(kill(target.pid, SIGCONT)).is(0)).done();
    as_user(t, 1000, || sys!(kill(target.pid, 0)).is(0)).done();
    t.fork(|| {
        sys!(setresuid(1000, 1001, 1001)).ok();
        sys!(kill(target.pid, 0)).is(0);
    })
    .done();
    target.kill(SIGKILL);
    target.wait().killed(SIGKILL);
}

#[case(as_root)]
fn a_file_opened_before_stays_open_after_dropping_root(t: &mut Guest) {
    t.file("f", "secret");
    sys!(chmod(c"f", 0o600)).ok();
    let fd = t.open("f", O_RDONLY);
    as_user(t, 1000, || {
        t.try_open("f", O_RDONLY).fails(EACCES);
        expect_eq!(t.recv(fd, 16), b"secret");
        t.try_open(&format!("/proc/self/fd/{fd}"), O_RDONLY).fails(EACCES);
    })
    .done();
}

#[case(as_root)]
fn dropping_root_makes_a_process_undumpable(t: &mut Guest) {
    as_user(t, 1000, || {
        sys!(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)).is(0);
        expect_eq!(t.stat("/proc/self/status").st_uid, 0);
        t.try_open("/proc/self/environ", O_RDONLY).fails(EACCES);
        sys!(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)).ok();
        expect_eq!(t.stat("/proc/self/status").st_uid, 1000);
    })
    .done();
}

#[case(as_root, as_user)]
fn umask_masks_and_gives_the_old_value(t: &mut Guest) {
    sys!(umask(0o777_777)).is(0o022);
    sys!(umask(0o077)).is(0o777);
    t.file("f", "");
    expect_eq!(t.mode("f"), 0o600);
    sys!(mkdir(c"d", 0o777)).ok();
    expect_eq!(t.mode("d"), 0o700);
    sys!(mknodat(AT_FDCWD, c"p", S_IFIFO | 0o666, 0)).ok();
    expect_eq!(t.mode("p"), 0o600);
    let (mask, status) = (t.field("/proc/self/status", "Umask"), "0077");
    expect_eq!(mask, status);
}
