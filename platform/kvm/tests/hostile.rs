//! Guests that try everything ring 3 can try: they get a signal, and nobody else notices.
#![allow(clippy::unwrap_used, clippy::panic)]

mod backend;
#[path = "../../suite/guest.rs"]
mod guest;

use guest::*;
use platform::{AddressSpace, Context, Interrupter, PlatformError, Prot, PtRegs, Trap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Where the attacked code lies, behind that of [`is_whole`].
const ATTACK: u64 = 0x1000;
const SYSCALL: [u8; 2] = [0x0f, 0x05];
const TRAP_FLAG: u64 = 0x100;

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

/// A guest that is attacked from within, and one beside it that is not.
struct Victim {
    machine: Machine,
    aspace: Arc<dyn AddressSpace>,
    context: Box<dyn Context + Send>,
    bystander: (Arc<dyn AddressSpace>, Box<dyn Context + Send>),
}

impl Victim {
    fn new() -> Victim {
        // mov rax, [rdi]; syscall
        let machine = Machine::with_code(&[0x48, 0x8b, 0x07, 0x0f, 0x05]);
        machine.write(DATA_OFFSET + PAGE, &4711_u64.to_ne_bytes());
        let (aspace, context) = (machine.aspace(), machine.context());
        let bystander = (machine.aspace(), machine.context());
        Victim { machine, aspace, context, bystander }
    }

    /// Runs code from changed registers until it traps.
    fn attack(
        &mut self,
        code: &[u8],
        change: impl FnOnce(&mut PtRegs),
    ) -> (Result<Trap, PlatformError>, PtRegs) {
        let mut padded = code.to_vec();
        padded.extend_from_slice(&SYSCALL);
        // ud2, for attacks that jump.
        padded.extend_from_slice(&[0x0f, 0x0b].repeat(16));
        self.machine.write(ATTACK, &padded);
        let mut regs = PtRegs { rip: CODE + ATTACK, rdi: DATA, rsi: DATA, rbx: DATA, ..regs() };
        change(&mut regs);
        (self.context.switch(&self.aspace, &mut regs), regs)
    }

    /// Whether both guests find their memory and registers as they should be.
    fn is_whole(&mut self) -> bool {
        let intact = |context: &mut Box<dyn Context + Send>, aspace: &Arc<dyn AddressSpace>| {
            let mut regs = PtRegs { rdi: DATA + PAGE, fs_base: 0x1234_5000, gs_base: 0x5678_9000, ..regs() };
            loop {
                match context.switch(aspace, &mut regs) {
                    Ok(Trap::Interrupted) => {}
                    other => {
                        return matches!(other, Ok(Trap::Syscall))
                            && (regs.orig_rax, regs.fs_base, regs.gs_base)
                                == (4711, 0x1234_5000, 0x5678_9000);
                    }
                }
            }
        };
        intact(&mut self.context, &self.aspace) && intact(&mut self.bystander.1, &self.bystander.0)
    }
}

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
    ("mov rax, cr0", &[0x0f, 0x20, 0xc0]),
    ("mov rax, cr2", &[0x0f, 0x20, 0xd0]),
    ("mov rax, cr3", &[0x0f, 0x20, 0xd8]),
    ("mov rax, cr4", &[0x0f, 0x20, 0xe0]),
    ("mov rax, cr8", &[0x44, 0x0f, 0x20, 0xc0]),
    ("mov cr0, rax", &[0x0f, 0x22, 0xc0]),
    ("mov cr2, rax", &[0x0f, 0x22, 0xd0]),
    ("mov cr3, rax", &[0x0f, 0x22, 0xd8]),
    ("mov cr4, rax", &[0x0f, 0x22, 0xe0]),
    ("mov cr8, rax", &[0x44, 0x0f, 0x22, 0xc0]),
    ("mov rax, dr0", &[0x0f, 0x21, 0xc0]),
    ("mov rax, dr7", &[0x0f, 0x21, 0xf8]),
    ("mov dr0, rax", &[0x0f, 0x23, 0xc0]),
    ("mov dr7, rax", &[0x0f, 0x23, 0xf8]),
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
        "vmfunc", "mwait", "monitor", "enclu", "iretq",
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
