//! Nothing is left behind: address spaces and contexts that come and go, in every order.
//!
//! One test, since it counts the processes of the whole test program.
#![allow(clippy::unwrap_used)]

use crate::backend;
use crate::guest::*;
use platform::{Platform, Trap};
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// Stubs are reaped by a thread of their own; waits until `condition` holds.
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: children {:?}", children());
        std::thread::yield_now();
    }
}

#[test]
fn nothing_is_left_behind() {
    assert_eq!(children(), []);
    let machine = Machine::with_code(SYSCALL_LOOP);
    eventually("the pool is filled", || children().len() == backend::FIRST_CHILDREN);

    many_address_spaces(&machine);
    eventually("after many address spaces", || children().len() <= backend::IDLE_CHILDREN);

    many_threads(&machine);
    eventually("after many threads", || children().len() <= backend::IDLE_CHILDREN);

    many_at_once(&machine);
    eventually("after many at once", || children().len() <= backend::IDLE_CHILDREN);

    every_order_of_leaving(&machine);
    eventually("after every order", || children().len() <= backend::IDLE_CHILDREN);

    killed_from_outside(&machine);
    eventually("after kills", || children().len() <= backend::IDLE_CHILDREN);

    killed_while_a_sibling_is_idle(&machine);
    eventually("after the kill of a half idle process", || children().len() <= backend::IDLE_CHILDREN);

    // Contexts may outlive the platform.
    let (aspace, mut context) = (machine.aspace(), machine.context());
    drop(machine);
    assert_eq!(run(&mut context, &aspace, &mut regs()), Trap::Syscall);
    drop(aspace);
    assert!(!children().is_empty());
    drop(context);
    assert_eq!(children(), []);
}

fn many_address_spaces(machine: &Machine) {
    for n in 0..500 {
        let aspace = machine.aspace();
        if n % 3 != 0 {
            let mut context = machine.context();
            assert_eq!(run(&mut context, &aspace, &mut regs()), Trap::Syscall);
            if n % 3 == 1 {
                drop(aspace);
            }
        }
    }
}

fn many_threads(machine: &Machine) {
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let mut regs = regs();
    assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
    for _ in 0..200 {
        let mut sibling = context.new_sibling(&aspace).unwrap();
        let (aspace, mut regs) = (aspace.clone(), regs);
        std::thread::spawn(move || assert_eq!(run(&mut sibling, &aspace, &mut regs), Trap::Syscall))
            .join()
            .unwrap();
    }
    assert!(most_threads() <= 6, "threads are used again");
    assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
}

fn many_at_once(machine: &Machine) {
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let mut regs = regs();
    assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
    let count = 200;
    let (up, down) = (Barrier::new(count + 1), Barrier::new(count + 1));
    std::thread::scope(|scope| {
        for _ in 0..count {
            let mut sibling = context.new_sibling(&aspace).unwrap();
            let (aspace, mut regs, up, down) = (&aspace, regs, &up, &down);
            scope.spawn(move || {
                assert_eq!(run(&mut sibling, aspace, &mut regs), Trap::Syscall);
                up.wait();
                down.wait();
            });
        }
        up.wait();
        assert_eq!(most_threads(), 1 + backend::HELPER_THREADS + count);
        down.wait();
    });
    assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
    assert!(backend::keeps(most_threads(), count), "{} threads", most_threads());
}

/// Leaves in the order of the bits: the address space, the first context, a sibling that has run, and one that has not.
fn every_order_of_leaving(machine: &Machine) {
    for seed in 0..24 {
        let aspace = machine.aspace();
        let mut first = machine.context();
        assert_eq!(run(&mut first, &aspace, &mut regs()), Trap::Syscall);
        let mut sibling = first.new_sibling(&aspace).unwrap();
        assert_eq!(run(&mut sibling, &aspace, &mut regs()), Trap::Syscall);
        let unused = first.new_sibling(&aspace).unwrap();
        let mut things: Vec<Box<dyn std::any::Any>> =
            vec![Box::new(aspace), Box::new(first), Box::new(sibling), Box::new(unused)];
        let mut order = seed;
        while !things.is_empty() {
            let index = order % things.len();
            order /= things.len();
            drop(things.swap_remove(index));
        }
    }
}

fn killed_from_outside(machine: &Machine) {
    let (aspace, mut context) = (machine.aspace(), machine.context());
    assert_eq!(run(&mut context, &aspace, &mut regs()), Trap::Syscall);
    let mut sibling = context.new_sibling(&aspace).unwrap();
    std::thread::scope(|scope| {
        let aspace = &aspace;
        let handle = scope.spawn(move || while sibling.switch(aspace, &mut regs()).is_ok() {});
        for pid in children() {
            let threads = threads_of(pid);
            if threads > 1 + backend::HELPER_THREADS {
                platform_host::process::kill_process(pid);
            }
        }
        assert!(context.switch(aspace, &mut regs()).is_err());
        handle.join().unwrap();
    });
    assert!(context.switch(&aspace, &mut regs()).is_err());
    assert!(machine.platform.new_address_space().is_ok());
}

/// The leader's end is not reported before its siblings are reaped, and the idle one's host thread does not look.
fn killed_while_a_sibling_is_idle(machine: &Machine) {
    machine.write(0x1000, SPIN);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    assert_eq!(run(&mut context, &aspace, &mut regs()), Trap::Syscall);
    let mut sibling = context.new_sibling(&aspace).unwrap();
    let (up, down) = (Barrier::new(2), Barrier::new(2));
    std::thread::scope(|scope| {
        let (aspace, up, down) = (&aspace, &up, &down);
        scope.spawn(move || {
            assert_eq!(run(&mut sibling, aspace, &mut regs()), Trap::Syscall);
            up.wait();
            down.wait();
            assert!(sibling.switch(aspace, &mut regs()).is_err());
        });
        up.wait();
        scope.spawn(|| {
            let victim =
                children().into_iter().find(|pid| threads_of(*pid) > 1 + backend::HELPER_THREADS).unwrap();
            platform_host::process::kill_process(victim);
        });
        let mut spin = platform::PtRegs { rip: CODE + 0x1000, ..regs() };
        assert!(context.switch(aspace, &mut spin).is_err());
        down.wait();
    });
}
