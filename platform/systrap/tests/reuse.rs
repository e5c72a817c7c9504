//! Stubs that serve one guest after another: the next one finds nothing of those before, whatever they did.
//!
//! One test at a time, since they look at all children of the test program.
#![allow(clippy::unwrap_used)]

mod backend;
#[path = "../../suite/guest.rs"]
mod guest;

use guest::*;
use platform::{PtRegs, Trap};
use std::collections::BTreeSet;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

const STUB: u64 = 0x7fff_0000_0000;
const SLOT: u64 = STUB + 0x10_0000;
const SLOT_SIZE: u64 = 0x2_0000;
/// Where in a slot the hand-off's words are, and which say that the thread waits, asleep.
const STATE: u64 = 0x1_0d00;
const TRAPPED_ASLEEP: u64 = 1;

static ALONE: Mutex<()> = Mutex::new(());

/// Waits until every stub is either in the pool or gone, which takes a moment.
fn settle() {
    std::thread::sleep(Duration::from_millis(20));
}

#[test]
fn a_stub_serves_again() {
    let _alone = ALONE.lock().unwrap();
    let machine = Machine::with_code(SYSCALL_LOOP);
    let mut seen = BTreeSet::new();
    for _ in 0..30 {
        let (aspace, mut context) = (machine.aspace(), machine.context());
        assert_eq!(run(&mut context, &aspace, &mut regs()), Trap::Syscall);
        drop((context, aspace));
        settle();
        seen.extend(children());
    }
    assert!(seen.len() <= backend::IDLE_CHILDREN, "{seen:?}");
}

#[test]
fn a_stub_with_a_second_thread_does_not_serve_again() {
    let _alone = ALONE.lock().unwrap();
    let machine = Machine::with_code(SYSCALL_LOOP);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let mut sibling = context.new_sibling(&aspace).unwrap();
    for context in [&mut context, &mut sibling] {
        assert_eq!(run(context, &aspace, &mut regs()), Trap::Syscall);
    }
    assert_eq!(most_threads(), backend::HELPER_THREADS + 2);
    drop((context, sibling, aspace));
    settle();
    assert_eq!(most_threads(), backend::HELPER_THREADS + 1);
}

#[test]
fn nothing_is_left_in_a_slot() {
    let _alone = ALONE.lock().unwrap();
    const SECRET: u64 = 0x5ec2_e75e_c2e7_5ec2;
    // movq xmm7, rbx; movddup xmm7, xmm7; syscall; mov [rsi], rax; ud2
    let code =
        [0x66, 0x48, 0x0f, 0x6e, 0xfb, 0xf2, 0x0f, 0x12, 0xff, 0x0f, 0x05, 0x48, 0x89, 0x06, 0x0f, 0x0b];
    let machine = Machine::with_code(&code);
    // rep movsb; syscall
    machine.write(0x1000, &[0xf3, 0xa4, 0x0f, 0x05]);
    for round in 0..8 {
        let (aspace, mut context) = (machine.aspace(), machine.context());
        let secret = PtRegs { rbx: SECRET, r12: SECRET, rcx: SECRET, rax: SECRET, ..regs() };
        let mut own = secret;
        assert_eq!(run(&mut context, &aspace, &mut own), Trap::Syscall);
        // Into the middle of the slot, too, by the guest itself.
        own = PtRegs { rax: SECRET, rsi: SLOT + 0x3000 * round, ..own };
        assert!(!matches!(run(&mut context, &aspace, &mut own), Trap::Syscall));
        drop((context, aspace));
        settle();
        let (aspace, mut context) = (machine.aspace(), machine.context());
        for page in (0..SLOT_SIZE).step_by(4096) {
            let mut copy = PtRegs { rip: CODE + 0x1000, rsi: SLOT + page, rdi: DATA, rcx: PAGE, ..regs() };
            assert_eq!(run(&mut context, &aspace, &mut copy), Trap::Syscall);
            let mut bytes = vec![0; 4096];
            machine.memory.read_exact_at(&mut bytes, DATA_OFFSET).unwrap();
            assert!(!bytes.windows(8).any(|word| word == SECRET.to_ne_bytes()), "page {page:#x}");
        }
        machine.write(DATA_OFFSET, &[0; 4096]);
    }
}

/// A guest thread says that it waits, and then is anywhere but there: the guest after it must be alone in its stub.
#[test]
fn a_thread_that_lies_is_fetched_back() {
    let _alone = ALONE.lock().unwrap();
    // mov qword ptr [rdi + 0x40], 2; mov dword ptr [rdi], 1; jmp rsi: a trap without a frame.
    let lie = [0x48, 0xc7, 0x47, 0x40, 0x02, 0, 0, 0, 0xc7, 0x07, 0x01, 0, 0, 0, 0xff, 0xe6];
    let machine = Machine::with_code(&lie);
    // inc qword ptr [rdi]; syscall
    machine.write(0x1000, &[0x48, 0xff, 0x07, 0x0f, 0x05]);
    // jmp .
    machine.write(0x2000, SPIN);
    let places = (0..10).map(|n| STUB + n * 0x70).chain([CODE + 0x2000]);
    for place in places {
        let (aspace, mut context) = (machine.aspace(), machine.context());
        let mut liar = PtRegs {
            rdi: SLOT + STATE,
            rsi: place,
            rsp: SLOT + SLOT_SIZE - 256,
            rbp: SLOT,
            rax: TRAPPED_ASLEEP,
            rbx: SLOT,
            ..regs()
        };
        // Seen when the sentry looks after its sleeping threads, at the latest.
        let begin = Instant::now();
        let _ = context.switch(&aspace, &mut liar);
        assert!(begin.elapsed() < Duration::from_secs(15));
        drop((context, aspace));
        settle();
        machine.write(DATA_OFFSET, &0_u64.to_ne_bytes());
        let (aspace, mut context) = (machine.aspace(), machine.context());
        for count in 1..200 {
            let mut own = PtRegs { rip: CODE + 0x1000, rdi: DATA, ..regs() };
            assert_eq!(run(&mut context, &aspace, &mut own), Trap::Syscall, "{place:#x}");
            assert_eq!(machine.read_u64(DATA_OFFSET), count, "{place:#x}");
        }
    }
}
