//! Calls that ring 0 answers: no exit, the right result for the right context, and no way to get stuck in them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod backend;
#[path = "../../suite/guest.rs"]
mod guest;

use guest::*;
use platform::{Answer, Platform, PtRegs, Trap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const GETPID: u32 = 39;
const GETPPID: u32 = 110;
const TRAP_FLAG: u64 = 0x100;

/// Makes the call in rbx as often as r12 says, each time checking all that it leaves: rax is to be r13, rcx the address
/// behind the call, r11 and the flags themselves as r14. Then the call 1000; or `ud2`.
const CALLS: &[u8] = &[
    0x48, 0x89, 0xd8, // start: mov rax, rbx
    0x41, 0x56, // push r14
    0x9d, // popf
    0x0f, 0x05, // syscall
    0x9c, // back: pushf
    0x41, 0x5f, // pop r15
    0x4d, 0x39, 0xf7, // cmp r15, r14
    0x75, 0x29, // jne bad
    0x4d, 0x39, 0xf3, // cmp r11, r14
    0x75, 0x24, // jne bad
    0x4c, 0x39, 0xe8, // cmp rax, r13
    0x75, 0x1f, // jne bad
    0x48, 0x8d, 0x05, 0xe7, 0xff, 0xff, 0xff, // lea rax, [back]
    0x48, 0x39, 0xc1, // cmp rcx, rax
    0x75, 0x13, // jne bad
    0x48, 0x39, 0xfe, // cmp rsi, rdi
    0x75, 0x0e, // jne bad
    0x49, 0xff, 0xcc, // dec r12
    0x75, 0xd0, // jnz start
    0xb8, 0xe8, 0x03, 0x00, 0x00, // mov eax, 1000
    0x0f, 0x05, // syscall
    0x90, 0x90, // nop; nop
    0x0f, 0x0b, // bad: ud2
];

/// Registers for [`CALLS`].
fn calls(number: u64, count: u64, value: u64) -> PtRegs {
    PtRegs { rbx: number, r12: count, r13: value, r14: 0x246, rsi: DATA, rdi: DATA, ..regs() }
}

fn exits(machine: &Machine) -> u64 {
    machine.platform.stats().exits.load(Ordering::Relaxed)
}

fn answered(machine: &Machine) -> u64 {
    machine.platform.stats().answered.load(Ordering::Relaxed)
}

#[test]
#[ignore = "needs a /dev/kvm of use; test/kvm/run brings one along"]
fn an_answered_call_is_no_exit() {
    let machine = Machine::with_code(CALLS);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    context.set_answers(&[Answer { number: GETPID, value: 4711 }, Answer { number: 186, value: 4712 }]);
    let mut own = calls(GETPID.into(), 1000, 4711);
    assert_eq!(run(&mut context, &aspace, &mut own), Trap::Syscall);
    assert_eq!((own.orig_rax, exits(&machine), answered(&machine)), (1000, 1, 1000));
    // Every flag that a program may set but those that trap.
    let mut own = PtRegs { r14: 0x24_4ed7, ..calls(186, 10, 4712) };
    assert_eq!(run(&mut context, &aspace, &mut own), Trap::Syscall);
    assert_eq!((own.orig_rax, exits(&machine)), (1000, 2));
}

#[test]
#[ignore = "needs a /dev/kvm of use; test/kvm/run brings one along"]
fn a_call_without_an_answer_is_an_exit() {
    let machine = Machine::with_code(CALLS);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    context.set_answers(&[Answer { number: GETPID, value: 4711 }, Answer { number: 300, value: 1 }]);
    let mut own = calls(GETPPID.into(), 1000, 1);
    for _ in 0..1000 {
        assert_eq!(run(&mut context, &aspace, &mut own), Trap::Syscall);
        assert_eq!(own.orig_rax, GETPPID.into());
        own.rax = 1;
    }
    assert_eq!(exits(&machine), 1000);
    assert_eq!(run(&mut context, &aspace, &mut own), Trap::Syscall);
    assert_eq!((own.orig_rax, answered(&machine)), (1000, 0));
    // Neighbours in the table, numbers behind it, and those of which only the lower half is one in it.
    for number in [38, 40, 255, 256, 300, 1 << 31, 1 << 32 | 39, u64::MAX, u64::MAX << 32 | 39] {
        let mut own = calls(number, 1, 1);
        assert_eq!(run(&mut context, &aspace, &mut own), Trap::Syscall);
        assert_eq!(own.orig_rax, number);
    }
    assert_eq!(answered(&machine), 0);
}

#[test]
#[ignore = "needs a /dev/kvm of use; test/kvm/run brings one along"]
fn answers_are_those_of_the_context() {
    // Three contexts in turn on one processor, and what is told anew replaces what was.
    let machine = Machine::on(|memory| backend::with_vcpus(memory, 1));
    machine.write(0, CALLS);
    let aspace = machine.aspace();
    let mut contexts = [machine.context(), machine.context(), machine.context()];
    for round in 0..20_u32 {
        for (n, context) in (0..).zip(&mut contexts) {
            let value = 100 * round + n;
            let answers = [Answer { number: GETPID, value }, Answer { number: GETPID + n, value }];
            context.set_answers(answers.get(..usize::try_from(n).unwrap()).unwrap());
        }
        for (n, context) in (0_u32..).zip(&mut contexts) {
            let mut own = calls(GETPID.into(), 3, u64::from(100 * round + n));
            assert_eq!(run(context, &aspace, &mut own), Trap::Syscall);
            assert_eq!(own.orig_rax, if n == 0 { GETPID.into() } else { 1000 }, "{round} {n}");
            let mut next = calls(u64::from(GETPID) + 1, 1, 0);
            assert_eq!(run(context, &aspace, &mut next), Trap::Syscall);
            assert_eq!(next.orig_rax, u64::from(GETPID) + 1, "{round} {n}");
        }
    }
}

#[test]
#[ignore = "needs a /dev/kvm of use; test/kvm/run brings one along"]
fn a_single_step_sees_every_instruction() {
    let machine = Machine::with_code(CALLS);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    context.set_answers(&[Answer { number: GETPID, value: 4711 }]);
    let mut own = PtRegs { eflags: 0x202 | TRAP_FLAG, rax: GETPID.into(), rip: CODE + 6, ..regs() };
    assert_eq!(run(&mut context, &aspace, &mut own), Trap::Syscall, "it leaves");
    assert_eq!((own.orig_rax, own.rip, own.eflags & TRAP_FLAG), (GETPID.into(), CODE + 8, TRAP_FLAG));
    // mov ss, ax; syscall: the step is put off to the first instruction of ring 0.
    machine.write(0x1000, &[0x8e, 0xd0, 0xb8, 0x27, 0, 0, 0, 0x0f, 0x05, 0x8e, 0xd1, 0x0f, 0x05]);
    let mut own = PtRegs {
        eflags: 0x202 | TRAP_FLAG,
        rax: GETPID.into(),
        rcx: PtRegs::USER_SS,
        rip: CODE + 0x1009,
        ..regs()
    };
    assert_eq!(run(&mut context, &aspace, &mut own), Trap::Syscall);
    assert_eq!(own.orig_rax, GETPID.into());
    assert_eq!(answered(&machine), 0);
}

/// mov eax, 39; syscall; inc [rdi]; jmp start
const ENDLESS: &[u8] = &[0xb8, 0x27, 0, 0, 0, 0x0f, 0x05, 0x48, 0xff, 0x07, 0xeb, 0xf4];

#[test]
#[ignore = "needs a /dev/kvm of use; test/kvm/run brings one along"]
fn a_guest_that_only_asks_can_be_stopped() {
    let machine = Machine::with_code(ENDLESS);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    context.set_answers(&[Answer { number: GETPID, value: 4711 }]);
    let interrupter = context.interrupter();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                std::thread::park_timeout(Duration::from_micros(300));
                interrupter.interrupt();
            }
        });
        let mut own = PtRegs { rdi: DATA, ..regs() };
        let mut interrupted = 0;
        while interrupted < backend::REQUESTS {
            match run(&mut context, &aspace, &mut own) {
                Trap::Interrupted => interrupted += 1,
                // One that the request has met half-way.
                Trap::Syscall => {
                    assert_eq!((own.orig_rax, own.rip, own.rcx), (GETPID.into(), CODE + 7, CODE + 7));
                    own.rax = 4711;
                }
                other => panic!("{other:?}"),
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(answered(&machine) > 0);
}

#[test]
#[ignore = "needs a /dev/kvm of use; test/kvm/run brings one along"]
fn guests_that_only_ask_take_turns() {
    let machine = Machine::on(|memory| backend::with_vcpus(memory, 1));
    machine.write(0, ENDLESS);
    std::thread::scope(|scope| {
        let mut interrupters = Vec::new();
        for n in 0..2 {
            let (aspace, mut context) = (machine.aspace(), machine.context());
            context.set_answers(&[Answer { number: GETPID, value: 1 }]);
            interrupters.push(context.interrupter());
            scope.spawn(move || {
                let mut own = PtRegs { rdi: DATA + 8 * n, ..regs() };
                while run(&mut context, &aspace, &mut own) != Trap::Interrupted {}
            });
        }
        // Both get on, though neither ever leaves by itself.
        while machine.read_u64(DATA_OFFSET) < 1000 || machine.read_u64(DATA_OFFSET + 8) < 1000 {
            std::thread::yield_now();
        }
        interrupters.iter().for_each(|interrupter| interrupter.interrupt());
    });
}
