//! Writing `/proc/[pid]/uid_map`: who may map what.

use crate::prelude::*;
use libc::*;

const OWN: &str = "/proc/self/uid_map";

#[case(as_root, as_user)]
fn ones_own_user_can_be_mapped_from_inside(t: &mut Guest) {
    let uid = t.uid();
    t.userns(0, || {
        t.write(OWN, format!("1234 {uid} 1")).ok();
        expect_eq!(t.resuid(), [1234; 3]);
        t.read(OWN).is(&format!("      1234 {uid:10}          1\n"));
    })
    .done();
}

#[case(as_root, as_user)]
fn ones_own_user_can_be_mapped_from_outside(t: &mut Guest) {
    let uid = t.uid();
    let map = format!("5 {uid} 1");
    t.mapped(0, &map, "", || sys!(getuid()).is(5)).done();
}

#[case(as_user)]
fn another_user_is_eperm(t: &mut Guest) {
    let uid = t.uid();
    t.userns(0, || {
        t.write(OWN, "0 0 1").fails(EPERM);
        t.write(OWN, format!("0 {} 1", uid - 1)).fails(EPERM);
        t.write(OWN, format!("0 {uid} 1")).ok();
    })
    .done();
}

#[case(as_user)]
fn more_than_one_id_is_eperm(t: &mut Guest) {
    let uid = t.uid();
    t.userns(0, || {
        t.write(OWN, format!("0 {uid} 2")).fails(EPERM);
        t.write(OWN, format!("0 {uid} 1\n1 1 1")).fails(EPERM);
        t.write(OWN, format!("0 {} 2", uid - 1)).fails(EPERM);
    })
    .done();
}

#[case(as_user)]
fn an_unprivileged_parent_may_map_no_more_than_the_child(t: &mut Guest) {
    let uid = t.uid();
    let child = t.unmapped_holder(0);
    let path = format!("/proc/{}/uid_map", child.pid);
    t.write(&path, "0 0 1").fails(EPERM);
    t.write(&path, format!("0 {uid} 1\n1 1 1")).fails(EPERM);
    t.write(&path, format!("0 {uid} 1")).ok();
    child.end();
}

#[case(as_root)]
fn a_privileged_parent_may_map_any_range(t: &mut Guest) {
    t.mapped(0, "0 100000 65536", "", || {
        sys!(getuid()).is(65534);
        sys!(setresuid(7, 7, 7)).ok();
        expect_eq!(t.resuid(), [7; 3]);
        t.read(OWN).is("         0     100000      65536\n");
    })
    .done();
}

/// Being root inside is not being root outside.
#[case(as_root)]
fn a_privileged_creator_may_map_any_range_only_from_outside(t: &mut Guest) {
    t.userns(0, || {
        t.write(OWN, "0 100000 65536").fails(EPERM);
        t.write(OWN, "0 100000 1").fails(EPERM);
        t.write(OWN, "0 0 1").ok();
    })
    .done();
}

#[case(as_root, as_user)]
fn it_is_written_once(t: &mut Guest) {
    let uid = t.uid();
    t.ns_root(0, || {
        t.write(OWN, format!("0 {uid} 1")).fails(EPERM);
        t.write(OWN, "nonsense").fails(EPERM);
        t.read(OWN).is(&format!("         0 {uid:10}          1\n"));
    })
    .done();
}

#[case(as_root, as_user)]
fn a_refused_write_leaves_it_unwritten(t: &mut Guest) {
    let uid = t.uid();
    t.userns(0, || {
        t.write(OWN, "0 0 0").fails(EINVAL);
        t.read(OWN).is("");
        t.write(OWN, format!("0 {uid} 1")).ok();
    })
    .done();
}

/// The offset is looked at before anything else.
#[case(as_root, as_user)]
fn a_second_write_to_the_same_descriptor_is_einval(t: &mut Guest) {
    let uid = t.uid();
    t.userns(0, || {
        let fd = t.open(OWN, O_WRONLY);
        let map = format!("0 {uid} 1");
        t.send(fd, &map);
        sys!(write(fd, map.as_bytes(), map.len())).fails(EINVAL);
        sys!(lseek(fd, 0, SEEK_SET)).ok();
        sys!(write(fd, map.as_bytes(), map.len())).fails(EPERM);
    })
    .done();
}

#[case(as_root, as_user)]
fn an_offset_is_einval_and_pwrite_espipe(t: &mut Guest) {
    let map = format!("0 {} 1", t.uid());
    t.userns(0, || {
        let fd = t.open(OWN, O_RDWR);
        sys!(pwrite64(fd, map.as_bytes(), map.len(), 0)).fails(ESPIPE);
        sys!(lseek(fd, 1, SEEK_SET)).is(1);
        sys!(write(fd, map.as_bytes(), map.len())).fails(EINVAL);
    })
    .done();
}

#[case(as_root, as_user)]
fn a_page_or_more_is_einval(t: &mut Guest) {
    let uid = t.uid();
    t.userns(0, || {
        let fd = t.open(OWN, O_WRONLY);
        let mut map = format!("0 {uid} 1").into_bytes();
        map.resize(PAGE, b' ');
        sys!(write(fd, &map, PAGE)).fails(EINVAL);
        // Before the buffer is looked at.
        sys!(write(fd, 8, PAGE)).fails(EINVAL);
        sys!(write(fd, &map, PAGE - 1)).is(PAGE - 1);
    })
    .done();
}

#[case(as_root, as_user)]
fn a_bad_address_is_efault_even_when_it_is_written_already(t: &mut Guest) {
    t.ns_root(0, || {
        let fd = t.open(OWN, O_WRONLY);
        sys!(write(fd, 8, 10)).fails(EFAULT);
    })
    .done();
}

#[case(as_root, as_user)]
fn the_first_namespaces_is_eperm(t: &mut Guest) {
    t.needs_first_userns();
    t.write(OWN, "0 0 1").fails(EPERM);
    // Before the offset and the length are looked at.
    let fd = t.open(OWN, O_WRONLY);
    sys!(write(fd, 8, PAGE)).fails(EPERM);
}

#[case(as_root, as_user)]
fn a_grandparent_is_eperm(t: &mut Guest) {
    let (ready, go) = (t.pipe(), t.pipe());
    let shared = t.shared();
    let child = t.ns_root(0, || {
        let grandchild = t.unmapped_holder(0);
        // Process ids are the same for all here.
        shared[1].store(grandchild.pid as u32, SeqCst);
        ready.signal();
        go.wait();
        t.write(&format!("/proc/{}/uid_map", grandchild.pid), "0 0 1").ok();
        shared[0].store(1, SeqCst);
        grandchild.end();
    });
    ready.wait();
    let grandchild = shared[1].load(SeqCst);
    t.write(&format!("/proc/{grandchild}/uid_map"), "0 0 1").fails(EPERM);
    // Before the offset and the length are looked at.
    let fd = t.open(&format!("/proc/{grandchild}/uid_map"), O_WRONLY);
    sys!(write(fd, 8, PAGE)).fails(EPERM);
    go.signal();
    child.done();
    expect_eq!(shared[0].load(SeqCst), 1);
}

#[case(as_root, as_user)]
fn a_sibling_is_eperm(t: &mut Guest) {
    let uid = t.uid();
    let sibling = t.unmapped_holder(0);
    t.userns(0, || {
        // The owner of the file is this user, whichever namespace it is looked at from.
        t.write(&format!("/proc/{}/uid_map", sibling.pid), format!("0 {uid} 1")).fails(EPERM);
    })
    .done();
    sibling.end();
}

#[case(as_root, as_user)]
fn without_cap_sys_admin_inside_it_is_eperm(t: &mut Guest) {
    let uid = t.uid();
    t.userns(0, || {
        t.drop_cap(CAP_SYS_ADMIN);
        t.write(OWN, format!("0 {uid} 1")).fails(EPERM);
        // Before the text is looked at.
        t.write(OWN, "nonsense").fails(EPERM);
    })
    .done();
}

#[case(as_root, as_user)]
fn cap_sys_admin_may_be_gone_since_it_was_opened(t: &mut Guest) {
    let uid = t.uid();
    t.userns(0, || {
        let fd = t.open(OWN, O_WRONLY);
        t.drop_cap(CAP_SYS_ADMIN);
        t.drop_cap(CAP_SETUID);
        t.send(fd, format!("0 {uid} 1"));
    })
    .done();
}

#[case(as_root)]
fn a_range_needs_cap_setuid_over_the_parent(t: &mut Guest) {
    let child = t.unmapped_holder(0);
    let path = format!("/proc/{}/uid_map", child.pid);
    t.fork(|| {
        t.drop_cap(CAP_SETUID);
        t.write(&path, "0 100000 2").fails(EPERM);
    })
    .done();
    t.write(&path, "0 100000 2").ok();
    child.end();
}

/// Whoever maps the parent's root could set file capabilities that are valid in the parent.
#[case(as_root, as_user)]
fn the_parents_root_from_inside_needs_the_creators_cap_setfcap(t: &mut Guest) {
    t.ns_root(0, || {
        t.fork(|| {
            t.drop_cap(CAP_SETFCAP);
            sys!(unshare(CLONE_NEWUSER)).ok();
            t.write(OWN, "0 0 1").fails(EPERM);
            t.write(OWN, "7 0 1").fails(EPERM);
            // Groups are another matter.
            t.write("/proc/self/setgroups", "deny").ok();
            t.write("/proc/self/gid_map", "0 0 1").ok();
        })
        .done();
        t.fork(|| {
            sys!(unshare(CLONE_NEWUSER)).ok();
            t.write(OWN, "7 0 1").ok();
        })
        .done();
    })
    .done();
}

#[case(as_root, as_user)]
fn the_parents_root_from_outside_needs_the_openers_cap_setfcap(t: &mut Guest) {
    t.ns_root(0, || {
        let child = t.unmapped_holder(0);
        let path = format!("/proc/{}/uid_map", child.pid);
        t.fork(|| {
            t.drop_cap(CAP_SETFCAP);
            t.write(&path, "0 0 1").fails(EPERM);
        })
        .done();
        t.write(&path, "0 0 1").ok();
        child.end();
    })
    .done();
}

/// The owner of a namespace has every capability over it, but not over its parent.
#[case(as_root)]
fn the_creator_without_cap_setfcap_maps_everyone_but_root(t: &mut Guest) {
    t.fork(|| {
        t.drop_cap(CAP_SETFCAP);
        let child = t.unmapped_holder(0);
        let path = format!("/proc/{}/uid_map", child.pid);
        t.write(&path, "0 0 1").fails(EPERM);
        t.write(&path, "0 1 1\n1 0 1").fails(EPERM);
        t.write(&path, "0 1 1000").ok();
        child.end();
    })
    .done();
}

#[case(as_root, as_user)]
fn ids_that_the_parent_does_not_map_are_eperm(t: &mut Guest) {
    t.ns_root(0, || {
        let child = t.unmapped_holder(0);
        let path = format!("/proc/{}/uid_map", child.pid);
        t.write(&path, "0 1 1").fails(EPERM);
        t.write(&path, "0 0 2").fails(EPERM);
        t.write(&path, "0 0 1\n1 1 1").fails(EPERM);
        t.write(&path, "3 0 1").ok();
        child.end();
    })
    .done();
}

#[case(as_root, as_user)]
fn nothing_can_be_mapped_while_the_parent_maps_nothing(t: &mut Guest) {
    // One level needs a mapped creator, so the parent is mapped for groups and users, the namespace for neither.
    t.ns_root(0, || {
        t.userns(0, || {
            t.write("/proc/self/uid_map", "0 1 1").fails(EPERM);
            t.write("/proc/self/projid_map", "0 0 1").fails(EPERM);
        })
        .done();
    })
    .done();
}

#[case(as_root)]
fn it_is_the_effective_user_that_is_ones_own(t: &mut Guest) {
    t.fork(|| {
        sys!(setresuid(1000, 1001, 1000)).ok();
        sys!(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)).ok();
        t.unshare_user(0);
        t.write(OWN, "0 1000 1").fails(EPERM);
        t.write(OWN, "0 1001 1").ok();
        expect_eq!(t.resuid(), [65534, 0, 65534]);
    })
    .done();
}

#[case(as_root)]
fn it_is_open_to_its_owner_and_readable_by_all(t: &mut Guest) {
    let ready = t.pipe();
    let child = t.fork_user(1000, || {
        t.unshare_user(0);
        ready.signal();
        loop {
            let _ = sys!(pause());
        }
    });
    ready.wait();
    let path = format!("/proc/{}/uid_map", child.pid);
    expect_eq!((t.stat(&path).st_uid, t.mode(&path)), (1000, 0o644));
    t.fork_user(1001, || {
        t.try_open(&path, O_WRONLY).fails(EACCES);
        t.read(&path).is("");
    })
    .done();
    t.fork_user(1000, || t.write(&path, "0 1000 1").is(8)).done();
    child.end();
}

#[case(as_root, as_user)]
fn all_of_a_process_and_its_children_see_it_at_once(t: &mut Guest) {
    let uid = t.uid();
    let (ready, go) = (t.pipe(), t.pipe());
    t.userns(0, || {
        let overflow = t.overflow_uid();
        let child = t.fork(|| {
            sys!(getuid()).is(overflow);
            ready.signal();
            go.wait();
            sys!(getuid()).is(3);
        });
        ready.wait();
        t.write(OWN, format!("3 {uid} 1")).ok();
        go.signal();
        child.done();
    })
    .done();
}

#[case(as_root, as_user)]
fn nothing_written_is_einval(t: &mut Guest) {
    t.userns(0, || {
        let fd = t.open(OWN, O_WRONLY);
        sys!(write(fd, b"", 0)).fails(EINVAL);
        t.write(OWN, "\n").fails(EINVAL);
        t.write(OWN, " ").fails(EINVAL);
    })
    .done();
}
