//! `setns` with namespace files.

use crate::guest::Caps;
use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn a_bad_descriptor_is_ebadf(t: &mut Guest) {
    sys!(setns(-1, 0)).fails(EBADF);
    sys!(setns(99, CLONE_NEWUSER)).fails(EBADF);
    // Before the flags are looked at.
    sys!(setns(99, 0x1)).fails(EBADF);
    let path = t.open("/proc/self/ns/user", O_PATH);
    sys!(setns(path, 0)).fails(EBADF);
}

#[case(as_root, as_user)]
fn any_other_file_is_einval(t: &mut Guest) {
    t.file("f", "");
    for fd in
        [t.open("f", O_RDONLY), t.pipe().r, t.open("/proc/self/ns", O_RDONLY), t.open("/proc/self", O_RDONLY)]
    {
        sys!(setns(fd, 0)).fails(EINVAL);
        sys!(setns(fd, CLONE_NEWUSER)).fails(EINVAL);
    }
}

#[case(as_root, as_user)]
fn flags_of_another_type_are_einval(t: &mut Guest) {
    let child = t.ns_holder(CLONE_NEWUTS);
    let (user, uts) = (t.ns(child.pid, "user"), t.ns(child.pid, "uts"));
    t.fork(|| {
        sys!(setns(user, CLONE_NEWUTS)).fails(EINVAL);
        sys!(setns(user, CLONE_NEWUSER | CLONE_NEWUTS)).fails(EINVAL);
        // Before anyone asks for permission.
        sys!(setns(uts, CLONE_NEWUSER)).fails(EINVAL);
        sys!(setns(user, CLONE_NEWUSER)).ok();
        sys!(setns(uts, 0)).ok();
    })
    .done();
    child.end();
}

#[case(as_root, as_user)]
fn the_callers_own_user_namespace_is_einval(t: &mut Guest) {
    sys!(setns(t.own_ns("user"), 0)).fails(EINVAL);
    t.ns_root(0, || {
        t.drop_cap(CAP_SYS_ADMIN);
        sys!(setns(t.own_ns("user"), CLONE_NEWUSER)).fails(EINVAL);
    })
    .done();
}

#[case(as_root, as_user)]
fn a_caller_of_two_threads_is_einval(t: &mut Guest) {
    let child = t.ns_holder(0);
    let user = t.ns(child.pid, "user");
    t.thread(move || sys!(setns(user, CLONE_NEWUSER)).fails(EINVAL)).join();
    child.end();
}

#[case(as_root, as_user)]
fn shared_filesystem_state_is_einval(t: &mut Guest) {
    let holder = t.ns_holder(CLONE_NEWNS);
    let (user, mnt) = (t.ns(holder.pid, "user"), t.ns(holder.pid, "mnt"));
    let child = sys!(clone(CLONE_FS | SIGCHLD, 0, 0, 0, 0));
    if child.raw() == 0 {
        sys!(setns(user, CLONE_NEWUSER)).fails(EINVAL);
        if t.is_root() {
            sys!(setns(mnt, CLONE_NEWNS)).fails(EINVAL);
        }
        sys!(unshare(CLONE_FS)).ok();
        sys!(setns(user, CLONE_NEWUSER)).ok();
        sys!(setns(mnt, CLONE_NEWNS)).ok();
        let _ = sys!(exit_group(0));
    }
    Child { pid: child.fd() }.done();
    holder.end();
}

#[case(as_root, as_user)]
fn a_parents_namespace_is_eperm(t: &mut Guest) {
    let user = t.own_ns("user");
    t.ns_root(0, || sys!(setns(user, CLONE_NEWUSER)).fails(EPERM)).done();
}

#[case(as_root, as_user)]
fn a_siblings_namespace_is_eperm(t: &mut Guest) {
    let sibling = t.ns_holder(0);
    let user = t.ns(sibling.pid, "user");
    t.ns_root(0, || sys!(setns(user, CLONE_NEWUSER)).fails(EPERM)).done();
    sibling.end();
}

/// Being its owner is enough from the parent only.
#[case(as_root)]
fn another_users_namespace_is_eperm(t: &mut Guest) {
    let child = t.ns_holder(0);
    let user = t.ns(child.pid, "user");
    t.fork_user(1000, || sys!(setns(user, CLONE_NEWUSER)).fails(EPERM)).done();
    child.end();
}

#[case(as_root, as_user)]
fn joining_gives_every_capability(t: &mut Guest) {
    let all = t.all_caps();
    let child = t.ns_holder(0);
    let user = t.ns(child.pid, "user");
    t.fork(|| {
        sys!(setns(user, CLONE_NEWUSER)).ok();
        expect_eq!(t.caps(), Caps { effective: all, permitted: all, inheritable: 0 });
        expect_eq!((t.cap_line("CapBnd"), t.cap_line("CapAmb")), (all, 0));
        sys!(prctl(PR_GET_SECUREBITS, 0, 0, 0, 0)).is(0);
        expect_eq!((t.resuid(), t.resgid()), ([0; 3], [0; 3]));
        expect_eq!(t.ns_link("self", "user"), t.ns_link(child.pid, "user"));
    })
    .done();
    child.end();
}

#[case(as_root, as_user)]
fn joining_changes_no_other_namespace(t: &mut Guest) {
    let child = t.ns_holder(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC);
    let user = t.ns(child.pid, "user");
    let names = ["mnt", "uts", "ipc", "net", "pid", "cgroup"];
    let before = names.map(|name| t.ns_link("self", name));
    t.fork(|| {
        sys!(setns(user, CLONE_NEWUSER)).ok();
        expect_eq!(names.map(|name| t.ns_link("self", name)), before);
        sys!(sethostname(c"x", 1)).fails(EPERM);
    })
    .done();
    child.end();
}

#[case(as_user)]
fn what_a_namespace_owns_needs_the_namespace_first(t: &mut Guest) {
    let child = t.ns_holder(CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWIPC);
    let [user, uts, net, ipc] = ["user", "uts", "net", "ipc"].map(|name| t.ns(child.pid, name));
    t.fork(|| {
        for fd in [uts, net, ipc] {
            sys!(setns(fd, 0)).fails(EPERM);
        }
        sys!(setns(user, 0)).ok();
        for fd in [uts, net, ipc] {
            sys!(setns(fd, 0)).ok();
        }
        sys!(sethostname(c"joined", 6)).ok();
        expect_eq!(t.ns_link("self", "uts"), t.ns_link(child.pid, "uts"));
    })
    .done();
    child.end();
}

#[case(as_user)]
fn ones_own_other_namespaces_need_the_capability(t: &mut Guest) {
    for name in ["uts", "ipc", "net", "mnt", "cgroup", "pid"] {
        sys!(setns(t.own_ns(name), 0)).fails(EPERM);
    }
}

#[case(as_root, as_user)]
fn a_namespace_can_be_joined_from_many_processes(t: &mut Guest) {
    let child = t.ns_holder(0);
    let user = t.ns(child.pid, "user");
    for _ in 0..3 {
        t.fork(|| {
            sys!(setns(user, CLONE_NEWUSER)).ok();
            expect_eq!(t.fstat(user).st_ino, t.stat("/proc/self/ns/user").st_ino);
            t.read("/proc/self/setgroups").is("deny\n");
            sys!(setgroups(0, 0)).fails(EPERM);
            sys!(setns(user, CLONE_NEWUSER)).fails(EINVAL);
        })
        .done();
    }
    child.end();
}

#[case(as_root, as_user)]
fn a_grandchild_can_be_joined_at_once(t: &mut Guest) {
    let shared = t.shared();
    let child = t.ns_holder_after(0, || {
        let ready = t.pipe();
        let grandchild = t.ns_root(0, || {
            ready.signal();
            loop {
                let _ = sys!(pause());
            }
        });
        ready.wait();
        shared[0].store(grandchild.pid as u32, SeqCst);
    });
    let grandchild = shared[0].load(SeqCst) as i32;
    let user = t.ns(grandchild, "user");
    t.fork(|| {
        sys!(setns(user, CLONE_NEWUSER)).ok();
        expect_eq!(t.resuid(), [0; 3]);
        let parent = sys!(ioctl(user, NS_GET_PARENT, 0));
        parent.fails(EPERM);
    })
    .done();
    sys!(kill(grandchild, SIGKILL)).ok();
    child.end();
}

#[case(as_root, as_user)]
fn from_inside_a_namespace_its_children_can_be_joined_and_left_no_more(t: &mut Guest) {
    t.ns_root(0, || {
        let outer = t.own_ns("user");
        let child = t.ns_holder(0);
        let inner = t.ns(child.pid, "user");
        t.fork(|| {
            sys!(setns(inner, CLONE_NEWUSER)).ok();
            sys!(setns(outer, CLONE_NEWUSER)).fails(EPERM);
        })
        .done();
        child.end();
    })
    .done();
}

#[case(as_root, as_user)]
fn without_cap_sys_admin_a_child_can_be_joined_by_its_owner(t: &mut Guest) {
    t.ns_root(0, || {
        let child = t.ns_holder(0);
        let inner = t.ns(child.pid, "user");
        t.fork(|| {
            t.drop_cap(CAP_SYS_ADMIN);
            sys!(setns(inner, CLONE_NEWUSER)).ok();
        })
        .done();
        child.end();
    })
    .done();
}

#[case(as_root, as_user)]
fn a_single_thread_may_change_its_uts_namespace(t: &mut Guest) {
    t.ns_root(CLONE_NEWUTS, || {
        let child = t.ns_holder(0);
        let own = t.own_ns("uts");
        let before = t.ns_link("thread-self", "uts");
        t.thread(move || {
            sys!(unshare(CLONE_NEWUTS)).ok();
            sys!(sethostname(c"thread", 6)).ok();
            sys!(setns(own, CLONE_NEWUTS)).ok();
        })
        .join();
        expect_eq!(t.ns_link("thread-self", "uts"), before);
        child.end();
    })
    .done();
}

#[case(as_root, as_user)]
fn a_mount_namespace_brings_its_root_and_directory(t: &mut Guest) {
    let holder = t.ns_holder_after(CLONE_NEWNS, || {
        t.dir("new");
        sys!(mount(c"none", c"new", c"tmpfs", 0, 0)).ok();
        t.file("new/f", "of the other");
    });
    let (user, mnt) = (t.ns(holder.pid, "user"), t.ns(holder.pid, "mnt"));
    t.fork(|| {
        sys!(setns(user, CLONE_NEWUSER)).ok();
        sys!(setns(mnt, CLONE_NEWNS)).ok();
        expect_eq!(t.read_link("/proc/self/cwd"), "/");
        t.read(&format!("{}/new/f", t.directory())).is("of the other");
        expect_eq!(t.ns_link("self", "mnt"), t.ns_link(holder.pid, "mnt"));
    })
    .done();
    check!(!t.exists("new/f"));
    holder.end();
}

#[case(as_root, as_user)]
fn a_mount_namespace_needs_cap_sys_chroot_as_well(t: &mut Guest) {
    let holder = t.ns_holder(CLONE_NEWNS);
    let (user, mnt) = (t.ns(holder.pid, "user"), t.ns(holder.pid, "mnt"));
    t.fork(|| {
        sys!(setns(user, CLONE_NEWUSER)).ok();
        t.drop_cap(CAP_SYS_CHROOT);
        sys!(setns(mnt, CLONE_NEWNS)).fails(EPERM);
    })
    .done();
    holder.end();
}

#[case(as_root, as_user)]
fn a_pid_namespace_above_or_beside_is_einval(t: &mut Guest) {
    let holder = t.ns_holder(CLONE_NEWPID);
    let (user, pid, own) = (t.ns(holder.pid, "user"), t.ns(holder.pid, "pid"), t.own_ns("pid"));
    t.fork(|| {
        sys!(setns(user, CLONE_NEWUSER)).ok();
        sys!(setns(pid, CLONE_NEWPID)).ok();
        t.fork(|| {
            check!(sys!(getpid()).ok() > 1);
            // Of the one above neither the number nor the owner will do.
            sys!(setns(own, CLONE_NEWPID)).fails(EPERM);
            let outer = t.own_ns("pid_for_children");
            sys!(unshare(CLONE_NEWPID)).ok();
            t.fork(|| {
                sys!(getpid()).is(1);
                sys!(setns(outer, CLONE_NEWPID)).fails(EINVAL);
            })
            .done();
        })
        .done();
    })
    .done();
    holder.end();
}

#[case(as_root, as_user)]
fn a_time_namespace_wants_one_thread(t: &mut Guest) {
    let holder = t.ns_holder_after(0, || {
        sys!(unshare(CLONE_NEWTIME)).or_skip(EINVAL, "no time namespaces").ok();
    });
    let (user, time) = (t.ns(holder.pid, "user"), t.ns(holder.pid, "time_for_children"));
    t.fork(|| {
        sys!(setns(user, CLONE_NEWUSER)).ok();
        t.thread(move || sys!(setns(time, CLONE_NEWTIME)).fails(EUSERS)).join();
        // Who joins a thread is told before it is gone.
        t.until(|| sys!(setns(time, CLONE_NEWTIME)).errno() != EUSERS);
        expect_eq!(t.ns_link("self", "time"), t.ns_link("self", "time_for_children"));
    })
    .done();
    holder.end();
}

#[case(as_root)]
fn a_link_of_an_undumpable_process_is_eacces(t: &mut Guest) {
    let ready = t.pipe();
    let child = t.fork_user(1000, || {
        sys!(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)).ok();
        ready.signal();
        loop {
            let _ = sys!(pause());
        }
    });
    ready.wait();
    let path = format!("/proc/{}/ns/user", child.pid);
    t.fork_user(1000, || t.try_open(&path, O_RDONLY).fails(EACCES)).done();
    t.open(&path, O_RDONLY);
    child.end();
}
