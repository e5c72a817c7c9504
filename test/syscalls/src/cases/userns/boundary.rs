//! Ids and rights at the less travelled borders of a namespace.

use crate::prelude::*;
use libc::*;

/// Runs `body` as root of a namespace in which 0 to 999 are 100000 to 100999.
#[track_caller]
fn ranged(t: &Guest, flags: i32, body: impl FnOnce()) -> Child {
    t.mapped(flags, "0 100000 1000", "0 100000 1000", || {
        sys!(setgroups(0, 0)).ok();
        sys!(setresgid(0, 0, 0)).ok();
        sys!(setresuid(0, 0, 0)).ok();
        sys!(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)).ok();
        body();
    })
}

/// Groups of the peer as SO_PEERGROUPS tells them.
#[track_caller]
fn peer_groups(fd: i32) -> Vec<u32> {
    let (mut groups, mut size) = ([0_u32; 64], 256_u32);
    sys!(getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, &mut groups, &raw mut size)).ok();
    groups[..size as usize / 4].to_vec()
}

#[case(as_root)]
fn peergroups_are_named_for_the_asker(t: &mut Guest) {
    sys!(setgroups(2, &[100_007, 5])).ok();
    let (a, _) = t.socketpair(SOCK_STREAM);
    expect_eq!(peer_groups(a), [5, 100_007]);
    let mut size = 4_u32;
    let mut groups = [0_u32; 1];
    sys!(getsockopt(a, SOL_SOCKET, SO_PEERGROUPS, &mut groups, &raw mut size)).fails(ERANGE);
    expect_eq!(size, 8);
    ranged(t, 0, || expect_eq!(peer_groups(a), [t.overflow_gid(), 7])).done();
}

/// The namespace of a socket is its maker's, and asking for it takes rights over it.
#[case(as_root, as_user)]
fn the_namespace_of_a_socket_is_for_its_network_admin(t: &mut Guest) {
    let outer = t.socket(AF_INET, SOCK_DGRAM);
    let name = t.ns_link("self", "net");
    t.ns_root(CLONE_NEWNET, || {
        sys!(ioctl(outer, SIOCGSKNS, 0)).fails(EPERM);
        let inner = t.socket(AF_INET, SOCK_DGRAM);
        let ns = sys!(ioctl(inner, SIOCGSKNS, 0)).fd();
        let seen = t.read_link(&format!("/proc/self/fd/{ns}"));
        expect_eq!(seen, t.ns_link("self", "net"));
        check!(seen != name, "{seen}");
    })
    .done();
}

#[case(as_root, as_user)]
fn descriptors_of_a_process_are_for_who_may_trace_it(t: &mut Guest) {
    let (outer, go) = (sys!(pidfd_open(sys!(getpid()).ok(), 0)).fd(), t.pipe());
    let inner = t.ns_root(0, || {
        // The same user, but in the namespace above.
        sys!(pidfd_getfd(outer, 0, 0)).fails(EPERM);
        go.wait();
    });
    let inside = sys!(pidfd_open(inner.pid, 0)).fd();
    sys!(pidfd_getfd(inside, go.r, 0)).fd();
    go.signal();
    inner.done();
}

#[case(as_root)]
fn owners_of_system_v_objects_must_be_mapped(t: &mut Guest) {
    ranged(t, CLONE_NEWIPC, || {
        let id = sys!(shmget(IPC_PRIVATE, 4096, 0o600 | IPC_CREAT)).fd();
        let mut stat: shmid_ds = zeroed();
        sys!(shmctl(id, IPC_STAT, &raw mut stat)).ok();
        expect_eq!((stat.shm_perm.uid, stat.shm_perm.cuid), (0, 0));
        stat.shm_perm.uid = 1000;
        sys!(shmctl(id, IPC_SET, &raw const stat)).fails(EINVAL);
        stat.shm_perm.uid = 7;
        stat.shm_perm.gid = 1000;
        sys!(shmctl(id, IPC_SET, &raw const stat)).fails(EINVAL);
        stat.shm_perm.gid = 8;
        sys!(shmctl(id, IPC_SET, &raw const stat)).ok();
        sys!(shmctl(id, IPC_STAT, &raw mut stat)).ok();
        expect_eq!((stat.shm_perm.uid, stat.shm_perm.gid, stat.shm_perm.cuid), (7, 8, 0));
        sys!(shmctl(id, IPC_RMID, 0)).ok();
    })
    .done();
}

/// Who is told of readiness by a signal: the ids of who asked for it, as the asker names them.
#[case(as_root)]
fn owners_of_descriptors_are_named_for_the_asker(t: &mut Guest) {
    let (fd, _) = t.socketpair(SOCK_STREAM);
    ranged(t, 0, || {
        sys!(setresuid(7, 8, 9)).ok();
        sys!(fcntl(fd, F_SETOWN, sys!(getpid()).ok())).ok();
        let mut ids = [0_u32; 2];
        sys!(fcntl(fd, F_GETOWNER_UIDS, &mut ids)).or_skip(EINVAL, "not built for checkpoints").ok();
        expect_eq!(ids, [7, 8]);
    })
    .done();
    let mut ids = [0_u32; 2];
    sys!(fcntl(fd, F_GETOWNER_UIDS, &mut ids)).or_skip(EINVAL, "not built for checkpoints").ok();
    expect_eq!(ids, [100_007, 100_008]);
}

/// `fcntl` command. Linux: include/uapi/linux/fcntl.h.
const F_GETOWNER_UIDS: i32 = 17;

#[case(as_root)]
fn limits_of_others_go_by_ids_across_namespaces(t: &mut Guest) {
    let ready = t.pipe();
    let sleeper = t.fork_user(100_007, || {
        ready.signal();
        loop {
            let _ = sys!(pause());
        }
    });
    ready.wait();
    let mut old: rlimit64 = zeroed();
    ranged(t, 0, || {
        // CAP_SYS_RESOURCE counts in the other's namespace, which is above.
        sys!(prlimit64(sleeper.pid, RLIMIT_NOFILE, 0, &raw mut old)).fails(EPERM);
        sys!(setresgid(7, 7, 8)).ok();
        sys!(setresuid(7, 7, 7)).ok();
        sys!(prlimit64(sleeper.pid, RLIMIT_NOFILE, 0, &raw mut old)).ok();
        sys!(setresgid(8, 8, 8)).ok();
        sys!(prlimit64(sleeper.pid, RLIMIT_NOFILE, 0, &raw mut old)).fails(EPERM);
    })
    .done();
    sleeper.end();
}

#[case(as_root, as_user)]
fn a_session_keyring_is_joined_inside_as_outside(t: &mut Guest) {
    const JOIN_SESSION_KEYRING: i32 = 1;
    const GET_KEYRING_ID: i32 = 0;
    const SESSION: i32 = -3;
    t.ns_root(0, || {
        let joined = sys!(keyctl(JOIN_SESSION_KEYRING, 0)).or_skip(ENOSYS, "no keys").ok();
        expect_eq!(sys!(keyctl(GET_KEYRING_ID, SESSION, 0)).ok(), joined);
        t.fork(|| expect_eq!(sys!(keyctl(GET_KEYRING_ID, SESSION, 0)).ok(), joined)).done();
    })
    .done();
}

/// The program was executed outside, whose root is nobody inside. Linux: `task_dump_owner`, `mm->user_ns`.
#[case(as_root)]
fn what_is_not_dumpable_belongs_to_the_root_of_where_it_was_executed(t: &mut Guest) {
    let owners = |t: &Guest| {
        let stat = t.stat("/proc/self/status");
        (stat.st_uid, stat.st_gid)
    };
    ranged(t, 0, || {
        sys!(setresgid(8, 8, 8)).ok();
        sys!(setresuid(7, 7, 7)).ok();
        sys!(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)).ok();
        expect_eq!(owners(t), (7, 8));
        sys!(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)).ok();
        expect_eq!(owners(t), (t.overflow_uid(), t.overflow_gid()));
        sys!(prctl(PR_SET_DUMPABLE, 2, 0, 0, 0)).fails(EINVAL);
        expect_eq!(sys!(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)).ok(), 0);
    })
    .done();
    t.userns(0, || {
        sys!(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)).ok();
        expect_eq!(owners(t), (t.overflow_uid(), t.overflow_gid()));
    })
    .done();
}
