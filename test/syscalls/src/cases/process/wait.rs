//! `wait4` and `waitid`.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn without_children_it_is_echild(_t: &mut Guest) {
    sys!(wait4(-1, 0, 0, 0)).fails(ECHILD);
    sys!(wait4(1, 0, 0, 0)).fails(ECHILD);
    sys!(waitid(P_ALL, 0, 0, WEXITED, 0)).fails(ECHILD);
}

#[case(as_root, as_user)]
fn a_child_is_waited_for_once(t: &mut Guest) {
    let child = t.fork_exit(|| 3);
    child.wait().exited(3);
    sys!(wait4(child.pid, 0, 0, 0)).fails(ECHILD);
    sys!(kill(child.pid, 0)).fails(ESRCH);
}

#[case(as_root, as_user)]
fn nohang_gives_zero_while_nothing_has_happened(t: &mut Guest) {
    let child = t.sleeper();
    sys!(wait4(child.pid, 0, WNOHANG, 0)).is(0);
    child.kill(SIGKILL);
    child.wait().killed(SIGKILL);
}

#[case(as_root, as_user)]
fn a_zombie_keeps_its_id_until_it_is_reaped(t: &mut Guest) {
    let child = t.fork_exit(|| 0);
    t.until_state(child.pid, "Z");
    child.kill(SIGTERM);
    child.done();
}

#[case(as_root, as_user)]
fn stop_and_continue_are_reported_when_asked_for(t: &mut Guest) {
    let child = t.sleeper();
    child.kill(SIGSTOP);
    child.wait_for(WUNTRACED).stopped(SIGSTOP);
    sys!(wait4(child.pid, 0, WUNTRACED | WNOHANG, 0)).is(0);
    child.kill(SIGCONT);
    child.wait_for(WCONTINUED).continued();
    child.kill(SIGTERM);
    child.wait().killed(SIGTERM);
}

#[case(as_root, as_user)]
fn waitid_fills_siginfo(t: &mut Guest) {
    let child = t.fork_exit(|| 42);
    let mut info: siginfo_t = zeroed();
    sys!(waitid(P_PID, child.pid, &raw mut info, WEXITED | WNOWAIT, 0)).is(0);
    sys!(waitid(P_PID, child.pid, &raw mut info, WEXITED, 0)).is(0);
    let info = SigInfo(info);
    expect_eq!((info.signo(), info.code(), info.status()), (SIGCHLD, CLD_EXITED, 42));
    expect_eq!(info.pid(), child.pid);
    expect_eq!(info.uid(), t.uid());
    sys!(waitid(P_PID, child.pid, 0, WEXITED, 0)).fails(ECHILD);
}

#[case(as_root, as_user)]
fn waitid_nohang_clears_siginfo(t: &mut Guest) {
    let child = t.sleeper();
    let mut info: siginfo_t = zeroed();
    info.si_signo = 99;
    sys!(waitid(P_PID, child.pid, &raw mut info, WEXITED | WNOHANG, 0)).is(0);
    expect_eq!((info.si_signo, SigInfo(info).pid()), (0, 0));
    child.kill(SIGKILL);
    sys!(waitid(P_ALL, 0, &raw mut info, WEXITED, 0)).is(0);
    expect_eq!((info.si_code, SigInfo(info).status()), (CLD_KILLED, SIGKILL));
}

#[case(as_root, as_user)]
fn waitid_options_are_checked(_t: &mut Guest) {
    sys!(waitid(P_ALL, 0, 0, 0, 0)).fails(EINVAL);
    sys!(waitid(P_ALL, 0, 0, WEXITED | 0x10, 0)).fails(EINVAL);
    sys!(waitid(99, 0, 0, WEXITED, 0)).fails(EINVAL);
    sys!(waitid(P_PID, 0, 0, WEXITED, 0)).fails(EINVAL);
    sys!(wait4(-1, 0, 0x10, 0)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn a_group_is_waited_for_by_minus_its_id(t: &mut Guest) {
    let other = t.fork_exit(|| 1);
    let ready = t.pipe();
    let child = t.fork_exit(|| {
        sys!(setpgid(0, 0)).ok();
        ready.signal();
        2
    });
    ready.wait();
    let mut status = 0_i32;
    sys!(wait4(-child.pid, &raw mut status, 0, 0)).is(child.pid);
    Status(status).exited(2);
    sys!(wait4(0, &raw mut status, 0, 0)).is(other.pid);
    Status(status).exited(1);
}

#[case(as_root, as_user)]
fn rusage_of_the_child_is_returned_and_added_up(t: &mut Guest) {
    let child = t.fork(|| {
        let start = std::time::Instant::now();
        while start.elapsed().as_millis() < 20 {
            std::hint::spin_loop();
        }
    });
    let mut usage: rusage = zeroed();
    sys!(wait4(child.pid, 0, 0, &raw mut usage)).is(child.pid);
    let time = |usage: &rusage| {
        (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1_000_000
            + usage.ru_utime.tv_usec
            + usage.ru_stime.tv_usec
    };
    check!(time(&usage) > 0, "{} µs", time(&usage));
    check!(time(&t.rusage(RUSAGE_CHILDREN)) > 0);
}

#[case(as_root, as_user)]
fn waitid_tells_stops_and_continuations(t: &mut Guest) {
    let child = t.sleeper();
    let mut info: siginfo_t = zeroed();
    child.kill(SIGSTOP);
    sys!(waitid(P_PID, child.pid, &raw mut info, WSTOPPED | WNOWAIT, 0)).is(0);
    sys!(waitid(P_PID, child.pid, &raw mut info, WSTOPPED, 0)).is(0);
    let seen = SigInfo(info);
    expect_eq!((seen.code(), seen.status(), seen.pid()), (CLD_STOPPED, SIGSTOP, child.pid));
    info.si_signo = 0;
    sys!(waitid(P_PID, child.pid, &raw mut info, WSTOPPED | WNOHANG, 0)).is(0);
    expect_eq!(info.si_signo, 0);
    child.kill(SIGCONT);
    sys!(waitid(P_PID, child.pid, &raw mut info, WCONTINUED, 0)).is(0);
    expect_eq!((info.si_code, SigInfo(info).status()), (CLD_CONTINUED, SIGCONT));
    child.kill(SIGKILL);
    sys!(waitid(P_PGID, 0, &raw mut info, WEXITED, 0)).is(0);
    expect_eq!((info.si_code, SigInfo(info).status()), (CLD_KILLED, SIGKILL));
}

#[case(as_root, as_user)]
fn many_children_are_each_waited_for_once(t: &mut Guest) {
    let children: Vec<Child> = (0..60).map(|code| t.fork_exit(move || code)).collect();
    let mut seen: Vec<i32> = Vec::new();
    for _ in &children {
        let mut status = 0_i32;
        let pid = sys!(wait4(-1, &raw mut status, 0, 0)).fd();
        let index = children.iter().position(|child| child.pid == pid).unwrap();
        Status(status).exited(index as i32);
        seen.push(pid);
    }
    seen.sort_unstable();
    seen.dedup();
    expect_eq!(seen.len(), 60);
    sys!(wait4(-1, 0, 0, 0)).fails(ECHILD);
}

#[case(as_root, as_user)]
fn a_waiting_parent_wakes_for_whichever_child_ends(t: &mut Guest) {
    let go = t.pipe();
    let (slow, quick) = (
        t.sleeper(),
        t.fork_exit(|| {
            go.wait();
            5
        }),
    );
    go.signal();
    let mut status = 0_i32;
    sys!(wait4(-1, &raw mut status, 0, 0)).is(quick.pid);
    Status(status).exited(5);
    slow.kill(SIGKILL);
    slow.wait().killed(SIGKILL);
}
