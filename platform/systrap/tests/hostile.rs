//! Guests that attack the stub they run in: they may break themselves, and nothing else.
#![allow(clippy::unwrap_used)]

mod backend;
#[path = "../../suite/guest.rs"]
mod guest;

use guest::*;
use platform::{AddressSpace, Context, Interrupter, PtRegs, Trap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const STUB: u64 = 0x7fff_0000_0000;
const SLOT: u64 = STUB + 0x10_0000;
const SLOT_SIZE: u64 = 0x2_0000;

/// Interrupts a context again and again, so that no attack makes it hang.
fn watched<T>(interrupters: &[Arc<dyn Interrupter>], work: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                std::thread::park_timeout(Duration::from_micros(200));
                interrupters.iter().for_each(|interrupter| interrupter.interrupt());
            }
        });
        let result = work();
        stop.store(true, Ordering::Relaxed);
        result
    })
}

/// Whether the address space still holds what it should: code, and a page of data behind that of the attack.
fn is_whole(context: &mut Box<dyn Context + Send>, aspace: &Arc<dyn AddressSpace>) -> bool {
    let mut regs = PtRegs { rdi: DATA + PAGE, ..regs() };
    loop {
        match context.switch(aspace, &mut regs) {
            Ok(Trap::Interrupted) => {}
            other => return matches!(other, Ok(Trap::Syscall)) && regs.orig_rax == 4711,
        }
    }
}

/// A guest as in [`is_whole`]: mov rax, [rdi]; syscall.
fn machine() -> Machine {
    let machine = Machine::with_code(&[0x48, 0x8b, 0x07, 0x0f, 0x05]);
    machine.write(DATA_OFFSET + PAGE, &4711_u64.to_ne_bytes());
    machine
}

/// Jumps to every byte of the stub's pages with registers that would make a call unmap the page of data, end the
/// process, make a thread, or read a list of calls, a frame or a slot that the guest has written.
#[test]
fn stub_code_calls_nothing_for_a_guest() {
    let machine = machine();
    // A list of calls for the mapper's loop, and what else may be read there.
    let call = [u64::try_from(libc::SYS_munmap).unwrap(), DATA + PAGE, PAGE, 0, 0, 0, 0, 0];
    let list: Vec<u8> = call.iter().cycle().take(64).flat_map(|word| word.to_ne_bytes()).collect();
    let (mut aspace, mut context) = (machine.aspace(), machine.context());
    let mut ends = 0;
    let numbers = [libc::SYS_munmap, libc::SYS_exit_group, libc::SYS_clone];
    let stacks = [DATA + 2048, SLOT + SLOT_SIZE / 2, SLOT + SLOT_SIZE - 4096];
    for nr in numbers {
        for stack in stacks {
            machine.write(DATA_OFFSET, &list);
            let interrupter = context.interrupter();
            watched(&[interrupter], || {
                for offset in 0..PAGE {
                    let rax = u64::try_from(nr).unwrap();
                    let mut wild = PtRegs {
                        rip: STUB + offset,
                        rax,
                        rbx: DATA,
                        rbp: SLOT,
                        rdx: DATA + 512,
                        r12: DATA,
                        r13: 8,
                        r14: 2,
                        rsp: stack,
                        ..regs()
                    };
                    (wild.rdi, wild.rsi) = if nr == libc::SYS_munmap { (DATA + PAGE, PAGE) } else { (0, 0) };
                    for _ in 0..4 {
                        match context.switch(&aspace, &mut wild) {
                            Ok(Trap::Syscall) => {}
                            Ok(_) => break,
                            Err(_) => {
                                // It has broken its own stub.
                                ends += 1;
                                aspace = machine.aspace();
                                break;
                            }
                        }
                    }
                }
            });
            // The words at the addresses above may have been written to; nothing may have been unmapped.
            machine.write(DATA_OFFSET + PAGE, &4711_u64.to_ne_bytes());
            if !is_whole(&mut context, &aspace) {
                // The slot is beyond repair, as guests may have it.
                aspace = machine.aspace();
                assert!(is_whole(&mut context, &aspace));
                ends += 1;
            }
        }
    }
    assert!(ends < 20 * numbers.len(), "{ends}");
}

/// One thread writes at random to all slots of its address space while another traps.
#[test]
fn a_slot_full_of_noise_harms_nobody_else() {
    let machine = machine();
    // imul rsi, rsi, 0x5851f42d; add rsi, 11; mov rax, rsi; shr rax, 20; and eax, 0x3fff8; mov [rdi + rax], rsi; loop
    let noise = [
        0x48, 0x69, 0xf6, 0x2d, 0xf4, 0x51, 0x58, 0x48, 0x83, 0xc6, 0x0b, 0x48, 0x89, 0xf0, 0x48, 0xc1, 0xe8,
        0x14, 0x25, 0xf8, 0xff, 0x03, 0x00, 0x48, 0x89, 0x34, 0x07, 0xeb, 0xe3,
    ];
    machine.write(0x1000, &noise);
    // The same, over the words of the hand-off alone: shr rax, 40; and eax, 0x3f8.
    let words: Vec<u8> = [&noise[..17], &[0x28, 0x25, 0xf8, 0x03, 0, 0], &noise[23..]].concat();
    machine.write(0x2000, &words);
    let (bystanders, mut bystander) = (machine.aspace(), machine.context());
    for round in 0..4_u64 {
        let (aspace, mut victim) = (machine.aspace(), machine.context());
        assert!(is_whole(&mut victim, &aspace));
        let mut attacker = victim.new_sibling(&aspace).unwrap();
        let watchers = [victim.interrupter(), attacker.interrupter()];
        watched(&watchers, || {
            std::thread::scope(|scope| {
                let aspace = &aspace;
                scope.spawn(move || {
                    let (rip, rdi) = match round % 2 {
                        0 => (CODE + 0x1000, SLOT),
                        _ => (CODE + 0x2000, SLOT + 0x1_0c00),
                    };
                    let mut own = PtRegs { rip, rdi, rsi: round + 1, ..regs() };
                    for _ in 0..20 {
                        if !matches!(attacker.switch(aspace, &mut own), Ok(Trap::Interrupted)) {
                            own = PtRegs { rip, rdi, rsi: own.rsi + 1, ..regs() };
                        }
                    }
                });
                for _ in 0..200 {
                    let mut own = PtRegs { rdi: DATA, ..regs() };
                    // Whatever comes of it.
                    if victim.switch(aspace, &mut own).is_err() {
                        break;
                    }
                    let _ = victim.fp_state();
                }
            });
        });
        assert!(is_whole(&mut bystander, &bystanders));
    }
}
