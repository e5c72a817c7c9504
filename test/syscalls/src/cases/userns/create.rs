//! Making user namespaces: `clone`, `clone3`, `unshare`.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn a_new_namespace_maps_nothing(t: &mut Guest) {
    t.userns(0, || {
        for map in ["uid_map", "gid_map", "projid_map"] {
            t.read(&format!("/proc/self/{map}")).is("");
        }
    })
    .done();
}

#[case(as_root, as_user)]
fn the_first_namespace_maps_everything_to_itself(t: &mut Guest) {
    t.needs_first_userns();
    for map in ["uid_map", "gid_map", "projid_map"] {
        t.read(&format!("/proc/self/{map}")).is("         0          0 4294967295\n");
    }
}

#[case(as_root, as_user)]
fn unmapped_ids_read_as_the_overflow_ids(t: &mut Guest) {
    let (uid, gid) = (t.overflow_uid(), t.overflow_gid());
    t.userns(0, || {
        expect_eq!(t.resuid(), [uid; 3]);
        expect_eq!(t.resgid(), [gid; 3]);
        sys!(getuid()).is(uid);
        sys!(getegid()).is(gid);
    })
    .done();
}

#[case(as_root, as_user)]
fn clone_with_shared_filesystem_state_is_einval(_t: &mut Guest) {
    sys!(clone(CLONE_NEWUSER | CLONE_FS | SIGCHLD, 0, 0, 0, 0)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn clone_of_a_thread_is_einval(_t: &mut Guest) {
    let thread = CLONE_THREAD | CLONE_SIGHAND | CLONE_VM;
    sys!(clone(thread | CLONE_NEWUSER, 0, 0, 0, 0)).fails(EINVAL);
    sys!(clone(thread | CLONE_NEWPID, 0, 0, 0, 0)).fails(EINVAL);
}

/// What is wrong with the flags is told before what is not allowed.
#[case(as_user)]
fn einval_wins_over_eperm(_t: &mut Guest) {
    sys!(clone(CLONE_NEWNS | CLONE_FS | SIGCHLD, 0, 0, 0, 0)).fails(EINVAL);
    sys!(clone(CLONE_NEWPID | CLONE_THREAD | CLONE_SIGHAND | CLONE_VM, 0, 0, 0, 0)).fails(EINVAL);
    sys!(unshare(CLONE_NEWUTS | CLONE_PTRACE)).fails(EINVAL);
}

/// Linux: `copy_namespaces` asks for the capability first, then looks at this pair.
#[case(as_user)]
fn a_new_ipc_namespace_with_shared_undo_list_is_einval_for_the_capable(t: &mut Guest) {
    let flags = CLONE_NEWIPC | CLONE_SYSVSEM | SIGCHLD;
    sys!(clone(flags, 0, 0, 0, 0)).fails(EPERM);
    t.ns_root(0, || sys!(clone(flags, 0, 0, 0, 0)).fails(EINVAL)).done();
}

#[case(as_root, as_user)]
fn unshare_by_one_of_two_threads_is_einval(t: &mut Guest) {
    t.thread(|| sys!(unshare(CLONE_NEWUSER)).fails(EINVAL)).join();
}

#[case(as_root, as_user)]
fn unshare_takes_no_other_flags(_t: &mut Guest) {
    for flag in [CLONE_PTRACE, CLONE_VFORK, CLONE_PARENT, CLONE_SETTLS, CLONE_PIDFD, CLONE_IO, 1] {
        sys!(unshare(CLONE_NEWUSER | flag)).fails(EINVAL);
    }
}

/// `unshare(CLONE_NEWUSER)` is `unshare(CLONE_FS)` as well.
#[case(as_root, as_user)]
fn unshare_stops_sharing_filesystem_state(t: &mut Guest) {
    t.dir("d");
    let child = sys!(clone(CLONE_FS | SIGCHLD, 0, 0, 0, 0));
    if child.raw() == 0 {
        t.unshare_user(0);
        sys!(chdir(c"d")).ok();
        sys!(umask(0)).ok();
        let _ = sys!(exit_group(0));
    }
    Child { pid: child.fd() }.done();
    check!(t.exists("d"));
    sys!(umask(0)).is(0o022);
}

#[case(as_root, as_user)]
fn a_creator_without_a_mapping_is_eperm(t: &mut Guest) {
    t.userns(0, || {
        sys!(unshare(CLONE_NEWUSER)).fails(EPERM);
        sys!(clone(CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0)).fails(EPERM);
    })
    .done();
}

#[case(as_root, as_user)]
fn a_creator_without_a_group_mapping_is_eperm(t: &mut Guest) {
    let uid = t.uid();
    t.userns(0, || {
        t.write("/proc/self/uid_map", format!("0 {uid} 1")).ok();
        sys!(unshare(CLONE_NEWUSER)).fails(EPERM);
    })
    .done();
}

#[case(as_root)]
fn a_chrooted_caller_is_eperm(t: &mut Guest) {
    t.fork(|| {
        t.dir("d");
        sys!(chroot(c"d")).ok();
        sys!(unshare(CLONE_NEWUSER)).fails(EPERM);
        sys!(clone(CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0)).fails(EPERM);
        sys!(unshare(CLONE_NEWUTS)).ok();
    })
    .done();
}

#[case(as_root, as_user)]
fn a_chrooted_caller_in_a_namespace_is_eperm(t: &mut Guest) {
    t.ns_root(0, || {
        t.fork(|| sys!(unshare(CLONE_NEWUSER)).is(0)).done();
        sys!(chroot(c".")).ok();
        sys!(unshare(CLONE_NEWUSER)).fails(EPERM);
    })
    .done();
}

#[case(as_root, as_user)]
fn a_new_root_by_pivot_root_is_no_chroot(t: &mut Guest) {
    t.ns_root(CLONE_NEWNS, || {
        t.dir("new");
        sys!(mount(c"none", c"new", c"tmpfs", 0, 0)).ok();
        sys!(chdir(c"new")).ok();
        sys!(pivot_root(c".", c".")).ok();
        sys!(umount2(c".", MNT_DETACH)).ok();
        sys!(chdir(c"/")).ok();
        sys!(unshare(CLONE_NEWUSER)).ok();
    })
    .done();
}

#[case(as_root, as_user)]
fn the_creator_has_every_capability_inside(t: &mut Guest) {
    let all = t.all_caps();
    t.userns(0, || {
        expect_eq!(["CapPrm", "CapEff", "CapBnd"].map(|set| t.cap_line(set)), [all; 3]);
        expect_eq!(["CapInh", "CapAmb"].map(|set| t.cap_line(set)), [0; 2]);
    })
    .done();
    t.unshared(0, || {
        expect_eq!(["CapPrm", "CapEff", "CapBnd"].map(|set| t.cap_line(set)), [all; 3]);
    })
    .done();
}

#[case(as_root, as_user)]
fn the_bounding_set_starts_full_again(t: &mut Guest) {
    let all = t.all_caps();
    t.ns_root(0, || {
        sys!(prctl(PR_CAPBSET_DROP, CAP_NET_RAW, 0, 0, 0)).ok();
        expect_eq!(t.cap_line("CapBnd"), all & !(1 << CAP_NET_RAW));
        sys!(unshare(CLONE_NEWUSER)).ok();
        expect_eq!(t.cap_line("CapBnd"), all);
    })
    .done();
}

#[case(as_root, as_user)]
fn inheritable_and_ambient_sets_start_empty(t: &mut Guest) {
    t.ns_root(0, || {
        let caps = t.caps();
        t.set_caps(crate::guest::Caps { inheritable: caps.permitted, ..caps }).ok();
        sys!(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0)).ok();
        check!(t.cap_line("CapAmb") != 0);
        sys!(unshare(CLONE_NEWUSER)).ok();
        expect_eq!(["CapInh", "CapAmb"].map(|set| t.cap_line(set)), [0; 2]);
    })
    .done();
}

#[case(as_root, as_user)]
fn securebits_start_at_their_default(t: &mut Guest) {
    t.ns_root(0, || {
        let bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_KEEP_CAPS;
        sys!(prctl(PR_SET_SECUREBITS, bits, 0, 0, 0)).ok();
        t.userns(0, || sys!(prctl(PR_GET_SECUREBITS, 0, 0, 0, 0)).is(0)).done();
        sys!(prctl(PR_GET_SECUREBITS, 0, 0, 0, 0)).is(bits);
    })
    .done();
}

#[case(as_root, as_user)]
fn no_new_privs_and_dumpable_stay(t: &mut Guest) {
    t.fork(|| {
        sys!(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)).ok();
        let dumpable = sys!(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)).ok();
        t.unshare_user(0);
        sys!(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)).is(1);
        sys!(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)).is(dumpable);
    })
    .done();
}

#[case(as_root, as_user)]
fn to_its_parent_the_creator_has_the_ids_it_had(t: &mut Guest) {
    let child = t.ns_holder(0);
    let path = format!("/proc/{}/status", child.pid);
    expect_eq!(t.field(&path, "Uid"), t.field("/proc/self/status", "Uid"));
    expect_eq!(t.field(&path, "Gid"), t.field("/proc/self/status", "Gid"));
    child.end();
}

#[case(as_root, as_user)]
fn namespaces_made_with_it_belong_to_it(t: &mut Guest) {
    let flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP;
    let check = || {
        let own = t.stat("/proc/self/ns/user").st_ino;
        for name in ["mnt", "uts", "ipc", "net", "cgroup"] {
            let owner = sys!(ioctl(t.own_ns(name), NS_GET_USERNS, 0)).fd();
            expect_eq!(t.fstat(owner).st_ino, own);
        }
        sys!(sethostname(c"inside", 6)).ok();
    };
    t.userns(flags, check).done();
    t.unshared(flags, check).done();
}

#[case(as_root, as_user)]
fn namespaces_of_the_parent_stay_the_parents(t: &mut Guest) {
    t.ns_root(0, || {
        sys!(sethostname(c"inside", 6)).fails(EPERM);
        sys!(mount(c"none", c".", c"tmpfs", 0, 0)).fails(EPERM);
        sys!(ioctl(t.own_ns("uts"), NS_GET_USERNS, 0)).fails(EPERM);
    })
    .done();
}

#[case(as_root, as_user)]
fn other_namespaces_can_be_made_later_unmapped(t: &mut Guest) {
    t.userns(0, || {
        for flag in [CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWCGROUP] {
            sys!(unshare(flag)).ok();
        }
    })
    .done();
}

#[case(as_user)]
fn the_others_alone_are_for_the_privileged(_t: &mut Guest) {
    let flags = [CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWCGROUP];
    for flag in flags {
        sys!(unshare(flag)).fails(EPERM);
        sys!(clone(flag | SIGCHLD, 0, 0, 0, 0)).fails(EPERM);
    }
    sys!(unshare(CLONE_NEWTIME)).fails(EPERM);
}

#[case(as_root, as_user)]
fn a_child_process_stays_in_its_parents_namespace(t: &mut Guest) {
    t.ns_root(0, || {
        let own = t.ns_link("self", "user");
        t.fork(|| {
            expect_eq!(t.ns_link("self", "user"), own);
            expect_eq!(t.resuid(), [0; 3]);
            expect_eq!(t.caps().effective, t.all_caps());
        })
        .done();
    })
    .done();
}

fn clone3_args(flags: i32) -> clone_args {
    let mut args: clone_args = zeroed();
    args.flags = flags as u64;
    args.exit_signal = SIGCHLD as u64;
    args
}

#[case(as_root, as_user)]
fn clone3_makes_one_as_well(t: &mut Guest) {
    let uid = t.uid();
    let args = clone3_args(CLONE_NEWUSER | CLONE_NEWUTS);
    let child = sys!(clone3(&raw const args, size_of::<clone_args>())).or_skip(EPERM, "no user namespaces");
    if child.raw() == 0 {
        t.write("/proc/self/uid_map", format!("0 {uid} 1")).ok();
        sys!(getuid()).is(0);
        sys!(sethostname(c"inside", 6)).ok();
        let _ = sys!(exit_group(0));
    }
    Child { pid: child.fd() }.done();
}

#[case(as_root, as_user)]
fn clone3_refuses_the_same_flags_as_clone(_t: &mut Guest) {
    let size = size_of::<clone_args>();
    for flags in [CLONE_NEWUSER | CLONE_FS, CLONE_NEWNS | CLONE_FS, CLONE_SIGHAND] {
        let args = clone3_args(flags);
        sys!(clone3(&raw const args, size)).fails(EINVAL);
    }
    let mut thread = clone3_args(CLONE_NEWUSER | CLONE_THREAD | CLONE_SIGHAND | CLONE_VM);
    thread.exit_signal = 0;
    sys!(clone3(&raw const thread, size)).fails(EINVAL);
}

/// A process in the namespace of another may not choose its number there.
#[case(as_user)]
fn clone3_with_a_chosen_pid_needs_the_pid_namespace(t: &mut Guest) {
    let size = size_of::<clone_args>();
    let wanted = [1_i32];
    let mut args = clone3_args(0);
    args.set_tid = (&raw const wanted).expose_provenance() as u64;
    args.set_tid_size = 1;
    t.ns_root(0, || sys!(clone3(&raw const args, size)).fails(EPERM)).done();
    args.flags = (CLONE_NEWUSER | CLONE_NEWPID) as u64;
    let child = sys!(clone3(&raw const args, size));
    if child.raw() == 0 {
        let wanted = [7_i32];
        let mut args = clone3_args(0);
        args.set_tid = (&raw const wanted).expose_provenance() as u64;
        args.set_tid_size = 1;
        let second = sys!(clone3(&raw const args, size));
        if second.raw() == 0 {
            let _ = sys!(exit_group(0));
        }
        expect_eq!(second.ok(), 7);
        Child { pid: 7 }.done();
        let _ = sys!(exit_group(0));
    }
    Child { pid: child.fd() }.done();
}

#[case(as_root, as_user)]
fn a_new_pid_namespaces_first_process_can_only_be_one(_t: &mut Guest) {
    let wanted = [5_i32];
    let mut args = clone3_args(CLONE_NEWUSER | CLONE_NEWPID);
    args.set_tid = (&raw const wanted).expose_provenance() as u64;
    args.set_tid_size = 1;
    sys!(clone3(&raw const args, size_of::<clone_args>())).fails(EINVAL);
    args.set_tid_size = 33;
    sys!(clone3(&raw const args, size_of::<clone_args>())).fails(EINVAL);
}

extern "C" fn vforked(state: *mut c_void) -> i32 {
    // SAFETY: the case passes the address of a counter that outlives the call.
    let state = unsafe { &*state.cast::<AtomicU32>() };
    state.store(sys!(getuid()).ok() as u32, SeqCst);
    0
}

/// As Go starts programs: the child borrows the parent's memory.
#[case(as_root, as_user)]
fn a_vforked_child_gets_one(t: &mut Guest) {
    let seen = AtomicU32::new(1);
    let mut stack = vec![0_u128; 4096];
    let top = stack.as_mut_ptr_range().end;
    let flags = CLONE_NEWUSER | CLONE_VFORK | CLONE_VM | SIGCHLD;
    // SAFETY: the child has a stack of its own, and is done before this call comes back.
    let pid = unsafe { libc::clone(vforked, top.cast(), flags, (&raw const seen).cast_mut().cast()) };
    if pid < 0 {
        t.skip("this user may not make user namespaces");
    }
    expect_eq!(seen.load(SeqCst), t.overflow_uid());
    Child { pid }.done();
}
