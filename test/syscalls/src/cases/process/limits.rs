//! Resource limits.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn soft_limits_move_below_the_hard_one(t: &mut Guest) {
    let old = t.rlimit(RLIMIT_NOFILE);
    t.limit(RLIMIT_NOFILE, 50);
    expect_eq!(t.rlimit(RLIMIT_NOFILE).rlim_cur, 50);
    t.limit(RLIMIT_NOFILE, old.rlim_max);
    expect_eq!(t.rlimit(RLIMIT_NOFILE).rlim_cur, old.rlim_max);
    let crossed = rlimit64 { rlim_cur: 10, rlim_max: 9 };
    sys!(prlimit64(0, RLIMIT_NOFILE, &raw const crossed, 0)).fails(EINVAL);
    sys!(prlimit64(0, 99, 0, 0)).fails(EINVAL);
    sys!(getrlimit(99, 0)).fails(EINVAL);
    sys!(getrlimit(RLIMIT_NOFILE, 8)).fails(EFAULT);
}

#[case(as_user)]
fn a_user_lowers_a_hard_limit_for_good(t: &mut Guest) {
    let low = rlimit64 { rlim_cur: 20, rlim_max: 20 };
    sys!(prlimit64(0, RLIMIT_NOFILE, &raw const low, 0)).ok();
    let high = rlimit64 { rlim_cur: 20, rlim_max: 21 };
    sys!(prlimit64(0, RLIMIT_NOFILE, &raw const high, 0)).fails(EPERM);
    t.fork(|| expect_eq!(t.rlimit(RLIMIT_NOFILE).rlim_max, 20)).done();
}

#[case(as_root, as_user)]
fn limits_of_a_child_can_be_set(t: &mut Guest) {
    let child = t.sleeper();
    let mut old: rlimit64 = zeroed();
    let new = rlimit64 { rlim_cur: 33, rlim_max: 44 };
    sys!(prlimit64(child.pid, RLIMIT_NOFILE, &raw const new, &raw mut old)).ok();
    expect_eq!(old.rlim_max, t.rlimit(RLIMIT_NOFILE).rlim_max);
    sys!(prlimit64(child.pid, RLIMIT_NOFILE, 0, &raw mut old)).ok();
    expect_eq!((old.rlim_cur, old.rlim_max), (33, 44));
    child.kill(SIGKILL);
    child.wait().killed(SIGKILL);
    sys!(prlimit64(0x3fff_ffff, RLIMIT_NOFILE, 0, &raw mut old)).fails(ESRCH);
}

#[case(as_root, as_user)]
fn the_old_calls_agree_with_prlimit(t: &mut Guest) {
    let new = rlimit { rlim_cur: 1234, rlim_max: t.rlimit(RLIMIT_STACK).rlim_max };
    sys!(setrlimit(RLIMIT_STACK, &raw const new)).ok();
    expect_eq!(t.rlimit(RLIMIT_STACK).rlim_cur, 1234);
}

#[case(as_root, as_user)]
fn cpu_time_over_the_soft_limit_is_sigxcpu(t: &mut Guest) {
    let child = t.fork(|| {
        t.limit(RLIMIT_CPU, 1);
        loop {
            std::hint::spin_loop();
        }
    });
    child.wait().killed(SIGXCPU);
}

#[case(as_user)]
fn nproc_limits_forks(t: &mut Guest) {
    t.limit(RLIMIT_NPROC, 0);
    sys!(clone(SIGCHLD, 0, 0, 0, 0)).fails(EAGAIN);
}

/// Two sleeping processes of user `uid`.
#[track_caller]
fn sleepers_of(t: &Guest, uid: u32) -> [Child; 2] {
    [(); 2].map(|()| {
        let ready = t.pipe();
        let child = t.fork_user(uid, || {
            ready.signal();
            loop {
                let _ = sys!(pause());
            }
        });
        ready.wait();
        child
    })
}

#[track_caller]
fn end(children: [Child; 2]) {
    for child in children {
        child.end();
    }
}

/// Too many programs take it for granted that setuid(2) succeeds; so it is what comes next that fails.
#[case(as_root)]
fn execve_fails_after_a_change_to_a_user_with_too_many_processes(t: &mut Guest) {
    const USER: u32 = 54_001;
    let others = sleepers_of(t, USER);
    t.fork(|| {
        t.limit(RLIMIT_NPROC, 1);
        sys!(setresuid(USER, USER, USER)).ok();
        t.exec_helper("ids", &[], &[]).fails(EAGAIN);
        // The name is read before, the file is looked for after.
        sys!(execve(8, 0, 0)).fails(EFAULT);
        sys!(execve(c"missing", 0, 0)).fails(EAGAIN);
        sys!(clone(SIGCHLD, 0, 0, 0, 0)).fails(EAGAIN);
        sys!(execve(c"missing", 0, 0)).fails(EAGAIN);
        // With fewer of them, or a higher limit, it works, and goes on to.
        t.limit(RLIMIT_NPROC, 3);
        sys!(execve(c"missing", 0, 0)).fails(ENOENT);
        t.limit(RLIMIT_NPROC, 1);
        sys!(execve(c"missing", 0, 0)).fails(ENOENT);
    })
    .done();
    end(others);
}

#[case(as_root)]
fn only_a_change_of_the_real_user_counts(t: &mut Guest) {
    const USER: u32 = 54_002;
    let others = sleepers_of(t, USER);
    t.fork(|| {
        t.limit(RLIMIT_NPROC, 1);
        sys!(setresuid(-1, USER, -1)).ok();
        sys!(execve(c"missing", 0, 0)).fails(ENOENT);
        sys!(setresuid(-1, 0, -1)).ok();
        sys!(setresuid(USER, 0, 0)).ok();
        sys!(execve(c"missing", 0, 0)).fails(EAGAIN);
        // Root has no limit.
        sys!(setresuid(0, 0, 0)).ok();
        sys!(execve(c"missing", 0, 0)).fails(ENOENT);
    })
    .done();
    t.fork(|| {
        sys!(setresuid(USER, USER, USER)).ok();
        t.limit(RLIMIT_NPROC, 1);
        sys!(execve(c"missing", 0, 0)).fails(ENOENT);
    })
    .done();
    end(others);
}

/// Whoever forks is within its limit, or above limits.
#[case(as_root)]
fn a_fork_that_succeeds_makes_up_for_it_in_the_parent(t: &mut Guest) {
    const USER: u32 = 54_003;
    let others = sleepers_of(t, USER);
    t.fork(|| {
        t.limit(RLIMIT_NPROC, 1);
        sys!(setresuid(USER, 0, 0)).ok();
        sys!(execve(c"missing", 0, 0)).fails(EAGAIN);
        t.fork(|| {
            sys!(execve(c"missing", 0, 0)).fails(EAGAIN);
        })
        .done();
        sys!(execve(c"missing", 0, 0)).fails(ENOENT);
    })
    .done();
    end(others);
}

#[case(as_root)]
fn zombies_and_threads_count_as_processes(t: &mut Guest) {
    const USER: u32 = 54_004;
    t.fork_user(USER, || {
        let zombie = t.fork(|| ());
        sys!(waitid(P_PID, zombie.pid, 0, WEXITED | WNOWAIT, 0)).ok();
        let go = t.pipe();
        let thread = t.thread(move || go.wait());
        t.limit(RLIMIT_NPROC, 3);
        sys!(clone(SIGCHLD, 0, 0, 0, 0)).fails(EAGAIN);
        zombie.done();
        t.fork(|| ()).done();
        t.limit(RLIMIT_NPROC, 2);
        sys!(clone(SIGCHLD, 0, 0, 0, 0)).fails(EAGAIN);
        go.signal();
        thread.join();
        // A thread is gone a little after it has been joined.
        t.until(|| t.names("/proc/self/task").len() == 3);
        t.fork(|| ()).done();
    })
    .done();
}

/// A namespace's processes are its maker's, and it takes the maker's limit with it.
#[case(as_root)]
fn processes_in_a_user_namespace_count_for_its_owner(t: &mut Guest) {
    const USER: u32 = 54_005;
    t.fork_user(USER, || {
        let unlimited = t.rlimit(RLIMIT_NPROC).rlim_max;
        t.limit(RLIMIT_NPROC, 3);
        t.userns(0, || {
            t.limit(RLIMIT_NPROC, unlimited);
            let child = t.fork(|| {
                sys!(clone(SIGCHLD, 0, 0, 0, 0)).fails(EAGAIN);
            });
            child.done();
        })
        .done();
    })
    .done();
}

#[case(as_root, as_user)]
fn proc_limits_lists_them_all(t: &mut Guest) {
    t.limit(RLIMIT_NOFILE, 77);
    let text = t.read("/proc/self/limits").ok();
    expect_eq!(text.lines().count(), 17);
    let line = text.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    expect_eq!((words[3], words[5]), ("77", "files"));
}
