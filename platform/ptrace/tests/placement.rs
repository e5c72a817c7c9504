//! Host threads and their stub threads are bound together, spread, and let float. One test, since it looks at all
//! children of the test program.
#![allow(clippy::unwrap_used)]

mod backend;
#[path = "../../suite/guest.rs"]
mod guest;

use guest::*;
use platform::Trap;
use platform_host::{affinity, process};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

fn cpus_of(tid: i32) -> Vec<u16> {
    affinity::get(tid).map(|set| set.members()).unwrap_or_default()
}

/// The child one of whose threads is traced by host thread `tracer`.
fn traced_by(tracer: i32) -> Option<i32> {
    children().into_iter().find(|pid| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line.split_whitespace().eq(["TracerPid:", tracer.to_string().as_str()]))
    })
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn pairs_are_bound_spread_and_let_float() {
    let all = cpus_of(0);
    if all.len() < 2 {
        return;
    }
    let machine = Machine::with_code(SYSCALL_LOOP);
    machine.write(0x1000, SPIN);
    let stop = AtomicBool::new(false);
    let hosts = [AtomicI32::new(0), AtomicI32::new(0)];
    std::thread::scope(|scope| {
        for host in &hosts {
            let (machine, stop, all) = (&machine, &stop, &all);
            scope.spawn(move || {
                affinity::set(0, &affinity::CpuSet::single(all[0])).unwrap();
                let (aspace, mut context) = (machine.aspace(), machine.context());
                let mut regs = regs();
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
                    host.store(process::gettid(), Ordering::Relaxed);
                }
            });
        }
        eventually("two busy pairs are on two processors", || {
            let bound = hosts.each_ref().map(|host| cpus_of(host.load(Ordering::Relaxed)));
            bound.iter().all(|cpus| cpus.len() == 1) && bound[0] != bound[1]
        });
        for host in hosts.each_ref().map(|host| host.load(Ordering::Relaxed)) {
            eventually("a stub is where its tracer is", || {
                traced_by(host).is_some_and(|stub| cpus_of(stub) == cpus_of(host))
            });
        }
        stop.store(true, Ordering::Relaxed);
    });

    std::thread::scope(|scope| {
        let (aspace, mut context) = (machine.aspace(), machine.context());
        let interrupter = context.interrupter();
        let host = &hosts[0];
        let runner = scope.spawn(move || {
            host.store(process::gettid(), Ordering::Relaxed);
            let mut regs = platform::PtRegs { rip: CODE + 0x1000, ..regs() };
            assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Interrupted);
            regs.rip = CODE;
            assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
            let own = process::gettid();
            assert_eq!(cpus_of(traced_by(own).unwrap()), cpus_of(own));
        });
        eventually("a program that only computes floats", || {
            let stub = traced_by(host.load(Ordering::Relaxed));
            stub.is_some_and(|stub| cpus_of(stub) == all)
        });
        interrupter.interrupt();
        runner.join().unwrap();
    });
}
