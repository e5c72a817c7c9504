//! The x87, SSE and AVX registers.
#![allow(clippy::unwrap_used)]

use crate::guest::*;
use platform::arch::XSTATE_BV_OFFSET;
use platform::{FpState, PlatformError, Trap};

/// Places in the legacy area.
const MXCSR: usize = 24;
const XMM0: usize = 160;
const LEGACY_END: usize = 416;

/// movq xmm0, rdi; syscall; movq rdi, xmm0; syscall
const XMM_CODE: &[u8] = &[0x66, 0x48, 0x0f, 0x6e, 0xc7, 0x0f, 0x05, 0x66, 0x48, 0x0f, 0x7e, 0xc7, 0x0f, 0x05];
/// Where it reads the register.
const READ: u64 = CODE + 7;

fn xmm0(state: &FpState) -> u64 {
    u64::from_ne_bytes(state.as_bytes()[XMM0..XMM0 + 8].try_into().unwrap())
}

fn is_initial(state: &FpState) -> bool {
    let bytes = state.as_bytes();
    bytes[..2] == [0x7f, 0x03]
        && bytes[MXCSR..MXCSR + 4] == 0x1f80_u32.to_ne_bytes()
        && bytes[XMM0..LEGACY_END].iter().all(|byte| *byte == 0)
}

#[test]
#[cfg_attr(needs_kvm, ignore = "needs a /dev/kvm of use; test/kvm/run brings one along")]
fn a_new_program_sees_nothing_of_the_sentry() {
    let machine = Machine::with_code(SYSCALL_LOOP);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    assert!(is_initial(&context.fp_state().unwrap()));
    assert_eq!(run(&mut context, &aspace, &mut regs()), Trap::Syscall);
    assert!(is_initial(&context.fp_state().unwrap()));
}

#[test]
#[cfg_attr(needs_kvm, ignore = "needs a /dev/kvm of use; test/kvm/run brings one along")]
fn state_is_read_written_and_reset() {
    let machine = Machine::with_code(XMM_CODE);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let mut regs = regs();
    regs.rdi = 42;
    assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
    let state = context.fp_state().unwrap();
    assert_eq!(xmm0(&state), 42);
    let mut bytes = state.as_bytes().to_vec();
    bytes[XMM0] = 43;
    context.set_fp_state(&FpState::from_bytes(bytes)).unwrap();
    assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
    assert_eq!(regs.rdi, 43);
    context.reset_fp_state().unwrap();
    assert!(is_initial(&context.fp_state().unwrap()));
    regs.rip = READ;
    assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
    assert_eq!(regs.rdi, 0);
}

#[test]
#[cfg_attr(needs_kvm, ignore = "needs a /dev/kvm of use; test/kvm/run brings one along")]
fn a_sibling_starts_with_a_fresh_state_or_what_it_is_given() {
    let machine = Machine::with_code(XMM_CODE);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let mut own = regs();
    own.rdi = 42;
    assert_eq!(run(&mut context, &aspace, &mut own), Trap::Syscall);
    let state = context.fp_state().unwrap();
    for round in 0..10 {
        let mut sibling = context.new_sibling(&aspace).unwrap();
        assert!(is_initial(&sibling.fp_state().unwrap()));
        if round % 2 == 0 {
            sibling.set_fp_state(&state).unwrap();
        }
        let aspace = aspace.clone();
        let rdi = std::thread::spawn(move || {
            let mut regs = platform::PtRegs { rip: READ, ..regs() };
            assert_eq!(run(&mut sibling, &aspace, &mut regs), Trap::Syscall);
            // Left behind for the next user of the thread.
            regs.rip = CODE;
            assert_eq!(run(&mut sibling, &aspace, &mut platform::PtRegs { rdi: 99, ..regs }), Trap::Syscall);
            regs.rdi
        });
        assert_eq!(rdi.join().unwrap(), if round % 2 == 0 { 42 } else { 0 });
    }
}

#[test]
#[cfg_attr(needs_kvm, ignore = "needs a /dev/kvm of use; test/kvm/run brings one along")]
fn malformed_images_are_refused_and_change_nothing() {
    let machine = Machine::with_code(XMM_CODE);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let mut regs = regs();
    regs.rdi = 42;
    assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
    let good = context.fp_state().unwrap().as_bytes().to_vec();
    let changed = |offset: usize, with: &[u8]| {
        let mut bytes = good.clone();
        bytes[XMM0] = 1;
        bytes[XSTATE_BV_OFFSET] |= 2;
        bytes[offset..offset + with.len()].copy_from_slice(with);
        bytes
    };
    let mut bad = vec![
        good[..good.len() - 1].to_vec(),
        good[..512].to_vec(),
        vec![0xff; 3],
        vec![0xff; good.len()],
        vec![0xff; 1 << 20],
        changed(XSTATE_BV_OFFSET, &[0xff; 8]),
        changed(MXCSR, &[0xff; 4]),
    ];
    for offset in XSTATE_BV_OFFSET + 8..XSTATE_BV_OFFSET + 64 {
        bad.push(changed(offset, &[1]));
    }
    for bit in 0..64 {
        let word = (1_u64 << bit) | 2;
        let image = FpState::from_bytes(changed(XSTATE_BV_OFFSET, &word.to_ne_bytes()));
        match context.set_fp_state(&image) {
            Ok(()) => context.set_fp_state(&FpState::from_bytes(good.clone())).unwrap(),
            Err(error) => assert!(matches!(error, PlatformError::InvalidState), "bit {bit}: {error}"),
        }
    }
    for image in bad {
        let result = context.set_fp_state(&FpState::from_bytes(image));
        assert!(matches!(result, Err(PlatformError::InvalidState)), "{result:?}");
        assert!(matches!(
            machine.context().set_fp_state(&FpState::from_bytes(vec![1])),
            Err(PlatformError::InvalidState)
        ));
    }
    assert_eq!(context.fp_state().unwrap().as_bytes(), good);
    assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
    assert_eq!(regs.rdi, 42);
}

#[test]
#[cfg_attr(needs_kvm, ignore = "needs a /dev/kvm of use; test/kvm/run brings one along")]
fn a_reset_takes_the_control_words_along() {
    // ldmxcsr [rdi]; syscall; stmxcsr [rdi]; syscall
    let machine = Machine::with_code(&[0x0f, 0xae, 0x17, 0x0f, 0x05, 0x0f, 0xae, 0x1f, 0x0f, 0x05]);
    machine.write(DATA_OFFSET, &0x7f80_u64.to_ne_bytes());
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let mut regs = platform::PtRegs { rdi: DATA, ..regs() };
    assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
    context.reset_fp_state().unwrap();
    assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
    assert_eq!(machine.read_u64(DATA_OFFSET), 0x1f80);
}
