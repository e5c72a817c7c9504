//! Capabilities in user namespaces: where they hold, and how they are kept, dropped and passed on.

use crate::guest::Caps;
use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn they_hold_for_what_the_namespace_owns(t: &mut Guest) {
    t.userns(CLONE_NEWUTS | CLONE_NEWNS, || {
        sys!(sethostname(c"inside", 6)).ok();
        sys!(setdomainname(c"inside", 6)).ok();
        t.dir("d");
        sys!(mount(c"none", c"d", c"tmpfs", 0, 0)).ok();
        sys!(chroot(c"d")).ok();
    })
    .done();
}

#[case(as_root, as_user)]
fn they_do_not_hold_for_the_machine(t: &mut Guest) {
    t.ns_root(0, || {
        let time = timespec { tv_sec: 1, tv_nsec: 0 };
        sys!(clock_settime(CLOCK_REALTIME, &raw const time)).fails(EPERM);
        sys!(settimeofday(&raw const time, 0)).fails(EPERM);
        // Wrong magic numbers, but that is looked at later.
        sys!(reboot(0, 0, 0, 0)).fails(EPERM);
        sys!(swapoff(c"/missing")).fails(EPERM);
        let priority = 1_i32;
        sys!(sched_setscheduler(0, SCHED_FIFO, &raw const priority)).fails(EPERM);
    })
    .done();
}

#[case(as_root, as_user)]
fn reboot_belongs_to_the_pid_namespace(t: &mut Guest) {
    t.ns_root(CLONE_NEWPID, || sys!(reboot(0, 0, 0, 0)).fails(EINVAL)).done();
}

#[case(as_user)]
fn hard_limits_cannot_be_raised(t: &mut Guest) {
    t.ns_root(0, || {
        let lower = [10_u64, 10];
        sys!(prlimit64(0, RLIMIT_NOFILE, &lower, 0)).ok();
        let higher = [10_u64, 11];
        sys!(prlimit64(0, RLIMIT_NOFILE, &higher, 0)).fails(EPERM);
    })
    .done();
}

#[case(as_user)]
fn low_ports_belong_to_the_network_namespace(t: &mut Guest) {
    let bind = || {
        let mut address = crate::guest::inet(1);
        address.sin_addr.s_addr = 0;
        t.bind(t.socket(AF_INET, SOCK_STREAM), &address)
    };
    let start = t.read("/proc/sys/net/ipv4/ip_unprivileged_port_start").ok();
    if start.trim() == "0" {
        t.skip("every port is for everyone");
    }
    t.ns_root(0, || bind().fails(EACCES)).done();
    t.ns_root(CLONE_NEWNET, || {
        bind().ok();
        t.drop_cap(CAP_NET_BIND_SERVICE);
        bind().fails(EACCES);
    })
    .done();
}

#[case(as_user)]
fn raw_sockets_belong_to_the_network_namespace(t: &mut Guest) {
    t.ns_root(0, || sys!(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)).fails(EPERM)).done();
    t.ns_root(CLONE_NEWNET, || {
        sys!(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)).ok();
    })
    .done();
}

#[case(as_root, as_user)]
fn the_owner_outside_has_them_all(t: &mut Guest) {
    let child = t.ns_holder(CLONE_NEWUTS);
    let user = t.ns(child.pid, "user");
    t.fork(|| {
        // Nothing in the sets is needed, only the user.
        t.set_caps(Caps { effective: 0, permitted: 0, inheritable: 0 }).ok();
        sys!(setns(user, CLONE_NEWUSER)).ok();
        expect_eq!(t.caps().effective, t.all_caps());
    })
    .done();
    child.end();
}

#[case(as_root, as_user)]
fn they_do_not_reach_up_or_aside(t: &mut Guest) {
    let sibling = t.ns_holder(CLONE_NEWUTS);
    let (user, uts, own) = (t.ns(sibling.pid, "user"), t.ns(sibling.pid, "uts"), t.own_ns("uts"));
    t.ns_root(0, || {
        sys!(setns(user, 0)).fails(EPERM);
        sys!(setns(uts, 0)).fails(EPERM);
        sys!(setns(own, 0)).fails(EPERM);
    })
    .done();
    sibling.end();
}

#[case(as_root, as_user)]
fn what_is_dropped_cannot_be_had_again(t: &mut Guest) {
    t.ns_root(0, || {
        let full = t.caps();
        t.drop_cap(CAP_SYS_ADMIN);
        t.set_caps(full).fails(EPERM);
        let caps = t.caps();
        t.set_caps(Caps { effective: caps.effective | 1 << CAP_SYS_ADMIN, ..caps }).fails(EPERM);
        sys!(unshare(CLONE_NEWUTS)).fails(EPERM);
        // A new namespace has them all, and owns nothing of the old one's.
        sys!(unshare(CLONE_NEWUSER | CLONE_NEWUTS)).ok();
        expect_eq!(t.caps().effective, t.all_caps());
    })
    .done();
}

#[case(as_root, as_user)]
fn the_effective_set_is_within_the_permitted(t: &mut Guest) {
    t.ns_root(0, || {
        let all = t.all_caps();
        t.set_caps(Caps { effective: 0, permitted: all, inheritable: 0 }).ok();
        sys!(unshare(CLONE_NEWUTS)).fails(EPERM);
        t.set_caps(Caps { effective: all, permitted: all, inheritable: 0 }).ok();
        sys!(unshare(CLONE_NEWUTS)).ok();
        t.set_caps(Caps { effective: all, permitted: all & !1, inheritable: 0 }).fails(EPERM);
    })
    .done();
}

#[case(as_root, as_user)]
fn bits_beyond_the_last_are_ignored(t: &mut Guest) {
    t.ns_root(0, || {
        let all = t.all_caps();
        t.set_caps(Caps { effective: all, permitted: all, inheritable: 0 }).ok();
        t.set_caps(Caps { effective: u64::MAX, permitted: u64::MAX, inheritable: 0 }).ok();
        expect_eq!(t.caps().permitted, all);
    })
    .done();
}

/// What may be inherited is what is inherited, permitted, or with CAP_SETPCAP in the bounding set.
#[case(as_root, as_user)]
fn the_inheritable_set_grows_within_bounds(t: &mut Guest) {
    t.ns_root(0, || {
        let all = t.all_caps();
        let few = all & !(1 << CAP_NET_RAW);
        t.set_caps(Caps { effective: few, permitted: few, inheritable: 0 }).ok();
        // CAP_SETPCAP reaches what is not permitted,
        t.set_caps(Caps { effective: few, permitted: few, inheritable: 1 << CAP_NET_RAW }).ok();
        t.set_caps(Caps { effective: few, permitted: few, inheritable: 0 }).ok();
        // but not what is not in the bounding set,
        sys!(prctl(PR_CAPBSET_DROP, CAP_NET_RAW, 0, 0, 0)).ok();
        t.set_caps(Caps { effective: few, permitted: few, inheritable: 1 << CAP_NET_RAW }).fails(EPERM);
        // and without it only what is permitted.
        let fewer = few & !(1 << CAP_SETPCAP) & !(1 << CAP_KILL);
        t.set_caps(Caps { effective: fewer, permitted: fewer, inheritable: 0 }).ok();
        t.set_caps(Caps { effective: fewer, permitted: fewer, inheritable: 1 << CAP_KILL }).fails(EPERM);
        t.set_caps(Caps { effective: fewer, permitted: fewer, inheritable: 1 << CAP_SETUID }).ok();
    })
    .done();
}

#[case(as_root, as_user)]
fn capset_is_for_oneself(t: &mut Guest) {
    let child = t.sleeper();
    t.ns_root(0, || {
        let header = [0x2008_0522_u32, child.pid as u32];
        sys!(capset(&header, &[0_u32; 6])).fails(EPERM);
        let own = sys!(getpid()).ok() as u32;
        sys!(capset(&[0x2008_0522_u32, own], &[0_u32; 6])).ok();
    })
    .done();
    child.end();
}

#[case(as_root, as_user)]
fn capget_shows_others(t: &mut Guest) {
    let child = t.ns_holder(0);
    let mut data = [0_u32; 6];
    sys!(capget(&[0x2008_0522_u32, child.pid as u32], &mut data)).ok();
    expect_eq!(u64::from(data[0]) | u64::from(data[3]) << 32, t.all_caps());
    child.end();
}

#[case(as_root, as_user)]
fn the_bounding_set_shrinks_with_cap_setpcap(t: &mut Guest) {
    t.ns_root(0, || {
        let last = t.read("/proc/sys/kernel/cap_last_cap").ok().trim().parse::<i32>().unwrap();
        sys!(prctl(PR_CAPBSET_READ, CAP_NET_RAW, 0, 0, 0)).is(1);
        sys!(prctl(PR_CAPBSET_DROP, CAP_NET_RAW, 0, 0, 0)).ok();
        sys!(prctl(PR_CAPBSET_DROP, CAP_NET_RAW, 0, 0, 0)).ok();
        sys!(prctl(PR_CAPBSET_READ, CAP_NET_RAW, 0, 0, 0)).is(0);
        sys!(prctl(PR_CAPBSET_DROP, last + 1, 0, 0, 0)).fails(EINVAL);
        sys!(prctl(PR_CAPBSET_DROP, -1, 0, 0, 0)).fails(EINVAL);
        // It bounds what exec gives, not what is there.
        check!(t.caps().effective & 1 << CAP_NET_RAW != 0);
        expect_eq!(crate::guest::hex(&t.status_after_exec("CapPrm")), t.all_caps() & !(1 << CAP_NET_RAW));
        t.drop_cap(CAP_SETPCAP);
        sys!(prctl(PR_CAPBSET_DROP, CAP_KILL, 0, 0, 0)).fails(EPERM);
        // Permission before the number.
        sys!(prctl(PR_CAPBSET_DROP, last + 1, 0, 0, 0)).fails(EPERM);
    })
    .done();
}

#[case(as_root, as_user)]
fn exec_as_root_inside_gives_them_all(t: &mut Guest) {
    t.ns_root(0, || {
        let all = t.all_caps();
        t.set_caps(Caps { effective: 0, permitted: 0, inheritable: 0 }).ok();
        for key in ["CapPrm", "CapEff"] {
            expect_eq!(crate::guest::hex(&t.status_after_exec(key)), all);
        }
    })
    .done();
}

#[case(as_root, as_user)]
fn exec_as_anyone_else_takes_them_all(t: &mut Guest) {
    let (uid, gid) = (t.uid(), sys!(getegid()).ok());
    t.userns(0, || {
        // Unmapped is not root.
        t.fork(|| expect_eq!(crate::guest::hex(&t.status_after_exec("CapPrm")), 0)).done();
        t.write("/proc/self/setgroups", "deny").ok();
        t.write("/proc/self/uid_map", format!("1000 {uid} 1")).ok();
        t.write("/proc/self/gid_map", format!("1000 {gid} 1")).ok();
        expect_eq!(t.caps().permitted, t.all_caps());
        for key in ["CapPrm", "CapEff"] {
            expect_eq!(crate::guest::hex(&t.status_after_exec(key)), 0);
        }
        expect_eq!(crate::guest::hex(&t.status_after_exec("CapBnd")), t.all_caps());
    })
    .done();
}

#[case(as_root, as_user)]
fn ambient_ones_survive_exec_as_anyone(t: &mut Guest) {
    let uid = t.uid();
    t.userns(0, || {
        t.write("/proc/self/uid_map", format!("1000 {uid} 1")).ok();
        let (caps, wanted) = (t.caps(), 1 << CAP_NET_RAW);
        t.set_caps(Caps { inheritable: wanted, ..caps }).ok();
        sys!(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0)).ok();
        for key in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            expect_eq!((key, crate::guest::hex(&t.status_after_exec(key))), (key, wanted));
        }
    })
    .done();
}

#[case(as_root, as_user)]
fn ambient_ones_are_permitted_and_inheritable(t: &mut Guest) {
    t.ns_root(0, || {
        let raise = || sys!(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0));
        let is_set = || sys!(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_NET_RAW, 0, 0));
        let caps = t.caps();
        raise().fails(EPERM);
        t.set_caps(Caps { inheritable: 1 << CAP_NET_RAW, ..caps }).ok();
        raise().ok();
        is_set().is(1);
        // One that goes from either goes from the ambient set.
        t.set_caps(Caps { inheritable: 0, ..caps }).ok();
        is_set().is(0);
        t.set_caps(Caps { inheritable: 1 << CAP_NET_RAW, ..caps }).ok();
        raise().ok();
        sys!(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_LOWER, CAP_NET_RAW, 0, 0)).ok();
        is_set().is(0);
        raise().ok();
        sys!(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)).ok();
        is_set().is(0);
        sys!(prctl(PR_CAP_AMBIENT, 9, CAP_NET_RAW, 0, 0)).fails(EINVAL);
        sys!(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 64, 0, 0)).fails(EINVAL);
        sys!(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 1, 0, 0)).fails(EINVAL);
        sys!(prctl(PR_SET_SECUREBITS, SECBIT_NO_CAP_AMBIENT_RAISE, 0, 0, 0)).ok();
        raise().fails(EPERM);
    })
    .done();
}

#[case(as_root, as_user)]
fn securebits_need_cap_setpcap_and_stay_locked(t: &mut Guest) {
    t.ns_root(0, || {
        let set = |bits: i32| sys!(prctl(PR_SET_SECUREBITS, bits, 0, 0, 0));
        set(SECBIT_NOROOT | SECBIT_NOROOT_LOCKED).ok();
        set(SECBIT_NOROOT_LOCKED).fails(EPERM);
        set(SECBIT_NOROOT).fails(EPERM);
        set(1 << 20).fails(EPERM);
        set(SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_KEEP_CAPS).ok();
        sys!(prctl(PR_GET_KEEPCAPS, 0, 0, 0, 0)).is(1);
        sys!(prctl(PR_GET_SECUREBITS, 0, 0, 0, 0))
            .is(SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_KEEP_CAPS);
        t.drop_cap(CAP_SETPCAP);
        set(SECBIT_NOROOT | SECBIT_NOROOT_LOCKED).fails(EPERM);
    })
    .done();
}

#[case(as_root, as_user)]
fn noroot_takes_what_exec_would_give(t: &mut Guest) {
    t.ns_root(0, || {
        sys!(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT, 0, 0, 0)).ok();
        expect_eq!(crate::guest::hex(&t.status_after_exec("CapPrm")), 0);
    })
    .done();
}

#[case(as_root)]
fn no_setuid_fixup_keeps_them_when_root_is_left(t: &mut Guest) {
    t.mapped(0, "0 100000 10", "0 100000 10", || {
        let all = t.all_caps();
        sys!(setresuid(0, 0, 0)).ok();
        sys!(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0)).ok();
        sys!(setresuid(5, 5, 5)).ok();
        expect_eq!(t.caps(), Caps { effective: all, permitted: all, inheritable: 0 });
    })
    .done();
}

#[case(as_root)]
fn keepcaps_keeps_the_permitted_when_root_is_left(t: &mut Guest) {
    t.mapped(0, "0 100000 10", "0 100000 10", || {
        let all = t.all_caps();
        sys!(setresuid(0, 0, 0)).ok();
        sys!(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)).ok();
        sys!(setresuid(5, 5, 5)).ok();
        expect_eq!(t.caps(), Caps { effective: 0, permitted: all, inheritable: 0 });
        sys!(prctl(PR_GET_KEEPCAPS, 0, 0, 0, 0)).is(1);
    })
    .done();
}

#[case(as_root, as_user)]
fn keepcaps_can_be_locked_and_goes_with_exec(t: &mut Guest) {
    const SECBIT_KEEP_CAPS_LOCKED: i32 = 1 << 5;
    t.ns_root(0, || {
        sys!(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)).ok();
        sys!(prctl(PR_SET_SECUREBITS, SECBIT_KEEP_CAPS | SECBIT_KEEP_CAPS_LOCKED, 0, 0, 0)).ok();
        sys!(prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0)).fails(EPERM);
        sys!(prctl(PR_SET_KEEPCAPS, 2, 0, 0, 0)).fails(EINVAL);
    })
    .done();
}

#[case(as_root, as_user)]
fn no_new_privs_does_not_keep_root_from_its_own(t: &mut Guest) {
    t.ns_root(0, || {
        sys!(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)).ok();
        expect_eq!(crate::guest::hex(&t.status_after_exec("CapPrm")), t.all_caps());
        sys!(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0)).fails(EINVAL);
    })
    .done();
}

/// With no new privileges an exec gains nothing that was dropped, though root it is.
#[case(as_root, as_user)]
fn no_new_privs_does_not_give_back_what_was_dropped(t: &mut Guest) {
    t.ns_root(0, || {
        sys!(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)).ok();
        t.drop_cap(CAP_NET_RAW);
        expect_eq!(crate::guest::hex(&t.status_after_exec("CapPrm")), t.caps().permitted);
    })
    .done();
}

#[case(as_user)]
fn seccomp_filters_without_no_new_privs_need_cap_sys_admin(t: &mut Guest) {
    let allow = sock_filter { code: 6, jt: 0, jf: 0, k: 0x7fff_0000 };
    let install = || {
        let program = sock_fprog { len: 1, filter: (&raw const allow).cast_mut() };
        sys!(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &raw const program, 0, 0))
    };
    install().fails(EACCES);
    t.ns_root(0, || {
        t.fork(|| install().is(0)).done();
        t.drop_cap(CAP_SYS_ADMIN);
        install().fails(EACCES);
    })
    .done();
}
