//! Namespace files: `/proc/[pid]/ns/*`, what they hold alive, what they answer.

use crate::prelude::*;
use libc::*;

const NAMES: [&str; 10] =
    ["cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time", "time_for_children", "user", "uts"];

#[case(as_root, as_user)]
fn the_directory_lists_all_of_them(t: &mut Guest) {
    let names = t.names("/proc/self/ns");
    check!(names[..2] == [".", ".."] && names[2..] == NAMES, "{names:?}");
}

#[case(as_root, as_user)]
fn a_link_reads_as_type_and_number(t: &mut Guest) {
    for name in NAMES {
        let link = t.ns_link("self", name);
        let kind = name.strip_suffix("_for_children").unwrap_or(name);
        let number = t.stat(&format!("/proc/self/ns/{name}")).st_ino;
        expect_eq!(link, format!("{kind}:[{number}]"));
    }
}

#[case(as_root, as_user)]
fn the_same_namespace_has_the_same_number(t: &mut Guest) {
    let child = t.sleeper();
    for name in NAMES {
        let (own, other) =
            (t.stat(&format!("/proc/self/ns/{name}")), t.stat(&format!("/proc/{}/ns/{name}", child.pid)));
        expect_eq!((own.st_ino, own.st_dev), (other.st_ino, other.st_dev));
    }
    child.end();
}

#[case(as_root, as_user)]
fn another_namespace_has_another_number(t: &mut Guest) {
    let flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWCGROUP;
    let child = t.ns_holder(flags);
    for name in ["user", "mnt", "uts", "ipc", "net", "pid", "cgroup"] {
        check!(t.ns_link("self", name) != t.ns_link(child.pid, name), "the same {name}");
    }
    child.end();
}

#[case(as_root, as_user)]
fn the_file_is_one_of_nsfs_that_everyone_may_read(t: &mut Guest) {
    let fd = t.own_ns("user");
    let stat = t.fstat(fd);
    expect_eq!((stat.st_mode, stat.st_uid, stat.st_gid), (S_IFREG | 0o444, 0, 0));
    let mut space: statfs = zeroed();
    sys!(fstatfs(fd, &raw mut space)).ok();
    expect_eq!(space.f_type, 0x6e73_6673);
    expect_eq!(t.lstat("/proc/self/ns/user").st_mode, S_IFLNK | 0o777);
    expect_eq!(t.read_link(&format!("/proc/self/fd/{fd}")), t.ns_link("self", "user"));
}

#[case(as_root, as_user)]
fn it_can_be_neither_read_nor_written(t: &mut Guest) {
    let fd = t.own_ns("uts");
    let mut byte = [0_u8; 1];
    sys!(read(fd, &mut byte, 1)).fails(EINVAL);
    sys!(lseek(fd, 0, SEEK_SET)).fails(ESPIPE);
    t.try_open("/proc/self/ns/uts", O_WRONLY).fails(EPERM);
    t.try_open("/proc/self/ns/uts", O_RDWR).fails(EPERM);
}

#[case(as_root, as_user)]
fn a_descriptor_keeps_the_namespace(t: &mut Guest) {
    let child = t.ns_holder_after(CLONE_NEWUTS, || sys!(sethostname(c"kept", 4)).is(0));
    let (user, uts) = (t.ns(child.pid, "user"), t.ns(child.pid, "uts"));
    let numbers = (t.ns_link(child.pid, "user"), t.ns_link(child.pid, "uts"));
    child.end();
    t.fork(|| {
        sys!(setns(user, CLONE_NEWUSER)).ok();
        sys!(setns(uts, CLONE_NEWUTS)).ok();
        expect_eq!((t.ns_link("self", "user"), t.ns_link("self", "uts")), numbers);
        let mut name: utsname = zeroed();
        sys!(uname(&raw mut name)).ok();
        expect_eq!(name.nodename[..5].iter().map(|c| *c as u8).collect::<Vec<_>>(), b"kept\0");
        t.read("/proc/self/setgroups").is("deny\n");
        expect_eq!(t.resuid(), [0; 3]);
    })
    .done();
}

#[case(as_root, as_user)]
fn a_descriptor_can_be_passed_to_another_process(t: &mut Guest) {
    let (a, b) = t.socketpair(SOCK_STREAM);
    let sender = t.fork(|| {
        let child = t.ns_holder(0);
        t.pass_fd(a, t.ns(child.pid, "user"));
        child.end();
    });
    let user = t.take_fd(b);
    sender.done();
    t.fork(|| {
        sys!(setns(user, CLONE_NEWUSER)).ok();
        expect_eq!(t.resuid(), [0; 3]);
    })
    .done();
}

#[case(as_root, as_user)]
fn a_bind_mount_keeps_the_namespace(t: &mut Guest) {
    t.file("kept", "");
    t.ns_root(CLONE_NEWNS, || {
        let child = t.ns_holder(0);
        let path = format!("/proc/{}/ns/user", child.pid);
        sys!(mount(&crate::guest::cstr(&path), c"kept", 0, MS_BIND, 0)).ok();
        let link = t.ns_link(child.pid, "user");
        child.end();
        let info = t.read("/proc/self/mountinfo").ok();
        check!(info.contains(&format!(" {link} {}/kept ", t.directory())), "{info}");
        t.fork(|| {
            let user = t.open("kept", O_RDONLY);
            sys!(setns(user, CLONE_NEWUSER)).ok();
            expect_eq!(t.ns_link("self", "user"), link);
        })
        .done();
        sys!(umount2(c"kept", MNT_DETACH)).ok();
        expect_eq!(t.stat("kept").st_size, 0);
    })
    .done();
}

/// A mount namespace that held itself could never end.
#[case(as_root, as_user)]
fn a_mount_namespace_cannot_be_mounted_in_itself(t: &mut Guest) {
    t.file("kept", "");
    t.ns_root(CLONE_NEWNS, || {
        sys!(mount(c"/proc/self/ns/mnt", c"kept", 0, MS_BIND, 0)).fails(EINVAL);
    })
    .done();
}

#[case(as_root, as_user)]
fn the_type_can_be_asked_for(t: &mut Guest) {
    let types = [
        ("user", CLONE_NEWUSER),
        ("mnt", CLONE_NEWNS),
        ("uts", CLONE_NEWUTS),
        ("ipc", CLONE_NEWIPC),
        ("net", CLONE_NEWNET),
        ("pid", CLONE_NEWPID),
        ("pid_for_children", CLONE_NEWPID),
        ("cgroup", CLONE_NEWCGROUP),
        ("time", CLONE_NEWTIME),
    ];
    for (name, flag) in types {
        sys!(ioctl(t.own_ns(name), NS_GET_NSTYPE, 0)).is(flag);
    }
}

#[case(as_root, as_user)]
fn the_owner_of_a_namespace_can_be_asked_for(t: &mut Guest) {
    let child = t.ns_holder(CLONE_NEWUTS);
    let owner = sys!(ioctl(t.ns(child.pid, "uts"), NS_GET_USERNS, 0)).fd();
    expect_eq!(t.fstat(owner).st_ino, t.stat(&format!("/proc/{}/ns/user", child.pid)).st_ino);
    sys!(fcntl(owner, F_GETFD, 0)).is(FD_CLOEXEC);
    sys!(ioctl(owner, NS_GET_NSTYPE, 0)).is(CLONE_NEWUSER);
    let net = sys!(ioctl(t.ns(child.pid, "net"), NS_GET_USERNS, 0)).fd();
    expect_eq!(t.fstat(net).st_ino, t.stat("/proc/self/ns/user").st_ino);
    child.end();
}

#[case(as_root, as_user)]
fn the_parent_of_a_user_namespace_can_be_asked_for(t: &mut Guest) {
    let child = t.ns_holder(0);
    let user = t.ns(child.pid, "user");
    let own = t.stat("/proc/self/ns/user").st_ino;
    for request in [NS_GET_PARENT, NS_GET_USERNS] {
        let parent = sys!(ioctl(user, request, 0)).fd();
        expect_eq!(t.fstat(parent).st_ino, own);
    }
    child.end();
}

#[case(as_root, as_user)]
fn the_parent_of_a_pid_namespace_can_be_asked_for(t: &mut Guest) {
    let child = t.ns_holder(CLONE_NEWPID);
    let parent = sys!(ioctl(t.ns(child.pid, "pid"), NS_GET_PARENT, 0)).fd();
    expect_eq!(t.fstat(parent).st_ino, t.stat("/proc/self/ns/pid").st_ino);
    child.end();
}

#[case(as_root, as_user)]
fn what_lies_above_the_caller_is_eperm(t: &mut Guest) {
    let check = || {
        sys!(ioctl(t.own_ns("user"), NS_GET_PARENT, 0)).fails(EPERM);
        sys!(ioctl(t.own_ns("user"), NS_GET_USERNS, 0)).fails(EPERM);
        sys!(ioctl(t.own_ns("pid"), NS_GET_PARENT, 0)).fails(EPERM);
    };
    check();
    t.ns_root(CLONE_NEWPID, || {
        check();
        sys!(ioctl(t.own_ns("net"), NS_GET_USERNS, 0)).fails(EPERM);
    })
    .done();
}

#[case(as_root, as_user)]
fn a_namespace_without_a_hierarchy_has_no_parent(t: &mut Guest) {
    for name in ["mnt", "uts", "ipc", "net", "cgroup", "time"] {
        sys!(ioctl(t.own_ns(name), NS_GET_PARENT, 0)).fails(EINVAL);
    }
}

#[case(as_root, as_user)]
fn the_user_that_made_it_can_be_asked_for(t: &mut Guest) {
    let child = t.ns_holder(CLONE_NEWUTS);
    let mut uid = u32::MAX;
    sys!(ioctl(t.ns(child.pid, "user"), NS_GET_OWNER_UID, &raw mut uid)).ok();
    expect_eq!(std::hint::black_box(uid), t.uid());
    sys!(ioctl(t.ns(child.pid, "uts"), NS_GET_OWNER_UID, &raw mut uid)).fails(EINVAL);
    sys!(ioctl(t.ns(child.pid, "user"), NS_GET_OWNER_UID, 8)).fails(EFAULT);
    child.end();
}

#[case(as_root)]
fn its_maker_is_named_for_the_asker(t: &mut Guest) {
    let child = t.fork_user(1000, || {
        t.unshare_user(0);
        loop {
            let _ = sys!(pause());
        }
    });
    let own = t.ns_link("self", "user");
    t.until(|| t.ns_link(child.pid, "user") != own);
    let user = t.ns(child.pid, "user");
    let owner = || {
        let mut uid = u32::MAX;
        sys!(ioctl(user, NS_GET_OWNER_UID, &raw mut uid)).ok();
        std::hint::black_box(uid)
    };
    expect_eq!(owner(), 1000);
    t.mapped(0, "5 1000 1", "", || expect_eq!(owner(), 5)).done();
    t.mapped(0, "5 1001 1", "", || expect_eq!(owner(), t.overflow_uid())).done();
    child.end();
}

#[case(as_root, as_user)]
fn any_other_request_is_enotty(t: &mut Guest) {
    for request in [0xb700_u32, 0xb7ff, 0x5401, 0] {
        sys!(ioctl(t.own_ns("user"), request, 0)).fails(ENOTTY);
    }
}

#[case(as_user)]
fn a_process_one_may_not_look_into_is_eacces(t: &mut Guest) {
    t.needs_a_foreign_init();
    let mut text = [0_u8; 64];
    for name in NAMES {
        let path = format!("/proc/1/ns/{name}");
        t.try_open(&path, O_RDONLY).fails(EACCES);
        t.try_read_link(&path, &mut text).fails(EACCES);
    }
    let mut stat: stat = zeroed();
    sys!(newfstatat(AT_FDCWD, c"/proc/1/ns/user", &raw mut stat, 0)).fails(EACCES);
    sys!(newfstatat(AT_FDCWD, c"/proc/1/ns/user", &raw mut stat, AT_SYMLINK_NOFOLLOW)).ok();
}

#[case(as_root, as_user)]
fn a_process_above_is_eacces_from_inside(t: &mut Guest) {
    let own = sys!(getpid()).ok();
    // The same user, but the parent's namespace is not for the child to look into.
    t.ns_root(0, || {
        t.try_open(&format!("/proc/{own}/ns/user"), O_RDONLY).fails(EACCES);
        t.try_read_link(&format!("/proc/{own}/ns/user"), &mut [0; 64]).fails(EACCES);
    })
    .done();
}

#[case(as_root, as_user)]
fn a_zombies_links_lead_nowhere(t: &mut Guest) {
    let child = t.fork(|| ());
    t.until_state(child.pid, "Z");
    let path = |name: &str| format!("/proc/{}/ns/{name}", child.pid);
    let mut text = [0_u8; 64];
    t.try_read_link(&path("uts"), &mut text).fails(ENOENT);
    t.try_open(&path("uts"), O_RDONLY).fails(ENOENT);
    child.done();
}

#[case(as_root, as_user)]
fn a_pid_namespace_for_children_is_enoent_before_its_first_process(t: &mut Guest) {
    t.ns_root(0, || {
        sys!(unshare(CLONE_NEWPID)).ok();
        let mut text = [0_u8; 64];
        t.try_read_link("/proc/self/ns/pid_for_children", &mut text).fails(ENOENT);
        t.try_open("/proc/self/ns/pid_for_children", O_RDONLY).fails(ENOENT);
        let child = t.sleeper();
        expect_eq!(t.ns_link("self", "pid_for_children"), t.ns_link(child.pid, "pid"));
        check!(t.ns_link("self", "pid_for_children") != t.ns_link("self", "pid"));
        child.end();
    })
    .done();
}
