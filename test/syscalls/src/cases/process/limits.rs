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

#[case(as_root, as_user)]
fn proc_limits_lists_them_all(t: &mut Guest) {
    t.limit(RLIMIT_NOFILE, 77);
    let text = t.read("/proc/self/limits").ok();
    expect_eq!(text.lines().count(), 17);
    let line = text.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    expect_eq!((words[3], words[5]), ("77", "files"));
}
