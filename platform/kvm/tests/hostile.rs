//! Guests that try every instruction ring 3 can try: they get a signal, and nobody else notices.
#![allow(clippy::unwrap_used, clippy::panic)]

mod backend;
#[path = "../../suite/guest.rs"]
mod guest;
#[path = "backend/victim.rs"]
mod victim;

use guest::*;
use platform::{PtRegs, Trap};
use victim::*;

/// Instructions that ring 3 may not execute, or that ring 0 would be needed for to do harm.
const PRIVILEGED: &[(&str, &[u8])] = &[
    ("hlt", &[0xf4]),
    ("cli", &[0xfa]),
    ("sti", &[0xfb]),
    ("clts", &[0x0f, 0x06]),
    ("invd", &[0x0f, 0x08]),
    ("wbinvd", &[0x0f, 0x09]),
    ("swapgs", &[0x0f, 0x01, 0xf8]),
    ("rdmsr", &[0x0f, 0x32]),
    ("wrmsr", &[0x0f, 0x30]),
    ("rdpmc", &[0x0f, 0x33]),
    ("sysretq", &[0x48, 0x0f, 0x07]),
    ("sysretl", &[0x0f, 0x07]),
    ("sysenter", &[0x0f, 0x34]),
    ("sysexit", &[0x0f, 0x35]),
    ("iretq", &[0x48, 0xcf]),
    ("rsm", &[0x0f, 0xaa]),
    ("int1", &[0xf1]),
    ("int3", &[0xcc]),
    ("lgdt [rdi]", &[0x0f, 0x01, 0x17]),
    ("lidt [rdi]", &[0x0f, 0x01, 0x1f]),
    ("sgdt [rdi]", &[0x0f, 0x01, 0x07]),
    ("sidt [rdi]", &[0x0f, 0x01, 0x0f]),
    ("lldt ax", &[0x0f, 0x00, 0xd0]),
    ("ltr ax", &[0x0f, 0x00, 0xd8]),
    ("sldt rax", &[0x48, 0x0f, 0x00, 0xc0]),
    ("str rax", &[0x48, 0x0f, 0x00, 0xc8]),
    ("lmsw ax", &[0x0f, 0x01, 0xf0]),
    ("smsw rax", &[0x48, 0x0f, 0x01, 0xe0]),
    ("invlpg [rdi]", &[0x0f, 0x01, 0x3f]),
    ("invpcid rax, [rdi]", &[0x66, 0x0f, 0x38, 0x82, 0x07]),
    ("xsetbv", &[0x0f, 0x01, 0xd1]),
    ("xsaves [rdi]", &[0x0f, 0xc7, 0x2f]),
    ("xrstors [rdi]", &[0x0f, 0xc7, 0x1f]),
    ("clac", &[0x0f, 0x01, 0xca]),
    ("stac", &[0x0f, 0x01, 0xcb]),
    ("wrpkru", &[0x0f, 0x01, 0xef]),
    ("monitor", &[0x0f, 0x01, 0xc8]),
    ("mwait", &[0x0f, 0x01, 0xc9]),
    ("vmcall", &[0x0f, 0x01, 0xc1]),
    ("vmlaunch", &[0x0f, 0x01, 0xc2]),
    ("vmresume", &[0x0f, 0x01, 0xc3]),
    ("vmxoff", &[0x0f, 0x01, 0xc4]),
    ("vmfunc", &[0x0f, 0x01, 0xd4]),
    ("vmptrld [rdi]", &[0x0f, 0xc7, 0x37]),
    ("vmread rax, rax", &[0x0f, 0x78, 0xc0]),
    ("vmwrite rax, rax", &[0x0f, 0x79, 0xc0]),
    ("invept rax, [rdi]", &[0x66, 0x0f, 0x38, 0x80, 0x07]),
    ("vmrun", &[0x0f, 0x01, 0xd8]),
    ("vmmcall", &[0x0f, 0x01, 0xd9]),
    ("vmload", &[0x0f, 0x01, 0xda]),
    ("vmsave", &[0x0f, 0x01, 0xdb]),
    ("stgi", &[0x0f, 0x01, 0xdc]),
    ("clgi", &[0x0f, 0x01, 0xdd]),
    ("skinit", &[0x0f, 0x01, 0xde]),
    ("invlpga", &[0x0f, 0x01, 0xdf]),
    ("vmptrst [rdi]", &[0x0f, 0xc7, 0x3f]),
    ("vmclear [rdi]", &[0x66, 0x0f, 0xc7, 0x37]),
    ("vmxon [rdi]", &[0xf3, 0x0f, 0xc7, 0x37]),
    ("invvpid rax, [rdi]", &[0x66, 0x0f, 0x38, 0x81, 0x07]),
    ("invlpgb", &[0x0f, 0x01, 0xfe]),
    ("tlbsync", &[0x0f, 0x01, 0xff]),
    ("psmash", &[0xf3, 0x0f, 0x01, 0xff]),
    ("pvalidate", &[0xf2, 0x0f, 0x01, 0xff]),
    ("rmpadjust", &[0xf3, 0x0f, 0x01, 0xfe]),
    ("rmpupdate", &[0xf2, 0x0f, 0x01, 0xfe]),
    ("mcommit", &[0xf3, 0x0f, 0x01, 0xfa]),
    ("rdpru", &[0x0f, 0x01, 0xfd]),
    ("wbnoinvd", &[0xf3, 0x0f, 0x09]),
    ("pconfig", &[0x0f, 0x01, 0xc5]),
    ("wrmsrns", &[0x0f, 0x01, 0xc6]),
    ("rdmsrlist", &[0xf2, 0x0f, 0x01, 0xc6]),
    ("wrmsrlist", &[0xf3, 0x0f, 0x01, 0xc6]),
    ("eretu", &[0xf3, 0x0f, 0x01, 0xca]),
    ("erets", &[0xf2, 0x0f, 0x01, 0xca]),
    ("lkgs ax", &[0xf2, 0x0f, 0x00, 0xf0]),
    ("tdcall", &[0x66, 0x0f, 0x01, 0xcc]),
    ("seamret", &[0x66, 0x0f, 0x01, 0xcd]),
    ("seamops", &[0x66, 0x0f, 0x01, 0xce]),
    ("seamcall", &[0x66, 0x0f, 0x01, 0xcf]),
    ("uiret", &[0xf3, 0x0f, 0x01, 0xec]),
    ("senduipi rax", &[0xf3, 0x0f, 0xc7, 0xf0]),
    ("stui", &[0xf3, 0x0f, 0x01, 0xef]),
    ("setssbsy", &[0xf3, 0x0f, 0x01, 0xe8]),
    ("rstorssp [rdi]", &[0xf3, 0x0f, 0x01, 0x2f]),
    ("wrssq [rdi], rax", &[0x48, 0x0f, 0x38, 0xf6, 0x07]),
    ("wrussq [rdi], rax", &[0x66, 0x48, 0x0f, 0x38, 0xf5, 0x07]),
    ("enqcmds rax, [rdi]", &[0xf3, 0x0f, 0x38, 0xf8, 0x07]),
    ("hreset", &[0xf3, 0x0f, 0x3a, 0xf0, 0xc0, 0x00]),
    ("enclu", &[0x0f, 0x01, 0xd7]),
    ("encls", &[0x0f, 0x01, 0xcf]),
    ("getsec", &[0x0f, 0x37]),
    ("in al, 0x80", &[0xe4, 0x80]),
    ("in eax, dx", &[0xed]),
    ("out 0x80, al", &[0xe6, 0x80]),
    ("out dx, eax", &[0xef]),
    ("insb", &[0x6c]),
    ("outsb", &[0x6e]),
    ("rep outsd", &[0xf3, 0x6f]),
    (
        "wrfsbase of a word that is not canonical",
        &[0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0x80, 0xf3, 0x48, 0x0f, 0xae, 0xd0],
    ),
    ("lock of a register", &[0xf0, 0x48, 0x89, 0xc0]),
    ("fxrstor of nothing", &[0x0f, 0xae, 0x0c, 0x25, 0, 0, 0, 0]),
    ("cpuid", &[0x0f, 0xa2]),
    ("rdtscp", &[0x0f, 0x01, 0xf9]),
];

#[test]
#[ignore = "needs a /dev/kvm of use; test/kvm/run brings one along"]
fn privileged_instructions_are_signals() {
    let mut victim = Victim::new();
    // What Linux lets a program do, or what differs between processors; QEMU's takes any word for a segment base, and a lock
    // of anything.
    let harmless = [
        "wrfsbase", "lock", "cpuid", "rdtscp", "sgdt", "sidt", "sldt", "str", "smsw", "vmcall", "vmmcall",
        "vmfunc", "mwait", "monitor", "enclu", "iretq", "wbnoinvd", "rdpru", "rstorssp",
    ];
    for (name, code) in PRIVILEGED {
        for flags in [0, TRAP_FLAG] {
            // Registers that would be dangerous ones to a ring 0 that went on with them.
            let (trap, regs) = victim.attack(code, |regs| {
                regs.rcx = 0xc000_0080;
                regs.rdx = 0x80;
                regs.eflags |= flags;
            });
            let trap = trap.unwrap_or_else(|error| panic!("{name}: {error}"));
            let refused = matches!(trap, Trap::Signal(_) | Trap::Fault(_));
            assert!(refused || harmless.iter().any(|prefix| name.starts_with(prefix)), "{name}: {trap:?}");
            assert_eq!((regs.cs, regs.ss), (PtRegs::USER_CS, PtRegs::USER_SS), "{name}");
        }
        assert!(victim.is_whole(), "{name}");
    }
}

#[test]
#[ignore = "needs a /dev/kvm of use; test/kvm/run brings one along"]
fn every_control_and_debug_register_is_refused() {
    let mut victim = Victim::new();
    // mov rax, cr; mov rax, dr; mov cr, rax; mov dr, rax
    for opcode in 0x20..=0x23 {
        for register in 0..16_u8 {
            // The upper eight with REX.R.
            let prefix = if register < 8 { 0x40 } else { 0x44 };
            let code = [prefix, 0x0f, opcode, 0xc0 | (register & 7) << 3];
            // Paging off, a page table of its own, a breakpoint in ring 0: what it would be worth.
            for value in [0, 1, 0x8005_0033, DATA, 0x4000_0000, 0xffff_ff80_0000_0000, u64::MAX] {
                let (trap, regs) = victim.attack(&code, |regs| regs.rax = value);
                assert!(matches!(trap, Ok(Trap::Signal(_))), "{opcode:#x} {register}: {trap:?}");
                assert_eq!(regs.rax, value, "{opcode:#x} {register}");
            }
        }
        assert!(victim.is_whole(), "{opcode:#x}");
    }
    let msrs = [
        0x10,
        0x1b,
        0x3a,
        0x174,
        0x175,
        0x176,
        0x1d9,
        0x277,
        0x6e0,
        0x800,
        0xda0,
        0x4b56_4d00,
        0x4b56_4d01,
        0xc000_0080,
        0xc000_0081,
        0xc000_0082,
        0xc000_0084,
        0xc000_0100,
        0xc000_0101,
        0xc000_0102,
        0xc000_0103,
        0xc001_0114,
        0xc001_0117,
        u64::from(u32::MAX),
    ];
    for msr in msrs {
        for code in [[0x0f, 0x30], [0x0f, 0x32]] {
            let (trap, _) = victim.attack(&code, |regs| (regs.rcx, regs.rax, regs.rdx) = (msr, DATA, 0));
            assert!(matches!(trap, Ok(Trap::Signal(_))), "{msr:#x}: {trap:?}");
        }
    }
    assert!(victim.is_whole());
}

#[test]
#[ignore = "needs a /dev/kvm of use; test/kvm/run brings one along"]
fn every_interrupt_number_is_a_signal() {
    let mut victim = Victim::new();
    for number in 0..=255 {
        let (trap, _) = victim.attack(&[0xcd, number], |_| ());
        assert!(matches!(trap, Ok(Trap::Signal(_))), "int {number:#x}: {trap:?}");
    }
    assert!(victim.is_whole());
}

#[test]
#[ignore = "needs a /dev/kvm of use; test/kvm/run brings one along"]
fn every_selector_in_every_segment_register() {
    let mut victim = Victim::new();
    // mov es/ss/ds/fs/gs, ax
    for register in [0xc0, 0xd0, 0xd8, 0xe0, 0xe8] {
        for selector in (0..0x90).chain([0xff8, 0xfffb, 0xffff]) {
            let (trap, _) = victim.attack(&[0x8e, register], |regs| regs.rax = selector);
            let trap = trap.unwrap();
            assert!(matches!(trap, Trap::Syscall | Trap::Signal(_)), "{register:#x} {selector:#x}: {trap:?}");
        }
        assert!(victim.is_whole(), "{register:#x}");
    }
    for selector in 0..0x90_u8 {
        // push selector; push rdi; retfq
        let (trap, regs) = victim.attack(&[0x68, selector, 0, 0, 0, 0x57, 0x48, 0xcb], |regs| {
            regs.rdi = CODE + ATTACK + 8;
        });
        let trap = trap.unwrap();
        let fits = if selector | 3 == 0x33 { Trap::Syscall == trap } else { matches!(trap, Trap::Signal(_)) };
        // Only with privilege level 3 is it the user's segment.
        assert!(fits || selector == 0x30 || selector == 0x31 || selector == 0x32, "{selector:#x}: {trap:?}");
        assert_eq!(regs.cs, PtRegs::USER_CS);
        // The same by iretq, with every stack segment.
        let frame: Vec<u8> = [u64::from(selector), 0x202, DATA + PAGE, u64::from(selector) | 8]
            .iter()
            .rev()
            .flat_map(|word| [&[0x48, 0xb8][..], &word.to_le_bytes(), &[0x50]].concat())
            .collect();
        // push ss, rsp, rflags, cs; push rdi; iretq
        let code = [&frame[..], &[0x57, 0x48, 0xcf]].concat();
        assert!(victim.attack(&code, |_| ()).0.is_ok());
    }
    assert!(victim.is_whole());
}

#[test]
#[ignore = "needs a /dev/kvm of use; test/kvm/run brings one along"]
fn far_pointers_lead_nowhere() {
    let mut victim = Victim::new();
    // lss, lfs, lgs rax, [rdi]; jmp far [rdi]; call far [rdi]
    let attacks: [&[u8]; 5] = [
        &[0x48, 0x0f, 0xb2, 0x07],
        &[0x48, 0x0f, 0xb4, 0x07],
        &[0x48, 0x0f, 0xb5, 0x07],
        &[0x48, 0xff, 0x2f],
        &[0x48, 0xff, 0x1f],
    ];
    for code in attacks {
        for selector in 0..0x90_u16 {
            for target in [CODE + ATTACK + 6, 0xffff_ff80_0000_0000] {
                // With a 64-bit offset, or a 32-bit one where the processor has no other for this instruction.
                let pointer = [&target.to_le_bytes()[..], &selector.to_le_bytes()].concat();
                victim.machine.write(DATA_OFFSET, &pointer);
                let (trap, regs) = victim.attack(code, |_| ());
                let trap = trap.unwrap_or_else(|error| panic!("{code:x?} {selector:#x}: {error}"));
                assert_ne!(trap, Trap::Interrupted);
                assert_eq!((regs.cs, regs.ss), (PtRegs::USER_CS, PtRegs::USER_SS));
            }
        }
        assert!(victim.is_whole(), "{code:x?}");
    }
}
