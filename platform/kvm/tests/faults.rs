//! Guests that fault in every way they can think of: they get a signal, and nobody else notices.
#![allow(clippy::unwrap_used, clippy::panic)]

mod backend;
#[path = "../../suite/guest.rs"]
mod guest;
#[path = "backend/victim.rs"]
mod victim;

use guest::*;
use platform::{Interrupter, Prot, PtRegs, Trap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use victim::*;

/// A small generator of reproducible choices.
struct Choices(u64);

impl Choices {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Interrupts a context again and again, so that no attack makes it hang.
fn watched<T>(interrupter: &Arc<dyn Interrupter>, work: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                std::thread::park_timeout(Duration::from_millis(2));
                interrupter.interrupt();
            }
        });
        let result = work();
        stop.store(true, Ordering::Relaxed);
        result
    })
}

#[test]
#[ignore = "needs a /dev/kvm of use; test/kvm/run brings one along"]
fn faults_with_any_stack_and_flags_are_signals() {
    let mut victim = Victim::new();
    let stacks = [0, 1, 8, 0x7fff_ffff_f000, 1 << 47, 1 << 63, 0xffff_ff80_0001_0800, u64::MAX, u64::MAX - 7];
    let attacks: &[&[u8]] = &[
        &[0xcc],                         // int3
        &[0xcd, 0x80],                   // int 0x80
        &[0x0f, 0x0b],                   // ud2
        &[0x0f, 0x05],                   // syscall
        &[0x50],                         // push rax
        &[0x9c],                         // pushf
        &[0x48, 0xcf],                   // iretq
        &[0x48, 0xcb],                   // retfq
        &[0xc8, 0xff, 0xff, 0x1f],       // enter 0xffff, 31
        &[0x8e, 0xd0, 0xcc],             // mov ss, ax; int3
        &[0x8e, 0xd0, 0x0f, 0x05],       // mov ss, ax; syscall
        &[0x8e, 0xd0, 0xcd, 0x80],       // mov ss, ax; int 0x80
        &[0x8e, 0xd0, 0xf1],             // mov ss, ax; int1
        &[0x48, 0x8b, 0x04, 0x24],       // mov rax, [rsp]
        &[0xf7, 0xf1],                   // div ecx
        &[0xdb, 0xe3, 0xd9, 0xe8, 0x9b], // fninit; fld1; fwait
    ];
    for code in attacks {
        for rsp in stacks {
            // None, TF, AC, NT, all that a program may set.
            for flags in [0, 0x100, 0x4_0000, 0x4000, 0x25_4dd5] {
                let (trap, regs) = victim.attack(code, |regs| {
                    (regs.rsp, regs.rax) = (rsp, PtRegs::USER_SS);
                    regs.eflags |= flags;
                });
                let trap = trap.unwrap_or_else(|error| panic!("{code:x?} {rsp:#x} {flags:#x}: {error}"));
                assert!(!matches!(trap, Trap::Interrupted));
                assert_eq!((regs.cs, regs.ss), (PtRegs::USER_CS, PtRegs::USER_SS));
            }
        }
        assert!(victim.is_whole(), "{code:x?}");
    }
}

/// Faults at the same time, faults in the frames and operands of others, and every one of them again from where it left.
#[test]
#[ignore = "needs a /dev/kvm of use; test/kvm/run brings one along"]
fn faults_upon_faults_are_signals() {
    const NOWHERE: u64 = 0x5000_0000;
    let mut victim = Victim::new();
    let edge = 0x1000_0000_u64;
    let all = Prot::READ | Prot::WRITE | Prot::EXEC;
    victim.aspace.apply(vec![map(edge, PAGE, all, 0x20_0000)]).unwrap();
    // The code ends with its page, so that an instruction may go on where nothing is mapped.
    let attacks: &[&[u8]] = &[
        &[0x48],                                                             // half an instruction
        &[0x48, 0x8b, 0x04, 0x25],                                           // mov rax, [... behind the end]
        &[0xff, 0x37],                                                       // push [rdi]
        &[0xff, 0x17],                                                       // call [rdi]
        &[0xff, 0x27],                                                       // jmp [rdi]
        &[0xf3, 0xa4],                                                       // rep movsb
        &[0xf3, 0x48, 0xab],                                                 // rep stosq
        &[0x48, 0xf7, 0x37],                                                 // div [rdi]
        &[0xc8, 0xff, 0xff, 0x1f],                                           // enter
        &[0xc9],                                                             // leave
        &[0x48, 0xcf],                                                       // iretq
        &[0x9d],                                                             // popf
        &[0x0f, 0xae, 0x0f],                                                 // fxrstor [rdi]
        &[0x0f, 0xae, 0x2f],                                                 // xrstor [rdi]
        &[0x48, 0x0f, 0xc7, 0x0f],                                           // cmpxchg16b [rdi]
        &[0xf0, 0x48, 0x0f, 0xc1, 0x07],                                     // lock xadd [rdi], rax
        &[0xdb, 0xe3, 0xd9, 0x2f, 0xd9, 0xe8, 0xd9, 0xee, 0xde, 0xf9, 0x9b], // fninit; fldcw [rdi]; 1 / 0; fwait
        &[0x8e, 0xd0, 0xff, 0x37],                                           // mov ss, ax; push [rdi]
        &[0x8e, 0xd0, 0xcc],                                                 // mov ss, ax; int3
        &[0xcd, 0x0e],                                                       // int 14, which is no page fault
        &[0x0f, 0x05], // syscall, and nothing to return to
    ];
    let places =
        [NOWHERE, edge + PAGE - 1, edge + PAGE - 4, DATA + 1, 1 << 47, 0xffff_ff80_0001_0000, u64::MAX];
    for code in attacks {
        let start = PAGE - u64::try_from(code.len()).unwrap();
        victim.machine.write(0x20_0000 + start, code);
        for place in places {
            for flags in [0, TRAP_FLAG, 0x4_0000, TRAP_FLAG | 0x4_4000] {
                let mut own = PtRegs { rip: edge + start, rdi: place, rsi: place, rsp: place, ..regs() };
                (own.rbp, own.rcx, own.rax, own.eflags) = (place, 3, PtRegs::USER_SS, own.eflags | flags);
                for _ in 0..3 {
                    let trap = victim.context.switch(&victim.aspace, &mut own);
                    let trap =
                        trap.unwrap_or_else(|error| panic!("{code:x?} {place:#x} {flags:#x}: {error}"));
                    assert_ne!(trap, Trap::Interrupted);
                    assert_eq!((own.cs, own.ss), (PtRegs::USER_CS, PtRegs::USER_SS));
                }
            }
        }
        victim.machine.write(DATA_OFFSET + PAGE, &4711_u64.to_ne_bytes());
        assert!(victim.is_whole(), "{code:x?}");
    }
}

/// Code made of noise, in a page it may write to itself.
#[test]
#[ignore = "needs a /dev/kvm of use; test/kvm/run brings one along"]
fn noise_harms_nobody() {
    let mut victim = Victim::new();
    let place = 0x1000_0000_u64;
    let offset = 0x20_0000;
    let all = Prot::READ | Prot::WRITE | Prot::EXEC;
    victim.aspace.apply(vec![map(place, PAGE, all, offset)]).unwrap();
    let mut choices = Choices(0x1234_5678_9abc_def1);
    let interrupter = victim.context.interrupter();
    watched(&interrupter, || {
        for round in 0..1500 {
            let noise: Vec<u8> = (0..64).flat_map(|_| choices.next().to_ne_bytes()).collect();
            victim.machine.write(offset, &noise);
            let word = |choices: &mut Choices| match choices.next() % 4 {
                0 => DATA + choices.next() % (4 * PAGE),
                1 => place + choices.next() % PAGE,
                2 => 0xffff_ff80_0000_0000 + choices.next() % (32 * PAGE),
                _ => choices.next(),
            };
            let mut wild = PtRegs {
                rax: word(&mut choices),
                rbx: word(&mut choices),
                rcx: word(&mut choices),
                rdx: word(&mut choices),
                rsi: word(&mut choices),
                rdi: word(&mut choices),
                rbp: word(&mut choices),
                r11: word(&mut choices),
                rsp: word(&mut choices),
                eflags: choices.next(),
                rip: place + choices.next() % 64,
                ..regs()
            };
            for _ in 0..3 {
                let trap = victim.context.switch(&victim.aspace, &mut wild);
                assert!(trap.is_ok(), "round {round}: {trap:?}");
            }
            victim.machine.write(DATA_OFFSET + PAGE, &4711_u64.to_ne_bytes());
        }
    });
    // What the last of them left.
    assert!(victim.is_whole());
}
