//! What guest code can do to be stopped, and what the sentry is told then.
#![allow(clippy::unwrap_used, clippy::panic)]

use crate::backend;
use crate::guest::*;
use platform::{AccessType, Fault, GuestSignal, Prot, PtRegs, Trap};

const SI_KERNEL: i32 = 0x80;
const GENERAL_PROTECTION: Trap = Trap::Signal(GuestSignal { signo: libc::SIGSEGV, code: SI_KERNEL, addr: 0 });

fn fault(addr: u64, access: AccessType) -> Trap {
    Trap::Fault(Fault { addr, access })
}

/// Runs `code` from the registers of a fresh program as changed by `change`.
fn trap_of(code: &[u8], change: impl FnOnce(&mut PtRegs)) -> (Trap, PtRegs) {
    let machine = Machine::with_code(code);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let mut regs = regs();
    change(&mut regs);
    (run(&mut context, &aspace, &mut regs), regs)
}

#[test]
#[cfg_attr(needs_kvm, ignore = "needs a /dev/kvm of use; test/kvm/run brings one along")]
fn syscall_traps_with_its_registers() {
    let machine = Machine::with_code(SYSCALL_LOOP);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let mut regs = regs();
    for nr in (0..1000).filter(|nr| Some(*nr) != backend::UNSEEN_CALL) {
        regs.rax = nr;
        regs.rdi = nr + 1;
        regs.r9 = nr + 6;
        assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
        assert_eq!(regs.orig_rax, nr);
        assert_eq!(regs.rip, CODE + 2);
        assert_eq!(regs.rcx, regs.rip);
        assert_eq!(regs.syscall_args(), [nr + 1, 0, 0, 0, 0, nr + 6]);
    }
}

#[test]
#[cfg_attr(needs_kvm, ignore = "needs a /dev/kvm of use; test/kvm/run brings one along")]
fn a_result_that_looks_like_a_restart_is_left_alone() {
    let machine = Machine::with_code(SYSCALL_LOOP);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let interrupter = context.interrupter();
    let mut regs = regs();
    for restart in 512..=516_i64 {
        regs.rax = 39;
        assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
        regs.rax = (-restart).cast_unsigned();
        interrupter.interrupt();
        assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Interrupted);
        assert_eq!(regs.rip, CODE + 2);
        assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
        assert_eq!(regs.orig_rax, (-restart).cast_unsigned());
    }
}

#[test]
#[cfg_attr(needs_kvm, ignore = "needs a /dev/kvm of use; test/kvm/run brings one along")]
fn accesses_the_address_space_does_not_allow_fault() {
    // mov rax, [rdi]; mov [rsi], rax; jmp rdx
    let code = [0x48, 0x8b, 0x07, 0x48, 0x89, 0x06, 0xff, 0xe2];
    let (trap, regs) = trap_of(&code, |regs| regs.rdi = 0x1234_5678);
    assert_eq!((trap, regs.rip), (fault(0x1234_5678, AccessType::Read), CODE));
    let (trap, regs) = trap_of(&code, |regs| (regs.rdi, regs.rsi) = (DATA, CODE + 8));
    assert_eq!((trap, regs.rip), (fault(CODE + 8, AccessType::Write), CODE + 3));
    let (trap, regs) = trap_of(&code, |regs| (regs.rdi, regs.rsi, regs.rdx) = (DATA, DATA, DATA + 16));
    assert_eq!((trap, regs.rip), (fault(DATA + 16, AccessType::Execute), DATA + 16));
}

#[test]
#[cfg_attr(needs_kvm, ignore = "needs a /dev/kvm of use; test/kvm/run brings one along")]
fn an_access_can_be_repaired_and_repeated() {
    // mov rax, [rdi]; syscall
    let machine = Machine::with_code(&[0x48, 0x8b, 0x07, 0x0f, 0x05]);
    machine.write(DATA_OFFSET + 4 * PAGE, &42_u64.to_ne_bytes());
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let mut regs = regs();
    regs.rdi = 0x1000_0000;
    assert_eq!(run(&mut context, &aspace, &mut regs), fault(regs.rdi, AccessType::Read));
    aspace.apply(vec![map(regs.rdi, PAGE, Prot::READ, DATA_OFFSET + 4 * PAGE)]).unwrap();
    assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
    assert_eq!(regs.orig_rax, 42);
}

#[test]
#[cfg_attr(needs_kvm, ignore = "needs a /dev/kvm of use; test/kvm/run brings one along")]
fn exceptions_are_the_signals_linux_sends() {
    let signal = |signo, code, addr| Trap::Signal(GuestSignal { signo, code, addr });
    const TRAP_TRACE: i32 = 2;
    const FPE_INTDIV: i32 = 1;
    const ILL_ILLOPN: i32 = 2;
    // int3
    let (trap, regs) = trap_of(&[0xcc], |_| ());
    assert_eq!((trap, regs.rip), (signal(libc::SIGTRAP, SI_KERNEL, 0), CODE + 1));
    // ud2
    assert_eq!(trap_of(&[0x0f, 0x0b], |_| ()).0, signal(libc::SIGILL, ILL_ILLOPN, CODE));
    // div ecx
    assert_eq!(trap_of(&[0xf7, 0xf1], |_| ()).0, signal(libc::SIGFPE, FPE_INTDIV, CODE));
    // hlt
    assert_eq!(trap_of(&[0xf4], |_| ()).0, GENERAL_PROTECTION);
    // mov rax, [rdi], not canonical
    assert_eq!(trap_of(&[0x48, 0x8b, 0x07], |regs| regs.rdi = 1 << 63).0, GENERAL_PROTECTION);
    // nop, with the trap flag
    let (trap, regs) = trap_of(&[0x90, 0x90], |regs| regs.eflags |= 0x100);
    assert_eq!((trap, regs.rip), (signal(libc::SIGTRAP, TRAP_TRACE, CODE + 1), CODE + 1));
}

#[test]
#[cfg_attr(needs_kvm, ignore = "needs a /dev/kvm of use; test/kvm/run brings one along")]
fn memory_behind_the_end_of_the_file_is_a_bus_error() {
    let machine = Machine::with_code(&[0x48, 0x8b, 0x07]);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let mut regs = regs();
    regs.rdi = 0x1000_0000;
    aspace.apply(vec![map(regs.rdi, PAGE, Prot::READ, 1 << 40)]).unwrap();
    const BUS_ADRERR: i32 = 2;
    let signal = GuestSignal { signo: libc::SIGBUS, code: BUS_ADRERR, addr: regs.rdi };
    assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Signal(signal));
}

#[test]
#[cfg_attr(needs_kvm, ignore = "needs a /dev/kvm of use; test/kvm/run brings one along")]
fn thirty_two_bit_entries_are_general_protection_faults() {
    // int 0x80
    let (trap, regs) = trap_of(&[0x90, 0xcd, 0x80], |regs| regs.rax = 20);
    assert_eq!((trap, regs.rip, regs.rax), (GENERAL_PROTECTION, CODE + 1, 20));
    // push 0x23; push rdi; retfq: into a 32-bit code segment, where syscall, int 0x80 and a fault are tried
    for inner in [[0x0f, 0x05], [0xcd, 0x80], [0x0f, 0x34], [0x0f, 0x0b], [0x8b, 0x01]] {
        let mut code = vec![0x6a, 0x23, 0x57, 0x48, 0xcb];
        code.extend_from_slice(&inner);
        let (trap, _) = trap_of(&code, |regs| regs.rdi = CODE + 5);
        assert_eq!(trap, GENERAL_PROTECTION, "{inner:x?}");
    }
}

#[test]
#[cfg_attr(needs_kvm, ignore = "needs a /dev/kvm of use; test/kvm/run brings one along")]
fn calls_into_the_vsyscall_page_are_syscalls_or_faults() {
    let address = 0xffff_ffff_ff60_0000_u64;
    // call rdi; the numbers are those of gettimeofday, time and getcpu
    for (offset, nr) in [(0, 96), (0x400, 201), (0x800, 309)] {
        let (trap, regs) = trap_of(&[0xff, 0xd7], |regs| regs.rdi = address + offset);
        match trap {
            Trap::Syscall => {
                assert_eq!((regs.orig_rax, regs.rip, regs.rsp), (nr, CODE + 2, DATA + 4 * PAGE));
            }
            Trap::Fault(fault) => {
                assert_eq!(fault.addr, address + offset);
                if backend::TELLS_VSYSCALL_FETCHES {
                    assert_eq!(fault.access, AccessType::Execute);
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
#[cfg_attr(needs_kvm, ignore = "needs a /dev/kvm of use; test/kvm/run brings one along")]
fn registers_no_program_may_have_do_no_harm() {
    let machine = Machine::with_code(SYSCALL_LOOP);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    for value in [u64::MAX, 1 << 63, 1 << 47, 0x7fff_ffff_f000, 0xffff_8000_0000_0000] {
        let mut wild = PtRegs {
            cs: value,
            ss: value,
            ds: value,
            es: value,
            fs: value,
            gs: value,
            fs_base: value,
            gs_base: value,
            eflags: value & !0x100,
            rsp: value,
            ..regs()
        };
        assert_eq!(run(&mut context, &aspace, &mut wild), Trap::Syscall, "{value:#x}");
    }
    for value in [1 << 63, 1 << 47, 0xffff_7fff_ffff_ffff] {
        let mut wild = PtRegs { rip: value, ..regs() };
        assert_eq!(run(&mut context, &aspace, &mut wild), GENERAL_PROTECTION, "{value:#x}");
    }
    for value in [0, 0x7fff_ffff_f000, 0xffff_8000_0000_0000] {
        let mut wild = PtRegs { rip: value, ..regs() };
        assert_eq!(run(&mut context, &aspace, &mut wild), fault(value, AccessType::Execute), "{value:#x}");
    }
    assert_eq!(run(&mut context, &aspace, &mut regs()), Trap::Syscall);
}

#[test]
#[cfg_attr(needs_kvm, ignore = "needs a /dev/kvm of use; test/kvm/run brings one along")]
fn a_guest_that_sets_its_own_segment_bases_goes_on() {
    // wrfsbase rdi; wrgsbase rdi; syscall; jmp .-2
    let code = [0xf3, 0x48, 0x0f, 0xae, 0xd7, 0xf3, 0x48, 0x0f, 0xae, 0xdf, 0x0f, 0x05, 0xeb, 0xfc];
    let machine = Machine::with_code(&code);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    for value in [DATA, 0x7fff_ffff_f000, 0xffff_8000_0000_0000, u64::MAX] {
        let mut regs = regs();
        regs.rdi = value;
        match run(&mut context, &aspace, &mut regs) {
            Trap::Syscall => assert_eq!(regs.fs_base, value),
            // A host that has not enabled the instructions.
            Trap::Signal(GuestSignal { signo: libc::SIGILL, .. }) => continue,
            other => panic!("{other:?}"),
        }
        assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
    }
}
