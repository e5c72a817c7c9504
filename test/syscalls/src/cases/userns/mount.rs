//! Mount namespaces that belong to a user namespace.

use crate::guest::cstr;
use crate::prelude::*;
use libc::*;

#[track_caller]
fn tmpfs(target: &str, flags: u64) {
    sys!(mount(c"none", &cstr(target), c"tmpfs", flags, 0)).ok();
}

/// The options of the mount on `path`, a directory of the case's, and its optional fields.
#[track_caller]
fn mount_line(t: &Guest, who: impl std::fmt::Display, path: &str) -> String {
    let path = format!("{}/{path}", t.directory());
    let info = t.read(&format!("/proc/{who}/mountinfo")).ok();
    let line = info.lines().find(|line| line.split(' ').nth(4) == Some(&path));
    line.unwrap_or_else(|| panic!("expected a mount on {path}, got {info}")).to_owned()
}

fn is_mounted(t: &Guest, who: impl std::fmt::Display, path: &str) -> bool {
    let path = format!("{}/{path}", t.directory());
    let info = t.read(&format!("/proc/{who}/mountinfo")).ok();
    info.lines().any(|line| line.split(' ').nth(4) == Some(&path))
}

/// A mount namespace with a tmpfs of `flags` on `d`, and `body` in one of another user namespace below.
#[track_caller]
fn with_inherited(t: &Guest, flags: u64, body: impl FnOnce()) {
    t.ns_root(CLONE_NEWNS, || {
        t.dir("d");
        tmpfs("d", flags);
        t.ns_root(CLONE_NEWNS, body).done();
    })
    .done();
}

#[case(as_root, as_user)]
fn ones_own_mounts_come_and_go(t: &mut Guest) {
    t.ns_root(CLONE_NEWNS, || {
        t.dir("d");
        t.file("d/below", "");
        tmpfs("d", 0);
        t.file("d/f", "x");
        expect_eq!((t.stat("d").st_uid, t.stat("d/f").st_uid), (0, 0));
        sys!(umount2(c"d", 0)).ok();
        expect_eq!(t.names("d"), [".", "..", "below"]);
    })
    .done();
    check!(t.exists("d/below"));
}

#[case(as_root, as_user)]
fn without_a_mount_namespace_of_its_own_it_is_eperm(t: &mut Guest) {
    t.ns_root(0, || {
        t.dir("d");
        sys!(mount(c"none", c"d", c"tmpfs", 0, 0)).fails(EPERM);
        sys!(mount(c".", c"d", 0, MS_BIND, 0)).fails(EPERM);
        sys!(mount(0, c"/", 0, MS_REC | MS_PRIVATE, 0)).fails(EPERM);
        sys!(umount2(c"/proc", MNT_DETACH)).fails(EPERM);
        sys!(pivot_root(c".", c"d")).fails(EPERM);
        // The path is looked up first.
        sys!(umount2(c"missing", 0)).fails(ENOENT);
        sys!(umount2(c"missing", 0x100)).fails(EINVAL);
        sys!(mount(c"none", c"missing", c"tmpfs", 0, 0)).fails(ENOENT);
    })
    .done();
}

#[case(as_root, as_user)]
fn an_inherited_mount_cannot_be_taken_away(t: &mut Guest) {
    with_inherited(t, 0, || {
        sys!(umount2(c"d", 0)).fails(EINVAL);
        sys!(umount2(c"d", MNT_DETACH)).fails(EINVAL);
        sys!(umount2(c"/proc", MNT_DETACH)).fails(EINVAL);
        t.dir("e");
        sys!(mount(c"d", c"e", 0, MS_MOVE, 0)).fails(EINVAL);
    });
}

#[case(as_root, as_user)]
fn what_is_mounted_over_it_can(t: &mut Guest) {
    with_inherited(t, 0, || {
        tmpfs("d", 0);
        t.file("d/over", "");
        sys!(umount2(c"d", 0)).ok();
        check!(!t.exists("d/over"));
        sys!(umount2(c"d", 0)).fails(EINVAL);
    });
}

#[case(as_root, as_user)]
fn what_an_inherited_mount_hides_stays_hidden(t: &mut Guest) {
    with_inherited(t, 0, || {
        t.dir("copy");
        // A copy of the one above without the one below would show it.
        sys!(mount(c".", c"copy", 0, MS_BIND, 0)).fails(EINVAL);
        sys!(mount(c".", c"copy", 0, MS_BIND | MS_REC, 0)).ok();
        sys!(umount2(c"copy/d", 0)).fails(EINVAL);
        sys!(umount2(c"copy", MNT_DETACH)).ok();
    });
}

#[case(as_root, as_user)]
fn a_copy_of_an_inherited_mount_alone_is_ones_own(t: &mut Guest) {
    with_inherited(t, 0, || {
        t.dir("copy");
        sys!(mount(c"d", c"copy", 0, MS_BIND, 0)).ok();
        t.file("d/f", "x");
        t.read("copy/f").is("x");
        sys!(umount2(c"copy", 0)).ok();
    });
}

#[case(as_root, as_user)]
fn inherited_flags_cannot_be_taken_off(t: &mut Guest) {
    let flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY;
    with_inherited(t, flags, || {
        let remount = |flags: u64| sys!(mount(0, c"d", 0, MS_REMOUNT | MS_BIND | flags, 0));
        for dropped in [MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_RDONLY, flags] {
            remount(flags & !dropped).fails(EPERM);
        }
        remount(flags).ok();
        t.try_open("d/f", O_CREAT | O_WRONLY).fails(EROFS);
    });
}

#[case(as_root, as_user)]
fn a_copy_has_the_flags_locked_as_well(t: &mut Guest) {
    with_inherited(t, MS_NOSUID | MS_RDONLY, || {
        t.dir("copy");
        sys!(mount(c"d", c"copy", 0, MS_BIND, 0)).ok();
        sys!(mount(0, c"copy", 0, MS_REMOUNT | MS_BIND | MS_NOSUID, 0)).fails(EPERM);
        sys!(mount(0, c"copy", 0, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_RDONLY | MS_NOEXEC, 0)).ok();
        // What was put on here can be taken off here.
        sys!(mount(0, c"copy", 0, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_RDONLY, 0)).ok();
    });
}

#[case(as_root, as_user)]
fn flags_can_be_put_on_an_inherited_mount(t: &mut Guest) {
    with_inherited(t, 0, || {
        sys!(mount(0, c"d", 0, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID, 0)).ok();
        t.try_open("d/f", O_CREAT | O_WRONLY).fails(EROFS);
        sys!(mount(0, c"d", 0, MS_REMOUNT | MS_BIND, 0)).ok();
        t.file("d/f", "");
    });
}

#[case(as_root, as_user)]
fn the_way_access_times_are_kept_is_locked(t: &mut Guest) {
    with_inherited(t, MS_NOATIME, || {
        let remount = |flags: u64| sys!(mount(0, c"d", 0, MS_REMOUNT | MS_BIND | flags, 0));
        remount(MS_RELATIME).fails(EPERM);
        remount(MS_STRICTATIME).fails(EPERM);
        remount(MS_NOATIME | MS_NODIRATIME).fails(EPERM);
        remount(MS_NOATIME).ok();
        // Not naming any keeps it.
        remount(0).ok();
        let line = mount_line(t, "self", "d");
        check!(line.contains("noatime"), "{line}");
    });
}

#[case(as_root, as_user)]
fn a_file_system_of_the_parents_cannot_be_remounted(t: &mut Guest) {
    with_inherited(t, 0, || {
        sys!(mount(0, c"d", 0, MS_REMOUNT | MS_RDONLY, 0)).fails(EPERM);
        sys!(mount(0, c"d", 0, MS_REMOUNT, c"size=64k")).fails(EPERM);
    });
    t.ns_root(CLONE_NEWNS, || {
        tmpfs("d", 0);
        sys!(mount(0, c"d", 0, MS_REMOUNT | MS_RDONLY, 0)).ok();
        t.try_open("d/f", O_CREAT | O_WRONLY).fails(EROFS);
    })
    .done();
}

#[case(as_root, as_user)]
fn mounts_above_come_down_but_not_the_other_way(t: &mut Guest) {
    t.ns_root(CLONE_NEWNS, || {
        t.dir("m");
        tmpfs("m", 0);
        sys!(mount(0, c"m", 0, MS_SHARED, 0)).ok();
        t.dir("m/above");
        t.dir("m/below");
        let below = t.ns_holder_after(CLONE_NEWNS, || tmpfs("m/below", 0));
        tmpfs("m/above", 0);
        check!(is_mounted(t, below.pid, "m/above"));
        check!(is_mounted(t, below.pid, "m/below"));
        check!(!is_mounted(t, "self", "m/below"));
        let line = mount_line(t, below.pid, "m");
        check!(line.contains(" master:"), "{line}");
        sys!(umount2(c"m/above", 0)).ok();
        check!(!is_mounted(t, below.pid, "m/above"));
        below.end();
    })
    .done();
}

#[case(as_root, as_user)]
fn what_came_down_can_be_taken_off_but_not_changed(t: &mut Guest) {
    let (ready, go) = (t.pipe(), t.pipe());
    t.ns_root(CLONE_NEWNS, || {
        t.dir("m");
        tmpfs("m", 0);
        sys!(mount(0, c"m", 0, MS_SHARED, 0)).ok();
        t.dir("m/above");
        let below = t.ns_root(CLONE_NEWNS, || {
            ready.signal();
            go.wait();
            sys!(mount(0, c"m/above", 0, MS_REMOUNT | MS_BIND, 0)).fails(EPERM);
            sys!(umount2(c"m/above", 0)).ok();
        });
        ready.wait();
        tmpfs("m/above", MS_RDONLY);
        go.signal();
        below.done();
        check!(is_mounted(t, "self", "m/above"));
    })
    .done();
}

#[case(as_root, as_user)]
fn a_shared_mount_can_be_made_private_and_shared_anew(t: &mut Guest) {
    t.ns_root(CLONE_NEWNS, || {
        sys!(mount(0, c"/", 0, MS_REC | MS_PRIVATE, 0)).ok();
        t.dir("m");
        tmpfs("m", 0);
        check!(!mount_line(t, "self", "m").contains("shared:"));
        sys!(mount(0, c"m", 0, MS_SHARED, 0)).ok();
        check!(mount_line(t, "self", "m").contains("shared:"));
        t.dir("n");
        sys!(mount(0, c"n", 0, MS_SHARED, 0)).fails(EINVAL);
    })
    .done();
}

#[case(as_root, as_user)]
fn file_systems_that_do_not_allow_it_are_eperm(t: &mut Guest) {
    let known = t.read("/proc/filesystems").ok();
    let known = |name: &str| known.lines().any(|line| line.split('\t').nth(1) == Some(name));
    let refused = ["devtmpfs", "debugfs", "tracefs", "hugetlbfs", "securityfs", "ext4", "xfs"];
    let refused: Vec<_> = refused.into_iter().filter(|name| known(name)).collect();
    if refused.is_empty() {
        t.skip("the kernel has none of these file systems");
    }
    t.ns_root(CLONE_NEWNS, || {
        t.dir("d");
        for name in refused {
            let errno = sys!(mount(c"none", c"d", &cstr(name), 0, 0)).errno();
            check!(errno == EPERM, "{} for {name}", crate::sys::errno_name(errno));
        }
        sys!(mount(c"none", c"d", c"nosuchfs", 0, 0)).fails(ENODEV);
    })
    .done();
}

#[case(as_root, as_user)]
fn file_systems_that_allow_it(t: &mut Guest) {
    t.ns_root(CLONE_NEWNS | CLONE_NEWIPC, || {
        for name in ["tmpfs", "ramfs", "devpts", "mqueue"] {
            t.dir(name);
            let got = sys!(mount(c"none", &cstr(name), &cstr(name), 0, 0));
            if got.errno() == ENODEV {
                continue;
            }
            got.ok();
            check!(is_mounted(t, "self", name), "no {name}");
        }
    })
    .done();
}

#[case(as_root, as_user)]
fn proc_belongs_to_the_pid_namespace(t: &mut Guest) {
    t.ns_root(CLONE_NEWNS, || {
        t.dir("proc");
        sys!(mount(c"proc", c"proc", c"proc", 0, 0)).fails(EPERM);
    })
    .done();
    t.ns_root(CLONE_NEWNS | CLONE_NEWPID, || {
        sys!(mount(c"proc", c"proc", c"proc", 0, 0)).or_skip(EPERM, "/proc is partly covered").ok();
        expect_eq!(t.read_link("proc/self"), "1");
        expect_eq!(t.stat("proc/1").st_uid, 0);
    })
    .done();
}

#[case(as_root, as_user)]
fn sysfs_belongs_to_the_network_namespace(t: &mut Guest) {
    t.ns_root(CLONE_NEWNS, || {
        t.dir("sys");
        sys!(mount(c"sysfs", c"sys", c"sysfs", 0, 0)).fails(EPERM);
    })
    .done();
    t.ns_root(CLONE_NEWNS | CLONE_NEWNET, || {
        sys!(mount(c"sysfs", c"sys", c"sysfs", 0, 0)).or_skip(EPERM, "/sys is partly covered").ok();
        expect_eq!(t.names("sys/class/net"), [".", "..", "lo"]);
    })
    .done();
}

#[case(as_root, as_user)]
fn mqueue_belongs_to_the_ipc_namespace(t: &mut Guest) {
    t.ns_root(CLONE_NEWNS, || {
        t.dir("mq");
        sys!(mount(c"none", c"mq", c"mqueue", 0, 0)).or_skip(ENODEV, "no message queues").fails(EPERM);
    })
    .done();
}

#[case(as_root, as_user)]
fn options_name_ids_of_the_namespace(t: &mut Guest) {
    t.ns_root(CLONE_NEWNS, || {
        t.dir("d");
        sys!(mount(c"none", c"d", c"tmpfs", 0, c"uid=1")).fails(EINVAL);
        sys!(mount(c"none", c"d", c"tmpfs", 0, c"gid=1")).fails(EINVAL);
        sys!(mount(c"none", c"d", c"tmpfs", 0, c"uid=0,gid=0,mode=0751")).ok();
        expect_eq!((t.stat("d").st_uid, t.stat("d").st_gid, t.mode("d")), (0, 0, 0o751));
    })
    .done();
}

#[case(as_root)]
fn options_are_stored_as_kernel_ids(t: &mut Guest) {
    t.dir("d");
    let (ready, go) = (t.pipe(), t.pipe());
    let child = t.mapped(CLONE_NEWNS, "0 0 1\n5 1005 1", "0 0 1\n6 1006 1", || {
        sys!(mount(c"none", c"d", c"tmpfs", 0, c"uid=5,gid=6")).ok();
        expect_eq!((t.stat("d").st_uid, t.stat("d").st_gid), (5, 6));
        ready.signal();
        go.wait();
    });
    ready.wait();
    let seen = t.stat(&format!("/proc/{}/root{}/d", child.pid, t.directory()));
    expect_eq!((seen.st_uid, seen.st_gid), (1005, 1006));
    go.signal();
    child.done();
}

#[case(as_root, as_user)]
fn devices_of_the_parents_can_be_bound_and_used(t: &mut Guest) {
    t.ns_root(CLONE_NEWNS, || {
        t.file("null", "");
        sys!(mount(c"/dev/null", c"null", 0, MS_BIND, 0)).ok();
        let fd = t.open("null", O_RDWR);
        t.send(fd, "gone");
        expect_eq!(t.recv(fd, 8), b"");
        expect_eq!(t.stat("null").st_rdev, makedev(1, 3));
    })
    .done();
}

#[case(as_root, as_user)]
fn pivot_root_works_and_the_old_root_can_go(t: &mut Guest) {
    t.ns_root(CLONE_NEWNS, || {
        t.dir("new");
        tmpfs("new", 0);
        t.dir("new/old");
        t.file("new/f", "new");
        sys!(chdir(c"new")).ok();
        sys!(pivot_root(c".", c"old")).ok();
        t.read("/f").is("new");
        check!(t.exists("/old/proc"));
        sys!(umount2(c"/old", MNT_DETACH)).ok();
        expect_eq!(t.names("/old"), [".", ".."]);
    })
    .done();
}

#[case(as_root, as_user)]
fn an_inherited_root_is_locked(t: &mut Guest) {
    t.ns_root(CLONE_NEWNS, || {
        // The root itself is no mount to be taken off.
        sys!(umount2(c"/", MNT_DETACH)).fails(EINVAL);
        sys!(mount(0, c"/", 0, MS_REMOUNT | MS_RDONLY, 0)).fails(EPERM);
    })
    .done();
}

#[case(as_root, as_user)]
fn a_copy_made_by_open_tree_is_for_the_capable(t: &mut Guest) {
    if !t.is_root() {
        sys!(open_tree(AT_FDCWD, c".", OPEN_TREE_CLONE)).fails(EPERM);
    }
    t.ns_root(CLONE_NEWNS, || {
        t.dir("d");
        let tree = sys!(open_tree(AT_FDCWD, c".", OPEN_TREE_CLONE)).or_skip(ENOSYS, "no open_tree").fd();
        sys!(move_mount(tree, c"", AT_FDCWD, c"d", MOVE_MOUNT_F_EMPTY_PATH)).ok();
        check!(t.exists("d/d"));
    })
    .done();
}

#[case(as_root, as_user)]
fn mount_setattr_respects_the_locked_flags(t: &mut Guest) {
    with_inherited(t, MS_RDONLY | MS_NOSUID, || {
        let clear = [0, MOUNT_ATTR_RDONLY, 0, 0];
        sys!(mount_setattr(AT_FDCWD, c"d", 0, &clear, 32)).or_skip(ENOSYS, "no mount_setattr").fails(EPERM);
        let set = [MOUNT_ATTR_NOEXEC, 0, 0, 0];
        sys!(mount_setattr(AT_FDCWD, c"d", 0, &set, 32)).ok();
    });
}

#[case(as_root, as_user)]
fn the_new_mount_calls_go_by_the_same_capability(t: &mut Guest) {
    t.ns_root(0, || sys!(fsopen(c"tmpfs", 0)).or_skip(ENOSYS, "no fsopen").fails(EPERM)).done();
    t.ns_root(CLONE_NEWNS, || {
        t.dir("d");
        let context = sys!(fsopen(c"tmpfs", FSOPEN_CLOEXEC)).fd();
        sys!(fsconfig(context, FSCONFIG_CMD_CREATE, 0, 0, 0)).ok();
        let mount = sys!(fsmount(context, FSMOUNT_CLOEXEC, 0)).fd();
        sys!(move_mount(mount, c"", AT_FDCWD, c"d", MOVE_MOUNT_F_EMPTY_PATH)).ok();
        t.file("d/f", "x");
        expect_eq!(t.stat("d/f").st_uid, 0);
    })
    .done();
}

#[case(as_root, as_user)]
fn chroot_does_not_hide_that_a_mount_is_locked(t: &mut Guest) {
    with_inherited(t, 0, || {
        sys!(chroot(c".")).ok();
        sys!(umount2(c"/d", 0)).fails(EINVAL);
    });
}
