//! Guests that look for what is not theirs: ring 0, its pages, the page tables.
#![allow(clippy::unwrap_used, clippy::panic)]

mod backend;
#[path = "../../suite/guest.rs"]
mod guest;
#[path = "backend/victim.rs"]
mod victim;

use guest::*;
use platform::{Prot, PtRegs, Trap};
use victim::*;

#[test]
#[ignore = "needs a /dev/kvm of use; test/kvm/run brings one along"]
fn ring_0_is_out_of_reach() {
    let mut victim = Victim::new();
    let base = 0xffff_ff80_0000_0000_u64;
    // mov rax, [rdi]; mov [rdi], rax; jmp rdi
    let attacks: [&[u8]; 3] = [&[0x48, 0x8b, 0x07], &[0x48, 0x89, 0x07], &[0xff, 0xe7]];
    for page in (0..48).chain([511, 512]) {
        let addr = base + page * PAGE;
        for code in attacks {
            let (trap, _) = victim.attack(code, |regs| regs.rdi = addr);
            assert!(matches!(trap, Ok(Trap::Fault(fault)) if fault.addr == addr), "{addr:#x}: {trap:?}");
        }
    }
    for addr in [0xffff_8000_0000_0000, 0xffff_ffff_ffff_f000, 0xffff_ff80_4000_0000] {
        let (trap, _) = victim.attack(attacks[0], |regs| regs.rdi = addr);
        assert!(matches!(trap, Ok(Trap::Fault(_))), "{addr:#x}: {trap:?}");
    }
    assert!(victim.is_whole());
}

#[test]
#[ignore = "needs a /dev/kvm of use; test/kvm/run brings one along"]
fn the_last_address_is_no_way_into_ring_0() {
    let victim = Victim::new();
    let Victim { machine, aspace, mut context, .. } = victim;
    let last = 0x7fff_ffff_e000_u64;
    machine.write(0x2000 + PAGE - 2, &SYSCALL);
    aspace.apply(vec![map(last, PAGE, Prot::READ | Prot::EXEC, 0x2000)]).unwrap();
    let mut regs = PtRegs { rip: last + PAGE - 2, ..regs() };
    assert_eq!(context.switch(&aspace, &mut regs).unwrap(), Trap::Syscall);
    assert_eq!((regs.rip, regs.rcx), (last + PAGE, last + PAGE));
    assert!(
        matches!(context.switch(&aspace, &mut regs).unwrap(), Trap::Fault(fault) if fault.addr == last + PAGE)
    );
    // As if by a debugger: what `sysretq` would take for its target.
    for rip in [1 << 47, 1 << 63, 0xffff_7fff_ffff_f000] {
        let mut wild = PtRegs { rip, rcx: rip, r11: 0x202, eflags: 0x202, ..regs };
        assert!(matches!(context.switch(&aspace, &mut wild).unwrap(), Trap::Signal(_)), "{rip:#x}");
    }
    for rip in [0xffff_8000_0000_0000, 0xffff_ff80_0000_0000, u64::MAX] {
        let mut wild = PtRegs { rip, rcx: rip, r11: 0x202, eflags: 0x202, ..regs };
        assert!(matches!(context.switch(&aspace, &mut wild).unwrap(), Trap::Fault(_)), "{rip:#x}");
    }
    let mut good = PtRegs { rdi: DATA + PAGE, ..guest::regs() };
    assert_eq!(context.switch(&aspace, &mut good).unwrap(), Trap::Syscall);
}

#[test]
#[ignore = "needs a /dev/kvm of use; test/kvm/run brings one along"]
fn bases_in_ring_0_are_of_no_use() {
    let mut victim = Victim::new();
    victim.context.set_answers(&[platform::Answer { number: 39, value: 4711 }]);
    // mov rax, gs:[0]; mov gs:[0], rax; the same by fs
    let accesses: [&[u8]; 3] = [
        &[0x65, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0],
        &[0x65, 0x48, 0x89, 0x04, 0x25, 0, 0, 0, 0],
        &[0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0],
    ];
    // Ways into ring 0, which uses GS: int3, ud2, syscall, an answered one, a fault.
    let entries: [&[u8]; 5] = [
        &[0xcc],
        &[0x0f, 0x0b],
        &[0x0f, 0x05],
        &[0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xcc],
        &[0x8a, 0x04, 0x25, 0, 0, 0, 0],
    ];
    for page in 0..40 {
        let base = 0xffff_ff80_0000_0000 + page * PAGE;
        for code in accesses {
            let (trap, _) = victim.attack(code, |regs| (regs.gs_base, regs.fs_base) = (base, base));
            assert!(matches!(trap, Ok(Trap::Fault(fault)) if fault.addr == base), "{base:#x}: {trap:?}");
        }
        for code in entries {
            let (trap, regs) = victim.attack(code, |regs| (regs.gs_base, regs.fs_base) = (base, base));
            assert!(trap.is_ok(), "{base:#x}: {trap:?}");
            assert_eq!((regs.gs_base, regs.fs_base), (base, base), "{code:x?}");
        }
    }
    assert!(victim.is_whole());
}

/// The page tables, the entry code and the processors' pages are in no memory a guest can have: one that overwrites all of
/// the memory file, mapped whole and beyond, keeps running under the same mappings.
#[test]
#[ignore = "needs a /dev/kvm of use; test/kvm/run brings one along"]
fn page_tables_are_out_of_reach() {
    const FILE: u64 = 64 << 20;
    // rep stosq; syscall
    let machine = Machine::with_code(&[0xf3, 0x48, 0xab, 0x0f, 0x05]);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let (place, rw) = (0x1_0000_0000, Prot::READ | Prot::WRITE);
    // All but the page of code, which must go on.
    aspace.apply(vec![map(place, FILE - PAGE, rw, PAGE)]).unwrap();
    for pattern in [0, u64::MAX, 0x4000_0067] {
        let mut own = PtRegs { rdi: place, rcx: (FILE - PAGE) / 8, rax: pattern, ..regs() };
        assert_eq!(run(&mut context, &aspace, &mut own), Trap::Syscall);
        assert_eq!(own.rdi, place + FILE - PAGE);
        assert_eq!(machine.read_u64(FILE - 8), pattern);
        let mut beyond = PtRegs { rdi: place - 8, rcx: 1, ..regs() };
        assert!(
            matches!(run(&mut context, &aspace, &mut beyond), Trap::Fault(fault) if fault.addr == place - 8)
        );
    }
    // What a mapping says of guest-physical memory is where in the file it is: behind the file's end, nothing.
    for offset in [FILE, 0x4000_0000, 0x4000_0000 + PAGE, 1 << 32, 0xffff_ffff_4000_0000, u64::MAX - PAGE + 1]
    {
        let far = 0x3_0000_0000;
        if aspace.apply(vec![map(far, PAGE, rw, offset)]).is_err() {
            continue;
        }
        let mut own = PtRegs { rdi: far, rcx: 1, ..regs() };
        assert!(matches!(run(&mut context, &aspace, &mut own), Trap::Signal(_)), "{offset:#x}");
    }
    // A neighbour made now finds everything in order.
    let (other, mut neighbour) = (machine.aspace(), machine.context());
    let mut own = PtRegs { rdi: DATA, rcx: 4, rax: 4711, ..regs() };
    assert_eq!(run(&mut neighbour, &other, &mut own), Trap::Syscall);
    assert_eq!(machine.read_u64(DATA_OFFSET), 4711);
}
