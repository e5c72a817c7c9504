//! Who somebody else is: messages, signals, children, priorities.

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

/// Sends one byte with the sender's credentials as named.
fn send_as(to: i32, pid: i64, uid: u32, gid: u32) -> crate::sys::Ret {
    let mut part = iov(b"x");
    let kind = SOL_SOCKET as u64 | (SCM_CREDENTIALS as u64) << 32;
    let mut control = [28, kind, pid as u64 | u64::from(uid) << 32, gid.into()];
    let mut message: msghdr = zeroed();
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    sys!(sendmsg(to, &raw const message, 0))
}

#[track_caller]
fn credential_sockets(t: &Guest) -> (i32, i32) {
    let (a, b) = t.socketpair(SOCK_DGRAM);
    t.set_option(b, SOL_SOCKET, SO_PASSCRED, 1).ok();
    (a, b)
}

#[case(as_root, as_user)]
fn credentials_arrive_as_the_receiver_names_them(t: &mut Guest) {
    let (uid, gid) = (t.uid(), sys!(getegid()).ok() as u32);
    let (a, b) = credential_sockets(t);
    let child = t.ns_root(0, || {
        t.send(a, "x");
        send_as(a, sys!(getpid()).ok(), 0, 0).is(1);
    });
    expect_eq!(t.sender(b), (child.pid, uid, gid));
    expect_eq!(t.sender(b), (child.pid, uid, gid));
    child.done();
}

#[case(as_root)]
fn credentials_of_someone_unmapped_arrive_as_the_overflow_ids(t: &mut Guest) {
    let (a, b) = credential_sockets(t);
    t.send(a, "x");
    let own = sys!(getpid()).ok() as i32;
    ranged(t, 0, || expect_eq!(t.sender(b), (own, t.overflow_uid(), t.overflow_gid()))).done();
}

#[case(as_root, as_user)]
fn credentials_without_a_mapping_cannot_be_sent(t: &mut Guest) {
    let (a, _b) = credential_sockets(t);
    t.ns_root(0, || {
        let own = sys!(getpid()).ok();
        send_as(a, own, 1, 0).fails(EINVAL);
        send_as(a, own, 0, 1).fails(EINVAL);
    })
    .done();
}

#[case(as_root)]
fn root_inside_may_send_any_mapped_credentials(t: &mut Guest) {
    let (a, b) = credential_sockets(t);
    ranged(t, 0, || {
        let own = sys!(getpid()).ok();
        send_as(a, own, 7, 8).is(1);
        t.drop_cap(CAP_SETUID);
        send_as(a, own, 7, 8).fails(EPERM);
    })
    .done();
    let (_, uid, gid) = t.sender(b);
    expect_eq!((uid, gid), (100_007, 100_008));
}

/// Naming another process needs CAP_SYS_ADMIN over the process id namespace.
#[case(as_root, as_user)]
fn root_inside_may_not_name_another_process(t: &mut Guest) {
    let (a, _b) = credential_sockets(t);
    let parent = sys!(getpid()).ok();
    t.ns_root(0, || send_as(a, parent, 0, 0).fails(EPERM)).done();
    t.ns_root(CLONE_NEWPID, || {
        let child = t.sleeper();
        send_as(a, i64::from(child.pid), 0, 0).is(1);
        child.end();
    })
    .done();
}

fn peer(fd: i32) -> ucred {
    let mut peer: ucred = zeroed();
    let mut length = size_of::<ucred>() as u32;
    sys!(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &raw mut peer, &raw mut length)).ok();
    peer
}

#[case(as_root, as_user)]
fn peercred_names_the_peer_for_the_asker(t: &mut Guest) {
    let (uid, gid) = (t.uid(), sys!(getegid()).ok() as u32);
    let (name, own) = (format!("\0userns-{}", sys!(getpid()).ok()), sys!(getpid()).ok() as i32);
    let listener = t.socket(AF_UNIX, SOCK_STREAM);
    t.bind_unix(listener, &name).ok();
    sys!(listen(listener, 1)).ok();
    let child = t.ns_root(0, || {
        let fd = t.socket(AF_UNIX, SOCK_STREAM);
        t.connect_unix(fd, &name).ok();
        let peer = peer(fd);
        expect_eq!((peer.pid, peer.uid, peer.gid), (own, 0, 0));
        t.recv(fd, 1);
    });
    let fd = sys!(accept4(listener, 0, 0, 0)).fd();
    let seen = peer(fd);
    expect_eq!((seen.pid, seen.uid, seen.gid), (child.pid, uid, gid));
    t.send(fd, "x");
    child.done();
}

#[case(as_root)]
fn peercred_of_someone_unmapped_is_the_overflow_id(t: &mut Guest) {
    let (a, _b) = t.socketpair(SOCK_STREAM);
    ranged(t, 0, || {
        let peer = peer(a);
        expect_eq!((peer.uid, peer.gid), (t.overflow_uid(), t.overflow_gid()));
    })
    .done();
}

#[case(as_root, as_user)]
fn a_signal_from_inside_names_the_sender_as_outside(t: &mut Guest) {
    t.block(&[SIGUSR1]);
    let (uid, own) = (t.uid(), sys!(getpid()).ok());
    let child = t.ns_root(0, || sys!(kill(own, SIGUSR1)).is(0));
    let info = t.take(&[SIGUSR1]);
    expect_eq!((info.pid(), info.uid()), (child.pid, uid));
    child.done();
}

#[case(as_root)]
fn a_signal_from_outside_is_from_the_overflow_id(t: &mut Guest) {
    t.block(&[SIGUSR1]);
    let own = sys!(getpid()).ok() as i32;
    let child = ranged(t, 0, || {
        let info = t.take(&[SIGUSR1]);
        expect_eq!((info.pid(), info.uid()), (own, t.overflow_uid()));
    });
    child.kill(SIGUSR1);
    child.done();
}

#[case(as_root)]
fn a_childs_end_names_it_for_its_parent(t: &mut Guest) {
    t.block(&[SIGCHLD]);
    let child = ranged(t, 0, || sys!(setresuid(7, 7, 7)).is(0));
    let info = t.take(&[SIGCHLD]);
    expect_eq!((info.pid(), info.uid()), (child.pid, 100_007));
    let mut info: siginfo_t = zeroed();
    sys!(waitid(P_PID, child.pid, &raw mut info, WEXITED | WNOWAIT, 0)).ok();
    expect_eq!(SigInfo(info).uid(), 100_007);
    child.done();
}

#[case(as_root)]
fn waitid_inside_names_children_as_inside(t: &mut Guest) {
    ranged(t, 0, || {
        let child = t.fork(|| sys!(setresuid(7, 7, 7)).is(0));
        let mut info: siginfo_t = zeroed();
        sys!(waitid(P_PID, child.pid, &raw mut info, WEXITED, 0)).ok();
        expect_eq!(SigInfo(info).uid(), 7);
    })
    .done();
}

#[case(as_root, as_user)]
fn signals_reach_the_same_user_across_namespaces(t: &mut Guest) {
    let target = t.sleeper();
    t.ns_root(0, || sys!(kill(target.pid, SIGTERM)).is(0)).done();
    target.wait().killed(SIGTERM);
}

#[case(as_root)]
fn root_inside_signals_only_who_is_inside(t: &mut Guest) {
    let outside = t.fork_user(1000, || {
        loop {
            let _ = sys!(pause());
        }
    });
    ranged(t, 0, || {
        sys!(kill(outside.pid, 0)).fails(EPERM);
        sys!(kill(1, 0)).fails(EPERM);
        let inside = t.fork(|| {
            sys!(setresuid(7, 7, 7)).ok();
            loop {
                let _ = sys!(pause());
            }
        });
        inside.end();
    })
    .done();
    outside.end();
}

/// The owner of the namespace has CAP_KILL over whoever is in it.
#[case(as_root)]
fn the_owner_signals_everyone_inside(t: &mut Guest) {
    let (ready, go, done) = (t.pipe(), t.pipe(), t.pipe());
    let shared = t.shared();
    let owner = t.fork_user(1000, || {
        let child = t.userns(0, || {
            go.wait();
            sys!(setresuid(0, 0, 0)).ok();
            done.signal();
            loop {
                let _ = sys!(pause());
            }
        });
        shared[0].store(child.pid as u32, SeqCst);
        ready.signal();
        done.wait();
        // It is user 100000 now, whom only a capability reaches.
        child.end();
    });
    ready.wait();
    t.write_maps(shared[0].load(SeqCst) as i32, "0 100000 10", "0 100000 10");
    go.signal();
    owner.done();
}

#[case(as_root, as_user)]
fn priorities_of_a_user_without_a_mapping_are_esrch(t: &mut Guest) {
    t.ns_root(0, || {
        sys!(setpriority(PRIO_USER, 1, 5)).fails(ESRCH);
        sys!(getpriority(PRIO_USER, 1)).fails(ESRCH);
        sys!(setpriority(PRIO_USER, -1, 5)).fails(ESRCH);
    })
    .done();
}

#[case(as_root)]
fn priorities_of_a_mapped_user_reach_its_processes(t: &mut Guest) {
    ranged(t, 0, || {
        let ready = t.pipe();
        let child = t.fork(|| {
            sys!(setresuid(7, 7, 7)).ok();
            ready.signal();
            loop {
                let _ = sys!(pause());
            }
        });
        ready.wait();
        sys!(setpriority(PRIO_USER, 7, 3)).ok();
        // The call gives 20 less the nice value.
        sys!(getpriority(PRIO_PROCESS, child.pid)).is(17);
        sys!(getpriority(PRIO_USER, 7)).is(17);
        child.end();
    })
    .done();
}

#[case(as_root)]
fn priorities_cannot_be_raised_from_inside(t: &mut Guest) {
    ranged(t, 0, || {
        sys!(setpriority(PRIO_PROCESS, 0, 5)).ok();
        sys!(setpriority(PRIO_PROCESS, 0, 4)).fails(EACCES);
        sys!(setpriority(PRIO_PROCESS, 1, 5)).fails(EPERM);
    })
    .done();
}

#[case(as_root, as_user)]
fn system_v_objects_are_owned_as_the_asker_names_them(t: &mut Guest) {
    let (uid, gid) = (t.uid(), sys!(getegid()).ok() as u32);
    let id =
        sys!(shmget(IPC_PRIVATE, 4096, 0o600 | IPC_CREAT)).or_skip(ENOSYS, "no System V shared memory").fd();
    let stat = || {
        let mut stat: shmid_ds = zeroed();
        let got = sys!(shmctl(id, IPC_STAT, &raw mut stat));
        (got, stat.shm_perm.uid, stat.shm_perm.gid)
    };
    let child = t.ns_root(0, || {
        let (got, uid, gid) = stat();
        got.ok();
        expect_eq!((uid, gid), (0, 0));
    });
    let end = child.wait();
    let (_, outer_uid, outer_gid) = stat();
    sys!(shmctl(id, IPC_RMID, 0)).ok();
    end.exited(0);
    expect_eq!((outer_uid, outer_gid), (uid, gid));
}

#[case(as_root)]
fn ptrace_from_inside_reaches_only_who_is_inside(t: &mut Guest) {
    let outside = t.fork_user(100_007, || {
        loop {
            let _ = sys!(pause());
        }
    });
    ranged(t, 0, || {
        // The same user, but in a namespace above.
        sys!(setresuid(7, 7, 7)).ok();
        sys!(ptrace(PTRACE_ATTACH, 1, 0, 0)).fails(EPERM);
    })
    .done();
    ranged(t, 0, || {
        sys!(ptrace(PTRACE_ATTACH, outside.pid, 0, 0)).fails(EPERM);
        let inside = t.sleeper();
        sys!(ptrace(PTRACE_ATTACH, inside.pid, 0, 0)).ok();
        inside.wait_for(WUNTRACED).stopped(SIGSTOP);
        sys!(ptrace(PTRACE_DETACH, inside.pid, 0, 0)).ok();
        inside.end();
    })
    .done();
    outside.end();
}
