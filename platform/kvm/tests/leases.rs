//! More tasks than virtual processors.
#![allow(clippy::unwrap_used, clippy::panic)]

mod backend;
#[path = "../../suite/guest.rs"]
mod guest;

use guest::*;
use platform::{PtRegs, Trap};
use std::sync::atomic::{AtomicBool, Ordering};

/// movq xmm7, rdi; 1: dec rcx; jnz 1b; movq rax, xmm7; syscall
const KEEP: &[u8] =
    &[0x66, 0x48, 0x0f, 0x6e, 0xff, 0x48, 0xff, 0xc9, 0x75, 0xfb, 0x66, 0x48, 0x0f, 0x7e, 0xf8, 0x0f, 0x05];

#[test]
#[ignore = "needs a /dev/kvm of use; test/kvm/run brings one along"]
fn every_task_gets_its_turn_and_keeps_its_registers() {
    for vcpus in [1, 2, 3] {
        let machine = Machine::on(|memory| backend::with_vcpus(memory, vcpus));
        machine.write(0, KEEP);
        let shared = machine.aspace();
        std::thread::scope(|scope| {
            for task in 0..6_u64 {
                let mut context = machine.context();
                let own = machine.aspace();
                let shared = &shared;
                scope.spawn(move || {
                    // Some share an address space, some have their own.
                    let aspace = if task % 2 == 0 { shared } else { &own };
                    let mut first = regs();
                    for round in 0..12 {
                        let value = task << 32 | round;
                        let length = 1 + (round * 7919 + task * 104_729) % 3_000_000;
                        let mut regs = PtRegs { rdi: value, rcx: length, fs_base: 0x1000 * task, ..first };
                        regs.rip = CODE;
                        assert_eq!(run(&mut context, aspace, &mut regs), Trap::Syscall);
                        assert_eq!((regs.orig_rax, regs.fs_base), (value, 0x1000 * task));
                        first = regs;
                    }
                });
            }
        });
    }
}

#[test]
#[ignore = "needs a /dev/kvm of use; test/kvm/run brings one along"]
fn a_guest_that_never_traps_does_not_keep_others_waiting() {
    let machine = Machine::on(|memory| backend::with_vcpus(memory, 1));
    machine.write(0, SYSCALL_LOOP);
    machine.write(0x1000, SPIN);
    let aspace = machine.aspace();
    let mut spinner = machine.context();
    let interrupter = spinner.interrupter();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (shared, done) = (&aspace, &done);
        scope.spawn(move || {
            let mut spin = PtRegs { rip: CODE + 0x1000, ..regs() };
            while !done.load(Ordering::SeqCst) {
                assert_eq!(run(&mut spinner, shared, &mut spin), Trap::Interrupted);
                assert_eq!(spin.rip, CODE + 0x1000);
            }
        });
        let mut context = machine.context();
        let mut own = regs();
        for _ in 0..20 {
            assert_eq!(run(&mut context, &aspace, &mut own), Trap::Syscall);
        }
        done.store(true, Ordering::SeqCst);
        interrupter.interrupt();
    });
}
