//! UTS, IPC, network, time and control group namespaces that belong to a user namespace.

use crate::prelude::*;
use libc::*;

fn host_name() -> Vec<u8> {
    let mut name: utsname = zeroed();
    sys!(uname(&raw mut name)).ok();
    name.nodename.iter().map(|c| *c as u8).take_while(|c| *c != 0).collect()
}

#[case(as_root, as_user)]
fn a_host_name_is_of_its_namespace(t: &mut Guest) {
    let before = host_name();
    t.ns_root(CLONE_NEWUTS, || {
        expect_eq!(host_name(), before);
        sys!(sethostname(c"inside", 6)).ok();
        expect_eq!(host_name(), b"inside");
        t.read("/proc/sys/kernel/hostname").is("inside\n");
        t.fork(|| expect_eq!(host_name(), b"inside")).done();
        sys!(unshare(CLONE_NEWUTS)).ok();
        // A copy.
        expect_eq!(host_name(), b"inside");
    })
    .done();
    expect_eq!(host_name(), before);
}

#[case(as_root, as_user)]
fn a_host_name_needs_cap_sys_admin_of_the_owner(t: &mut Guest) {
    t.ns_root(0, || sys!(sethostname(c"x", 1)).fails(EPERM)).done();
    t.ns_root(CLONE_NEWUTS, || {
        sys!(sethostname(c"x", 65)).fails(EINVAL);
        sys!(sethostname(c"x", -1)).fails(EINVAL);
        sys!(sethostname(8, 1)).fails(EFAULT);
        t.drop_cap(CAP_SYS_ADMIN);
        // Permission first.
        sys!(sethostname(c"x", 65)).fails(EPERM);
        sys!(setdomainname(c"x", 1)).fails(EPERM);
    })
    .done();
}

#[case(as_root, as_user)]
fn system_v_objects_are_of_their_namespace(t: &mut Guest) {
    const KEY: i32 = 0x0075_7365;
    t.ns_root(CLONE_NEWIPC, || {
        let id =
            sys!(shmget(KEY, 4096, 0o600 | IPC_CREAT | IPC_EXCL)).or_skip(ENOSYS, "no System V objects").fd();
        sys!(shmget(KEY, 4096, 0)).is(id);
        t.fork(|| {
            sys!(unshare(CLONE_NEWIPC)).ok();
            sys!(shmget(KEY, 4096, 0)).fails(ENOENT);
            let mut stat: shmid_ds = zeroed();
            sys!(shmctl(id, IPC_STAT, &raw mut stat)).fails(EINVAL);
            sys!(semget(KEY, 1, 0o600 | IPC_CREAT | IPC_EXCL)).ok();
            sys!(msgget(KEY, 0o600 | IPC_CREAT | IPC_EXCL)).ok();
        })
        .done();
        sys!(semget(KEY, 1, 0)).fails(ENOENT);
        sys!(msgget(KEY, 0)).fails(ENOENT);
    })
    .done();
    sys!(shmget(KEY, 4096, 0)).fails(ENOENT);
}

#[case(as_root, as_user)]
fn message_queues_are_of_their_namespace(t: &mut Guest) {
    t.ns_root(CLONE_NEWIPC, || {
        let name = c"userns-case";
        sys!(mq_open(name, O_CREAT | O_RDWR, 0o600, 0)).or_skip(ENOSYS, "no message queues").ok();
        t.fork(|| {
            sys!(unshare(CLONE_NEWIPC)).ok();
            sys!(mq_open(name, O_RDWR, 0, 0)).fails(ENOENT);
        })
        .done();
        sys!(mq_unlink(name)).ok();
    })
    .done();
}

#[case(as_root, as_user)]
fn a_new_network_has_loopback_alone_and_down(t: &mut Guest) {
    t.ns_root(CLONE_NEWNET, || {
        let text = t.read("/proc/self/net/dev").ok();
        let names: Vec<_> =
            text.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim).collect();
        check!(names.contains(&"lo") && !names.iter().any(|name| name.starts_with("eth")), "{text}");
        let fd = t.socket(AF_INET, SOCK_STREAM);
        t.connect(fd, &crate::guest::inet(9)).fails(ENETUNREACH);
    })
    .done();
}

/// Sets or clears IFF_UP of the loopback device.
fn loopback_up(t: &Guest) -> crate::sys::Ret {
    let mut request: ifreq = zeroed();
    request.ifr_name[0] = b'l' as c_char;
    request.ifr_name[1] = b'o' as c_char;
    request.ifr_ifru.ifru_flags = IFF_UP as i16;
    sys!(ioctl(t.socket(AF_INET, SOCK_DGRAM), SIOCSIFFLAGS, &raw const request))
}

#[case(as_root, as_user)]
fn loopback_can_be_brought_up_by_the_owner(t: &mut Guest) {
    t.ns_root(0, || loopback_up(t).fails(EPERM)).done();
    t.ns_root(CLONE_NEWNET, || {
        loopback_up(t).ok();
        let (client, server) = t.tcp_pair();
        t.send(client, "x");
        expect_eq!(t.recv(server, 8), b"x");
    })
    .done();
}

#[case(as_root, as_user)]
fn abstract_names_and_ports_are_of_their_network(t: &mut Guest) {
    let name = format!("\0userns-{}", sys!(getpid()).ok());
    let outer = t.socket(AF_UNIX, SOCK_STREAM);
    t.bind_unix(outer, &name).ok();
    sys!(listen(outer, 1)).ok();
    t.ns_root(CLONE_NEWNET, || {
        let fd = t.socket(AF_UNIX, SOCK_STREAM);
        t.connect_unix(fd, &name).fails(ECONNREFUSED);
        t.bind_unix(fd, &name).ok();
    })
    .done();
    t.ns_root(0, || t.connect_unix(t.socket(AF_UNIX, SOCK_STREAM), &name).is(0)).done();
}

/// What a path names is the file system's, not the network's.
#[case(as_root, as_user)]
fn socket_files_are_not(t: &mut Guest) {
    let outer = t.socket(AF_UNIX, SOCK_STREAM);
    t.bind_unix(outer, "socket").ok();
    sys!(listen(outer, 1)).ok();
    t.ns_root(CLONE_NEWNET, || t.connect_unix(t.socket(AF_UNIX, SOCK_STREAM), "socket").is(0)).done();
}

#[case(as_root, as_user)]
fn a_socket_stays_in_the_network_it_was_made_in(t: &mut Guest) {
    let (listener, port) = t.tcp_listener();
    let client = t.socket(AF_INET, SOCK_STREAM);
    t.ns_root(CLONE_NEWNET, || {
        t.connect(client, &crate::guest::inet(port)).ok();
        t.connect(t.socket(AF_INET, SOCK_STREAM), &crate::guest::inet(port)).fails(ENETUNREACH);
    })
    .done();
    sys!(accept4(listener, 0, 0, 0)).ok();
}

const OFFSETS: &str = "/proc/self/timens_offsets";

/// Whole seconds of a clock.
#[track_caller]
fn seconds(clock: i32) -> i64 {
    let mut now: timespec = zeroed();
    sys!(clock_gettime(clock, &raw mut now)).ok();
    now.tv_sec
}

/// Moves into a new user namespace with a new time namespace for children.
#[track_caller]
fn time_root(t: &Guest, body: impl FnOnce()) {
    t.ns_root(0, || {
        sys!(unshare(CLONE_NEWTIME)).or_skip(EINVAL, "no time namespaces").ok();
        body();
    })
    .done();
}

#[case(as_root, as_user)]
fn clocks_of_a_time_namespace_are_offset(t: &mut Guest) {
    time_root(t, || {
        let (monotonic, boot, real) =
            (seconds(CLOCK_MONOTONIC), seconds(CLOCK_BOOTTIME), seconds(CLOCK_REALTIME));
        t.write(OFFSETS, "monotonic 86400 0\nboottime 172800 0\n").ok();
        // The caller's own clocks stay.
        check!((0..60).contains(&(seconds(CLOCK_MONOTONIC) - monotonic)));
        t.fork(|| {
            check!((86400..86460).contains(&(seconds(CLOCK_MONOTONIC) - monotonic)));
            // The coarse clock may be a tick behind, and so in the second before.
            check!((86399..86460).contains(&(seconds(CLOCK_MONOTONIC_COARSE) - monotonic)));
            check!((172_800..172_860).contains(&(seconds(CLOCK_BOOTTIME) - boot)));
            check!((-60..60).contains(&(seconds(CLOCK_REALTIME) - real)));
            expect_eq!(t.ns_link("self", "time"), t.ns_link("self", "time_for_children"));
        })
        .done();
    });
}

#[case(as_root, as_user)]
fn a_time_namespace_is_for_children(t: &mut Guest) {
    time_root(t, || {
        check!(t.ns_link("self", "time") != t.ns_link("self", "time_for_children"));
        let text = t.read(OFFSETS).ok();
        let words: Vec<_> = text.split_whitespace().collect();
        expect_eq!(words, ["monotonic", "0", "0", "boottime", "0", "0"]);
    });
}

#[case(as_root, as_user)]
fn offsets_are_fixed_by_the_first_process(t: &mut Guest) {
    time_root(t, || {
        t.write(OFFSETS, "monotonic 10 0").ok();
        t.write(OFFSETS, "monotonic 20 500000000").ok();
        t.fork(|| ()).done();
        t.write(OFFSETS, "monotonic 30 0").fails(EACCES);
        let text = t.read(OFFSETS).ok();
        let words: Vec<_> = text.split_whitespace().collect();
        expect_eq!(words[..3], ["monotonic", "20", "500000000"]);
    });
}

#[case(as_root, as_user)]
fn offsets_are_checked(t: &mut Guest) {
    time_root(t, || {
        for text in
            ["", "nonsense", "realtime 1 0", "monotonic 1", "monotonic 1 1000000000", "monotonic 1 -1"]
        {
            let fd = t.open(OFFSETS, O_WRONLY);
            let errno = sys!(write(fd, text.as_bytes(), text.len())).errno();
            check!(errno == EINVAL, "{} for {text:?}", crate::sys::errno_name(errno));
        }
        t.write(OFFSETS, "monotonic 9223372036 0").fails(ERANGE);
        t.write(OFFSETS, "monotonic -9223372036 0").fails(ERANGE);
    });
}

#[case(as_user)]
fn offsets_need_cap_sys_time_of_the_owner(t: &mut Guest) {
    t.needs_first_userns();
    if t.exists(OFFSETS) {
        t.write(OFFSETS, "monotonic 1 0").fails(EPERM);
    } else {
        t.skip("no time namespaces");
    }
}

#[case(as_root, as_user)]
fn absolute_sleeps_are_by_the_shifted_clock(t: &mut Guest) {
    time_root(t, || {
        t.write(OFFSETS, "monotonic 86400 0").ok();
        t.fork(|| {
            let until = deadline(CLOCK_MONOTONIC, 20);
            sys!(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &raw const until, 0)).ok();
            let mut now: timespec = zeroed();
            sys!(clock_gettime(CLOCK_MONOTONIC, &raw mut now)).ok();
            check!((now.tv_sec, now.tv_nsec) >= (until.tv_sec, until.tv_nsec));
            check!(now.tv_sec < until.tv_sec + 60);
        })
        .done();
    });
}

#[case(as_root, as_user)]
fn a_new_cgroup_namespace_starts_at_the_root(t: &mut Guest) {
    if !t.exists("/proc/self/cgroup") {
        t.skip("no control groups");
    }
    t.ns_root(CLONE_NEWCGROUP, || {
        let text = t.read("/proc/self/cgroup").ok();
        check!(text.lines().all(|line| line.splitn(3, ':').nth(2) == Some("/")), "{text}");
    })
    .done();
}
