//! Requests to leave guest code.
#![allow(clippy::unwrap_used, clippy::panic)]

use crate::backend;
use crate::guest::*;
use platform::Trap;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
#[cfg_attr(needs_kvm, ignore = "needs a /dev/kvm of use; test/kvm/run brings one along")]
fn a_request_made_outside_guest_code_is_kept() {
    let machine = Machine::with_code(SYSCALL_LOOP);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let interrupter = context.interrupter();
    let mut regs = regs();
    interrupter.interrupt();
    interrupter.interrupt();
    assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Interrupted);
    assert_eq!(regs.rip, CODE, "nothing has run");
    for _ in 0..100 {
        assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
        interrupter.interrupt();
        assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Interrupted);
    }
    assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
}

#[test]
#[cfg_attr(needs_kvm, ignore = "needs a /dev/kvm of use; test/kvm/run brings one along")]
fn every_request_ends_a_spinning_guest() {
    let machine = Machine::with_code(SPIN);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let interrupter = context.interrupter();
    let (seen, next) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for round in 0..backend::REQUESTS {
                // The next request comes at any point of the way into guest code.
                for _ in 0..(round * 37) % 5000 {
                    backend::pause();
                }
                interrupter.interrupt();
                next.recv().unwrap();
            }
        });
        let mut regs = regs();
        for _ in 0..backend::REQUESTS {
            assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Interrupted);
            assert_eq!(regs.rip, CODE);
            seen.send(()).unwrap();
        }
    });
}

#[test]
#[cfg_attr(needs_kvm, ignore = "needs a /dev/kvm of use; test/kvm/run brings one along")]
fn late_signals_do_not_show() {
    let machine = Machine::with_code(SYSCALL_LOOP);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let interrupter = context.interrupter();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                interrupter.interrupt();
                std::thread::yield_now();
            }
        });
        let mut regs = regs();
        for n in (0..20_000).filter(|n| Some(*n) != backend::UNSEEN_CALL) {
            regs.rax = n;
            match run(&mut context, &aspace, &mut regs) {
                Trap::Syscall => assert_eq!((regs.rip, regs.orig_rax), (CODE + 2, n)),
                Trap::Interrupted => assert!([CODE, CODE + 2].contains(&regs.rip)),
                other => panic!("{other:?}"),
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let mut regs = regs();
    let first = run(&mut context, &aspace, &mut regs);
    assert!(matches!(first, Trap::Syscall | Trap::Interrupted));
    for _ in 0..100 {
        assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
    }
}
