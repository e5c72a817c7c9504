//! Who opened a map counts, and for ranges who writes it, too.

use crate::prelude::*;
use libc::*;

/// A process of user 1000 in a namespace of its own, ready and waiting to be killed.
#[track_caller]
fn owned_by_a_user(t: &Guest) -> Child {
    let ready = t.pipe();
    let child = t.fork_user(1000, || {
        t.unshare_user(0);
        ready.signal();
        loop {
            let _ = sys!(pause());
        }
    });
    ready.wait();
    child
}

fn uid_map(child: Child) -> String {
    format!("/proc/{}/uid_map", child.pid)
}

#[case(as_root)]
fn a_privileged_opener_does_not_help_an_unprivileged_writer(t: &mut Guest) {
    let child = owned_by_a_user(t);
    let fd = t.open(&uid_map(child), O_WRONLY);
    t.fork_user(1000, || sys!(write(fd, b"0 100000 10", 11)).fails(EPERM)).done();
    t.send(fd, "0 100000 10");
    child.end();
}

#[case(as_root)]
fn a_privileged_writer_does_not_help_an_unprivileged_opener(t: &mut Guest) {
    let child = owned_by_a_user(t);
    t.fork(|| {
        sys!(setresuid(-1, 1000, -1)).ok();
        sys!(setfsuid(1000)).ok();
        let fd = t.open(&uid_map(child), O_WRONLY);
        sys!(setresuid(-1, 0, -1)).ok();
        sys!(write(fd, b"0 100000 10", 11)).fails(EPERM);
        sys!(write(fd, b"0 0 1", 5)).fails(EPERM);
        // As it opened the file, it may.
        t.send(fd, "0 1000 1");
    })
    .done();
    child.end();
}

/// "One's own user" is the opener's, who must own the namespace.
#[case(as_root)]
fn the_openers_own_user_is_what_may_be_mapped_alone(t: &mut Guest) {
    let child = owned_by_a_user(t);
    let fd = t.open(&uid_map(child), O_WRONLY);
    t.fork_user(1000, || {
        sys!(write(fd, b"0 1000 1", 8)).fails(EPERM);
        sys!(write(fd, b"0 0 1", 5)).fails(EPERM);
        let own = t.open(&uid_map(child), O_WRONLY);
        t.send(own, "0 1000 1");
    })
    .done();
    child.end();
}

#[case(as_root)]
fn a_descriptor_of_the_owner_serves_any_writer(t: &mut Guest) {
    let child = owned_by_a_user(t);
    let (a, b) = t.socketpair(SOCK_STREAM);
    t.fork_user(1000, || t.pass_fd(a, t.open(&uid_map(child), O_WRONLY))).done();
    let fd = t.take_fd(b);
    t.fork_user(1001, || t.send(fd, "0 1000 1")).done();
    t.read(&uid_map(child)).is("         0       1000          1\n");
    child.end();
}

#[case(as_root)]
fn the_openers_capability_may_be_gone_but_not_the_writers(t: &mut Guest) {
    let child = owned_by_a_user(t);
    let fd = t.open(&uid_map(child), O_WRONLY);
    t.fork(|| {
        t.drop_cap(CAP_SETUID);
        sys!(write(fd, b"0 100000 10", 11)).fails(EPERM);
    })
    .done();
    t.fork(|| {
        t.drop_cap(CAP_SETUID);
        let fd = t.open(&uid_map(child), O_WRONLY);
        t.fork(|| sys!(write(fd, b"0 100000 10", 11)).fails(EPERM)).done();
    })
    .done();
    t.fork(|| {
        t.drop_cap(CAP_SYS_ADMIN);
        t.drop_cap(CAP_SETFCAP);
        // Opened with both.
        t.send(fd, "0 100000 10\n10 0 1");
    })
    .done();
    child.end();
}

#[case(as_root)]
fn a_file_opened_inside_does_not_grow_when_written_outside(t: &mut Guest) {
    let (a, b) = t.socketpair(SOCK_STREAM);
    let child = t.fork_user(1000, || {
        t.unshare_user(0);
        t.pass_fd(a, t.open("/proc/self/uid_map", O_WRONLY));
        loop {
            let _ = sys!(pause());
        }
    });
    let fd = t.take_fd(b);
    // The writer has CAP_SETUID over the parent, the opener has not.
    sys!(write(fd, b"0 100000 10", 11)).fails(EPERM);
    t.send(fd, "0 1000 1");
    child.end();
}

/// The file is the namespace's that the process had when it was opened.
#[case(as_root, as_user)]
fn a_file_opened_before_unshare_is_the_old_namespaces(t: &mut Guest) {
    let uid = t.uid();
    t.fork(|| {
        let fd = t.open("/proc/self/uid_map", O_WRONLY);
        t.unshare_user(0);
        let map = format!("0 {uid} 1");
        sys!(write(fd, map.as_bytes(), map.len())).fails(EPERM);
        t.read("/proc/self/uid_map").is("");
        t.write("/proc/self/uid_map", map).ok();
    })
    .done();
}

#[case(as_root, as_user)]
fn an_opener_in_the_parent_stays_one_after_joining(t: &mut Guest) {
    let uid = t.uid();
    let child = t.unmapped_holder(0);
    let (fd, user) = (t.open(&uid_map(child), O_WRONLY), t.ns(child.pid, "user"));
    t.fork(|| {
        sys!(setns(user, CLONE_NEWUSER)).ok();
        t.send(fd, format!("0 {uid} 1"));
    })
    .done();
    child.end();
}

/// Only opening asks.
#[case(as_root)]
fn a_descriptor_of_setgroups_serves_any_writer(t: &mut Guest) {
    let child = owned_by_a_user(t);
    let fd = t.open(&format!("/proc/{}/setgroups", child.pid), O_WRONLY);
    t.fork_user(1001, || t.send(fd, "deny")).done();
    t.read(&format!("/proc/{}/setgroups", child.pid)).is("deny\n");
    child.end();
}

#[case(as_root)]
fn another_user_may_not_open_setgroups_to_write(t: &mut Guest) {
    let child = owned_by_a_user(t);
    let path = format!("/proc/{}/setgroups", child.pid);
    t.fork_user(1001, || {
        t.try_open(&path, O_WRONLY).fails(EACCES);
        t.read(&path).is("allow\n");
    })
    .done();
    t.fork_user(1000, || t.write(&path, "deny").is(4)).done();
    child.end();
}

/// The owner of a namespace has every capability over it, from the parent, and only as the effective user.
#[case(as_root)]
fn the_owner_is_known_by_the_effective_user(t: &mut Guest) {
    let child = owned_by_a_user(t);
    let user = t.ns(child.pid, "user");
    t.fork(|| {
        sys!(setresuid(1001, 1000, 1001)).ok();
        sys!(setns(user, CLONE_NEWUSER)).ok();
    })
    .done();
    t.fork(|| {
        sys!(setresuid(1000, 1001, 1000)).ok();
        sys!(setns(user, CLONE_NEWUSER)).fails(EPERM);
    })
    .done();
    child.end();
}
