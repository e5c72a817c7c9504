//! `/proc/[pid]/setgroups`: whether a namespace allows `setgroups`, a bit that goes one way.

use crate::prelude::*;
use libc::*;

const OWN: &str = "/proc/self/setgroups";

#[case(as_root, as_user)]
fn it_is_allowed_at_first(t: &mut Guest) {
    t.userns(0, || t.read(OWN).is("allow\n")).done();
}

#[case(as_root, as_user)]
fn deny_is_for_ever(t: &mut Guest) {
    t.userns(0, || {
        t.write(OWN, "deny").is(4);
        t.read(OWN).is("deny\n");
        t.write(OWN, "allow").fails(EPERM);
        t.write(OWN, "deny").ok();
        t.read(OWN).is("deny\n");
    })
    .done();
}

#[case(as_root, as_user)]
fn allow_while_it_is_allowed_changes_nothing(t: &mut Guest) {
    t.userns(0, || {
        t.write(OWN, "allow").ok();
        t.read(OWN).is("allow\n");
        t.write(OWN, "deny").ok();
    })
    .done();
}

#[case(as_root)]
fn deny_after_the_map_of_groups_is_eperm(t: &mut Guest) {
    t.mapped(0, "0 0 1", "0 0 1", || {
        t.write(OWN, "deny").fails(EPERM);
        t.read(OWN).is("allow\n");
        t.write(OWN, "allow").ok();
    })
    .done();
}

#[case(as_root, as_user)]
fn deny_again_after_the_map_of_groups_is_eperm(t: &mut Guest) {
    t.ns_root(0, || {
        t.write(OWN, "deny").fails(EPERM);
        t.write(OWN, "allow").fails(EPERM);
        t.read(OWN).is("deny\n");
    })
    .done();
}

#[case(as_root, as_user)]
fn the_map_of_users_does_not_matter(t: &mut Guest) {
    let uid = t.uid();
    t.userns(0, || {
        t.write("/proc/self/uid_map", format!("0 {uid} 1")).ok();
        t.write(OWN, "deny").ok();
    })
    .done();
}

#[case(as_root, as_user)]
fn new_namespaces_inherit_the_deny(t: &mut Guest) {
    t.ns_root(0, || {
        t.userns(0, || {
            t.read(OWN).is("deny\n");
            t.write(OWN, "allow").fails(EPERM);
        })
        .done();
        // Even where the parent writes the map.
        t.mapped(0, "0 0 1", "0 0 1", || {
            t.read(OWN).is("deny\n");
            sys!(setgroups(0, 0)).fails(EPERM);
        })
        .done();
    })
    .done();
}

/// A namespace copies the bit when it is made.
#[case(as_root)]
fn a_later_deny_of_the_parent_does_not_reach_its_children(t: &mut Guest) {
    let (ready, go) = (t.pipe(), t.pipe());
    let child = t.userns(0, || {
        ready.signal();
        go.wait();
        // The parent of the next one is mapped for users, and for groups by the namespace above.
        let grandchild = t.unmapped_holder(0);
        t.read(&format!("/proc/{}/setgroups", grandchild.pid)).is("allow\n");
        t.write(OWN, "deny").fails(EPERM);
        grandchild.end();
    });
    ready.wait();
    t.write_maps(child.pid, "0 0 1", "0 0 1");
    go.signal();
    child.done();
}

#[case(as_root, as_user)]
fn white_space_may_follow_the_word(t: &mut Guest) {
    for text in ["deny", "deny\n", "deny \t\n", "deny   "] {
        t.userns(0, || {
            t.write(OWN, text).is(text.len());
            t.read(OWN).is("deny\n");
        })
        .done();
    }
    t.userns(0, || t.write(OWN, "allow \n").is(7)).done();
}

#[case(as_root, as_user)]
fn any_other_text_is_einval(t: &mut Guest) {
    t.userns(0, || {
        let texts = ["", "den", "denyx", "deny x", "DENY", " deny", "\ndeny", "allowed", "allo", "0", "1"];
        for text in texts {
            let fd = t.open(OWN, O_WRONLY);
            let errno = sys!(write(fd, text.as_bytes(), text.len())).errno();
            check!(errno == EINVAL, "{} for {text:?}", crate::sys::errno_name(errno));
        }
        t.read(OWN).is("allow\n");
    })
    .done();
}

#[case(as_root, as_user)]
fn eight_bytes_are_einval(t: &mut Guest) {
    t.userns(0, || {
        t.write(OWN, "deny    ").fails(EINVAL);
        t.write(OWN, "allow\n\n\n").fails(EINVAL);
        let fd = t.open(OWN, O_WRONLY);
        // Before the buffer is looked at.
        sys!(write(fd, 8, 8)).fails(EINVAL);
        sys!(write(fd, 8, 7)).fails(EFAULT);
    })
    .done();
}

#[case(as_root, as_user)]
fn a_second_write_to_the_same_descriptor_is_einval(t: &mut Guest) {
    t.userns(0, || {
        let fd = t.open(OWN, O_WRONLY);
        t.send(fd, "deny");
        sys!(write(fd, b"deny", 4)).fails(EINVAL);
        sys!(lseek(fd, 0, SEEK_SET)).ok();
        t.send(fd, "deny");
    })
    .done();
}

#[case(as_root)]
fn the_first_namespace_cannot_be_denied(t: &mut Guest) {
    t.needs_first_userns();
    t.write(OWN, "deny").fails(EPERM);
    t.read(OWN).is("allow\n");
    t.write(OWN, "allow").ok();
}

#[case(as_user)]
fn opening_it_to_write_needs_cap_sys_admin_there(t: &mut Guest) {
    t.needs_first_userns();
    t.try_open(OWN, O_WRONLY).fails(EACCES);
    t.try_open(OWN, O_RDWR).fails(EACCES);
    t.read(OWN).is("allow\n");
}

#[case(as_root, as_user)]
fn without_cap_sys_admin_inside_opening_it_is_eacces(t: &mut Guest) {
    t.userns(0, || {
        let before = t.open(OWN, O_WRONLY);
        t.drop_cap(CAP_SYS_ADMIN);
        t.try_open(OWN, O_WRONLY).fails(EACCES);
        // What was opened is not asked again.
        t.send(before, "deny");
    })
    .done();
}

#[case(as_root, as_user)]
fn the_owner_may_write_it_from_outside(t: &mut Guest) {
    let child = t.unmapped_holder(0);
    let path = format!("/proc/{}/setgroups", child.pid);
    t.write(&path, "deny").ok();
    t.read(&path).is("deny\n");
    child.end();
}

#[case(as_root, as_user)]
fn a_sibling_may_read_it_only(t: &mut Guest) {
    let sibling = t.unmapped_holder(0);
    let path = format!("/proc/{}/setgroups", sibling.pid);
    t.userns(0, || {
        t.try_open(&path, O_WRONLY).fails(EACCES);
        t.read(&path).is("allow\n");
    })
    .done();
    sibling.end();
}

#[case(as_root, as_user)]
fn it_is_the_namespace_of_when_it_was_opened(t: &mut Guest) {
    t.ns_root(0, || {
        let fd = t.open(OWN, O_RDONLY);
        let other = t.open("/proc/self/uid_map", O_RDONLY);
        sys!(unshare(CLONE_NEWUSER)).ok();
        expect_eq!(t.recv(fd, 16), b"deny\n");
        check!(!t.recv(other, 64).is_empty());
        t.read("/proc/self/uid_map").is("");
    })
    .done();
}
