//! Calls through the gate.
#![allow(clippy::unwrap_used, clippy::panic)]

mod backend;
#[path = "../../suite/guest.rs"]
mod guest;

use guest::*;
use platform::{Platform, Trap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// `jmp qword ptr gs:[disp]`.
fn jump_by_gs(disp: u32) -> Vec<u8> {
    [&[0x65, 0xff, 0x24, 0x25][..], &disp.to_le_bytes()].concat()
}

/// `lea rcx, [rip + disp]`.
fn lea_rcx(disp: i32) -> Vec<u8> {
    [&[0x48, 0x8d, 0x0d][..], &disp.to_le_bytes()].concat()
}

/// `lea r11, [rip + disp]`.
fn lea_r11(disp: i32) -> Vec<u8> {
    [&[0x4c, 0x8d, 0x1d][..], &disp.to_le_bytes()].concat()
}

/// Behind the call of [`counting`].
const BEHIND: u64 = CODE + 15;

/// `call through the gate; inc rdi; movq xmm0, rdi; jmp to the start`.
fn counting(machine: &Machine) -> Vec<u8> {
    let gate = machine.platform.call_gate().unwrap();
    let mut code = [lea_rcx(8), jump_by_gs(gate.returning)].concat();
    code.extend([0x48, 0xff, 0xc7, 0x66, 0x48, 0x0f, 0x6e, 0xc7, 0xeb, 0xe7]);
    code
}

fn xmm0(context: &mut Box<dyn platform::Context + Send>) -> u64 {
    let state = context.fp_state().unwrap();
    u64::from_ne_bytes(state.as_bytes()[160..168].try_into().unwrap())
}

#[test]
fn a_call_through_the_gate_is_a_system_call() {
    let machine = Machine::new();
    machine.write(0, &counting(&machine));
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let mut regs = regs();
    (regs.rax, regs.rdi, regs.r15, regs.rbp) = (39, 7, 15, 16);
    assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
    assert!(context.used_gate());
    assert_eq!((regs.orig_rax, regs.rax), (39, (-38_i64).cast_unsigned()));
    assert_eq!((regs.rip, regs.rcx, regs.r11), (BEHIND, BEHIND, regs.eflags));
    assert_eq!((regs.rdi, regs.r15, regs.rbp, regs.gs_base), (7, 15, 16, 0));
    assert_eq!(regs.rsp, DATA + 4 * PAGE);
    for round in 1..100 {
        regs.rax = 1000 + round;
        assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
        assert_eq!((regs.orig_rax, regs.rdi, regs.r15, regs.rbp), (1000 + round, 7 + round, 15, 16));
        // Every other time the state is asked for, and so no longer in the processor alone.
        if round % 2 == 0 {
            assert_eq!(xmm0(&mut context), 7 + round);
        }
    }
}

#[test]
fn registers_can_be_changed_before_the_call_returns() {
    let machine = Machine::new();
    machine.write(0, &counting(&machine));
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let mut regs = regs();
    assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
    (regs.rdi, regs.r12, regs.fs_base) = (99, 5, DATA);
    assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
    assert_eq!((regs.rdi, regs.r12, regs.fs_base), (100, 5, DATA));
    // To somewhere else: past the increment.
    regs.rip = BEHIND + 3;
    assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
    assert_eq!(regs.rdi, 100);
    assert_eq!(xmm0(&mut context), 100);
}

#[test]
fn guest_code_can_go_on_elsewhere() {
    let machine = Machine::new();
    let gate = machine.platform.call_gate().unwrap();
    // At 64 there is `mov eax, 5; syscall`.
    let mut code = [lea_rcx(100), lea_r11(64 - 14), jump_by_gs(gate.elsewhere)].concat();
    code.resize(64, 0xcc);
    code.extend([0xb8, 5, 0, 0, 0, 0x0f, 0x05]);
    machine.write(0, &code);
    for changed in [false, true] {
        let (aspace, mut context) = (machine.aspace(), machine.context());
        let mut regs = regs();
        assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
        assert_eq!(regs.rip, CODE + 107);
        // Whether it is the quick return or the other one.
        regs.rbx = u64::from(changed);
        assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
        assert!(!context.used_gate());
        assert_eq!((regs.orig_rax, regs.rip, regs.rbx), (5, CODE + 71, u64::from(changed)));
    }
}

/// Kicks come between any two instructions of the gate and of the return; none loses a register or a call.
#[test]
fn kicks_lose_nothing() {
    let machine = Machine::new();
    machine.write(0, &counting(&machine));
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let interrupter = context.interrupter();
    let stop = Arc::new(AtomicBool::new(false));
    let kicker = std::thread::spawn({
        let stop = stop.clone();
        move || {
            while !stop.load(Ordering::Relaxed) {
                interrupter.interrupt();
                (0..200).for_each(|_| std::hint::spin_loop());
            }
        }
    });
    let mut regs = regs();
    regs.rsp = DATA + 8;
    let (mut calls, mut interruptions) = (0, 0);
    while calls < 50_000 {
        match run(&mut context, &aspace, &mut regs) {
            Trap::Syscall => {
                assert_eq!((regs.rdi, regs.rsp), (calls, DATA + 8));
                if calls % 16 == 0 {
                    assert_eq!(xmm0(&mut context), calls);
                }
                calls += 1;
            }
            Trap::Interrupted => {
                assert!((CODE..CODE + 64).contains(&regs.rip), "at {:#x}", regs.rip);
                interruptions += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    stop.store(true, Ordering::Relaxed);
    kicker.join().unwrap();
    assert!(interruptions > 100, "{interruptions} interruptions");
}
