//! Clocks of processor time.

use crate::prelude::*;
use libc::*;

#[track_caller]
fn now(clock: i32) -> i64 {
    let mut time: timespec = zeroed();
    sys!(clock_gettime(clock, &raw mut time)).ok();
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn burn(milliseconds: u128) {
    let start = std::time::Instant::now();
    while start.elapsed().as_millis() < milliseconds {
        std::hint::spin_loop();
    }
}

#[case(as_root, as_user)]
fn work_makes_them_advance(_t: &mut Guest) {
    for clock in [CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID] {
        let before = now(clock);
        burn(10);
        check!(now(clock) > before);
    }
}

#[case(as_root, as_user)]
fn sleep_does_not_count(_t: &mut Guest) {
    let before = now(CLOCK_PROCESS_CPUTIME_ID);
    let time = msec(200);
    sys!(nanosleep(&raw const time, 0)).ok();
    check!(now(CLOCK_PROCESS_CPUTIME_ID) - before < 100_000_000);
}

#[case(as_root, as_user)]
fn the_process_clock_counts_all_threads(t: &mut Guest) {
    let (process, thread) = (now(CLOCK_PROCESS_CPUTIME_ID), now(CLOCK_THREAD_CPUTIME_ID));
    t.thread(|| burn(20)).join();
    let process = now(CLOCK_PROCESS_CPUTIME_ID) - process;
    let thread = now(CLOCK_THREAD_CPUTIME_ID) - thread;
    check!(process > thread, "{process} and {thread} ns");
}

/// Linux: the clock of process `pid` has the number `~pid << 3 | 2`.
#[case(as_root, as_user)]
fn another_process_has_a_clock_too(t: &mut Guest) {
    let (ready, go) = (t.pipe(), t.pipe());
    let child = t.fork(|| {
        burn(10);
        ready.signal();
        go.wait();
    });
    ready.wait();
    let clock = !child.pid << 3 | 2;
    check!(now(clock) > 0);
    go.signal();
    child.done();
    sys!(clock_gettime(clock, 0)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn the_virtual_and_profiling_timers_signal(t: &mut Guest) {
    for (which, signal) in [(ITIMER_VIRTUAL, SIGVTALRM), (ITIMER_PROF, SIGPROF)] {
        t.catch(signal, 0);
        let timer = itimerval { it_interval: zeroed(), it_value: timeval { tv_sec: 0, tv_usec: 10_000 } };
        sys!(setitimer(which, &raw const timer, 0)).ok();
        while !t.caught().contains(&signal) {
            std::hint::spin_loop();
        }
    }
}
