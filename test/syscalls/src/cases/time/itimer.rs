//! `setitimer` and `alarm`.

use crate::prelude::*;
use libc::*;

fn timer(first: i64, interval: i64) -> [itimerval; 1] {
    let time =
        |milliseconds: i64| timeval { tv_sec: milliseconds / 1000, tv_usec: milliseconds % 1000 * 1000 };
    [itimerval { it_interval: time(interval), it_value: time(first) }]
}

#[case(as_root, as_user)]
fn it_signals_again_and_again(t: &mut Guest) {
    t.catch(SIGALRM, 0);
    sys!(setitimer(ITIMER_REAL, &timer(2, 2), 0)).ok();
    while t.caught().len() < 3 {
        let _ = sys!(pause());
    }
    expect_eq!(t.log()[0].code(), SI_KERNEL);
    sys!(setitimer(ITIMER_REAL, &timer(0, 0), 0)).ok();
}

#[case(as_root, as_user)]
fn getitimer_tells_what_remains(_t: &mut Guest) {
    sys!(setitimer(ITIMER_REAL, &timer(100_000, 5000), 0)).ok();
    let [mut now] = timer(0, 0);
    sys!(getitimer(ITIMER_REAL, &raw mut now)).ok();
    check!(now.it_value.tv_sec >= 90 && now.it_value.tv_sec <= 100, "{}", now.it_value.tv_sec);
    expect_eq!(now.it_interval.tv_sec, 5);
    sys!(setitimer(ITIMER_REAL, &timer(0, 0), &raw mut now)).ok();
    expect_eq!(now.it_interval.tv_sec, 5);
}

#[case(as_root, as_user)]
fn arguments_are_checked(_t: &mut Guest) {
    sys!(setitimer(99, &timer(1, 0), 0)).fails(EINVAL);
    sys!(getitimer(99, 0)).fails(EINVAL);
    sys!(getitimer(ITIMER_REAL, 8)).fails(EFAULT);
    let mut wrong = timer(1, 0);
    wrong[0].it_value.tv_usec = 1_000_000;
    sys!(setitimer(ITIMER_REAL, &wrong, 0)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn alarm_counts_seconds_and_shares_the_timer(_t: &mut Guest) {
    sys!(alarm(100)).is(0);
    let [mut now] = timer(0, 0);
    sys!(getitimer(ITIMER_REAL, &raw mut now)).ok();
    check!(now.it_value.tv_sec >= 90);
    let left = sys!(alarm(0)).ok();
    check!((90..=100).contains(&left), "{left}");
    sys!(alarm(0)).is(0);
}

#[case(as_root, as_user)]
fn alarm_kills_by_default(t: &mut Guest) {
    let child = t.fork(|| {
        sys!(setitimer(ITIMER_REAL, &timer(5, 0), 0)).ok();
        loop {
            let _ = sys!(pause());
        }
    });
    child.wait().killed(SIGALRM);
}

#[case(as_root, as_user)]
fn timers_survive_exec(t: &mut Guest) {
    let child = t.fork(|| {
        sys!(setitimer(ITIMER_REAL, &timer(200, 0), 0)).ok();
        let null = t.open("/dev/null", O_WRONLY);
        sys!(dup2(null, 1)).ok();
        t.exec_helper("pause", &[], &[]).ok();
    });
    child.wait().killed(SIGALRM);
}
