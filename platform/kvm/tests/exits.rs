//! What costs an exit, counted.
#![allow(clippy::unwrap_used)]

mod backend;
#[path = "../../suite/guest.rs"]
mod guest;

use guest::*;
use platform::{Platform, Prot, PtRegs, Trap};
use std::sync::atomic::Ordering;

/// How many exits running once to a system call takes.
fn exits(machine: &Machine, work: impl FnOnce() -> Trap) -> u64 {
    let count = || machine.platform.stats().exits.load(Ordering::Relaxed);
    let before = count();
    assert_eq!(work(), Trap::Syscall);
    count() - before
}

#[test]
#[ignore = "needs a /dev/kvm of use; test/kvm/run brings one along"]
fn a_system_call_is_one_exit() {
    let machine = Machine::with_code(SYSCALL_LOOP);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let mut regs = regs();
    for _ in 0..500 {
        assert_eq!(exits(&machine, || run(&mut context, &aspace, &mut regs)), 1);
    }
    // So it is in turn with another address space, and with registers that `sysretq` cannot set.
    let (other, mut neighbour) = (machine.aspace(), machine.context());
    for _ in 0..50 {
        let mut own = PtRegs { rcx: 7, ..guest::regs() };
        assert_eq!(exits(&machine, || run(&mut neighbour, &other, &mut own)), 1);
        assert_eq!(exits(&machine, || run(&mut context, &aspace, &mut regs)), 1);
    }
}

/// mov [rdi], rdi; add rdi, 4096; dec rcx; jnz start; syscall
const TOUCH: &[u8] =
    &[0x48, 0x89, 0x3f, 0x48, 0x81, 0xc7, 0x00, 0x10, 0x00, 0x00, 0x48, 0xff, 0xc9, 0x75, 0xf1, 0x0f, 0x05];

#[test]
#[ignore = "needs a /dev/kvm of use; test/kvm/run brings one along"]
fn a_mapped_page_is_no_exit() {
    let machine = Machine::with_code(TOUCH);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let (place, pages) = (0x1000_0000, 2000);
    aspace.apply(vec![map(place, pages * PAGE, Prot::READ | Prot::WRITE, 0x10_0000)]).unwrap();
    let mut touch = || {
        let mut own = PtRegs { rdi: place, rcx: pages, ..regs() };
        exits(&machine, || run(&mut context, &aspace, &mut own))
    };
    assert_eq!(touch(), 1, "none of these pages was touched before");
    assert_eq!(touch(), 1);
    // Taken away and given back, with the translations that processors keep.
    aspace
        .apply(vec![
            platform::MapOp::Protect { addr: place, len: pages * PAGE, prot: Prot::READ },
            platform::MapOp::Protect { addr: place, len: pages * PAGE, prot: Prot::READ | Prot::WRITE },
        ])
        .unwrap();
    let mut own = PtRegs { rdi: place, rcx: pages, ..regs() };
    assert_eq!(exits(&machine, || run(&mut context, &aspace, &mut own)), 1);
    assert_eq!(machine.read_u64(0x10_0000 + 7 * PAGE), place + 7 * PAGE);
}

#[test]
#[ignore = "needs a /dev/kvm of use; test/kvm/run brings one along"]
fn a_large_mapping_is_an_exit_for_every_table() {
    let machine = Machine::with_code(TOUCH);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let (place, pages) = (0x4000_0000, 6000);
    aspace.apply(vec![map(place, pages * PAGE, Prot::READ | Prot::WRITE, 0x10_0000)]).unwrap();
    let mut own = PtRegs { rdi: place, rcx: pages, ..regs() };
    let tables = pages.div_ceil(512);
    assert_eq!(exits(&machine, || run(&mut context, &aspace, &mut own)), 1 + tables);
}
