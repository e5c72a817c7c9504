//! Who one is, asked before and after each change: a sandbox may keep what these calls return.

use crate::prelude::*;
use libc::*;
use std::sync::atomic::Ordering::SeqCst;

/// All real and effective ids, asked more than once.
#[track_caller]
fn ids_are(uid: i64, euid: i64, gid: i64, egid: i64) {
    for _ in 0..3 {
        sys!(getuid()).is(uid);
        sys!(geteuid()).is(euid);
        sys!(getgid()).is(gid);
        sys!(getegid()).is(egid);
    }
}

/// Process and thread, asked more than once.
#[track_caller]
fn is_task(pid: i64, tid: i64) {
    for _ in 0..3 {
        sys!(getpid()).is(pid);
        sys!(gettid()).is(tid);
    }
}

#[case(as_root)]
fn every_change_of_ids_shows_at_once(_t: &mut Guest) {
    ids_are(0, 0, 0, 0);
    sys!(setresgid(10, 11, 12)).ok();
    ids_are(0, 0, 10, 11);
    sys!(setregid(-1, 12)).ok();
    ids_are(0, 0, 10, 12);
    sys!(setgid(13)).ok();
    ids_are(0, 0, 13, 13);
    sys!(setresuid(0, 7, 0)).ok();
    ids_are(0, 7, 13, 13);
    sys!(setuid(5)).fails(EPERM);
    ids_are(0, 7, 13, 13);
    sys!(setreuid(-1, 0)).ok();
    ids_are(0, 0, 13, 13);
    sys!(setuid(9)).ok();
    ids_are(9, 9, 13, 13);
}

#[case(as_root, as_user)]
fn a_child_is_another_and_its_parent_the_same(t: &mut Guest) {
    let own = sys!(getpid()).ok();
    is_task(own, own);
    for _ in 0..3 {
        let child = t.fork(|| {
            let inside = sys!(getpid()).ok();
            check!(inside != own);
            is_task(inside, inside);
            t.fork(|| check!(sys!(getpid()).ok() != inside)).done();
            is_task(inside, inside);
        });
        is_task(own, own);
        check!(i64::from(child.pid) != own);
        child.done();
    }
    is_task(own, own);
}

#[case(as_root)]
fn ids_of_a_child_and_its_parent_part(t: &mut Guest) {
    ids_are(0, 0, 0, 0);
    t.fork(|| {
        ids_are(0, 0, 0, 0);
        sys!(setresuid(3, 4, 5)).ok();
        ids_are(3, 4, 0, 0);
        t.fork(|| ids_are(3, 4, 0, 0)).done();
    })
    .done();
    ids_are(0, 0, 0, 0);
}

#[case(as_root)]
fn threads_have_ids_and_a_number_of_their_own(t: &mut Guest) {
    let own = sys!(getpid()).ok();
    is_task(own, own);
    t.thread(move || {
        let tid = sys!(gettid()).ok();
        check!(tid != own);
        is_task(own, tid);
        sys!(setresuid(1000, 1001, -1)).ok();
        ids_are(1000, 1001, 0, 0);
    })
    .join();
    is_task(own, own);
    ids_are(0, 0, 0, 0);
}

#[case(as_root, as_user)]
fn a_thread_that_executes_becomes_the_leader(t: &mut Guest) {
    let never = t.pipe();
    let (said, status) = t.output_of(|| {
        let pid = sys!(getpid()).ok();
        let program = Guest::program(t).to_owned();
        t.thread(move || {
            is_task(pid, sys!(gettid()).ok());
            let name = c"helper:task";
            let argv = [name.as_ptr(), std::ptr::null()];
            let _ = sys!(execve(program.as_ptr(), argv.as_ptr(), 0));
        });
        never.wait();
    });
    status.exited(0);
    let numbers: Vec<&str> = said.split_whitespace().collect();
    expect_eq!(numbers.len(), 2);
    expect_eq!(numbers[0], numbers[1]);
}

/// Nobody asks the task: the map is written by its parent.
#[case(as_root, as_user)]
fn a_map_written_from_outside_shows_inside(t: &mut Guest) {
    let uid = t.uid();
    let (asked, mapped) = (t.pipe(), t.pipe());
    let child = t.userns(0, || {
        ids_are(65534, 65534, 65534, 65534);
        asked.signal();
        mapped.wait();
        ids_are(5, 5, 65534, 65534);
        t.fork(|| ids_are(5, 5, 65534, 65534)).done();
    });
    asked.wait();
    t.write_maps(child.pid, &format!("5 {uid} 1"), "");
    mapped.signal();
    child.done();
}

#[case(as_root, as_user)]
fn unshare_hides_ids_until_they_are_mapped(t: &mut Guest) {
    let (uid, gid) = (t.uid(), sys!(getegid()).ok());
    ids_are(uid.into(), uid.into(), gid, gid);
    t.unshared(0, || {
        ids_are(65534, 65534, 65534, 65534);
        t.map_root(uid, gid);
        ids_are(0, 0, 0, 0);
    })
    .done();
    ids_are(uid.into(), uid.into(), gid, gid);
}

/// A loop that asks nothing else must not be one that nothing can end.
#[case(as_root, as_user)]
fn signals_reach_a_task_that_only_asks(t: &mut Guest) {
    let word = t.shared();
    let child = t.fork(|| {
        word[0].store(1, SeqCst);
        loop {
            let _ = sys!(getpid());
        }
    });
    t.until(|| word[0].load(SeqCst) == 1);
    child.kill(SIGSTOP);
    child.wait_for(WUNTRACED).stopped(SIGSTOP);
    child.kill(SIGCONT);
    child.wait_for(WCONTINUED).continued();
    child.kill(SIGKILL);
    child.wait().killed(SIGKILL);
}
