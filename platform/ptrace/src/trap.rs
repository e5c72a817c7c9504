//! From a stop of a stub thread to the trap the sentry sees.

use crate::stub_code::TASK_SIZE_MAX;
use platform::{AccessType, Fault, GuestSignal, PtRegs, Trap};
use platform_host::ptrace::SigInfo;

/// Linux: include/uapi/asm-generic/siginfo.h.
const SI_KERNEL: i32 = 0x80;
const SEGV_MAPERR: i32 = 1;
const SEGV_ACCERR: i32 = 2;
const SYS_SECCOMP: i32 = 1;
/// Length of `int 0x80`, `syscall` and `sysenter`.
const SYSCALL_LEN: u64 = 2;
/// Linux: `__VIRTUAL_MASK_SHIFT` with four-level page tables; addresses are sign-extended from this bit on.
const SIGN_BIT: u32 = 47;

/// Registers as a stub thread is given them: `fs_base` and `gs_base` that ptrace(2) would refuse are 0, and `orig_rax`
/// is -1, or else the host kernel might take a guest's result for a system call to restart.
pub(crate) fn loadable(regs: &PtRegs) -> PtRegs {
    let mut regs = regs.sanitised();
    regs.orig_rax = u64::MAX;
    if regs.fs_base >= TASK_SIZE_MAX {
        regs.fs_base = 0;
    }
    if regs.gs_base >= TASK_SIZE_MAX {
        regs.gs_base = 0;
    }
    regs
}

/// Whether the host kernel would take a system call's result for a request to restart it. Linux: include/linux/errno.h,
/// `ERESTARTSYS` to `ERESTART_RESTARTBLOCK`.
pub(crate) fn is_restart(rax: u64) -> bool {
    (-516..=-512).contains(&rax.cast_signed())
}

fn is_canonical(addr: u64) -> bool {
    let upper = addr.cast_signed() >> SIGN_BIT;
    upper == 0 || upper == -1
}

/// The trap that `regs` lead to before an instruction is executed: a jump to a non-canonical address is a general
/// protection fault. It is made here, since the host may meet it in its own return path.
pub(crate) fn unreachable_rip(regs: &PtRegs) -> Option<Trap> {
    (!is_canonical(regs.rip)).then_some(GENERAL_PROTECTION)
}

const GENERAL_PROTECTION: Trap = Trap::Signal(GuestSignal { signo: libc::SIGSEGV, code: SI_KERNEL, addr: 0 });

/// A stop at a system call. Guest code that enters the kernel in another way than by `syscall` in 64-bit mode gets what
/// a kernel without 32-bit emulation gives it.
pub(crate) fn syscall_stop(regs: &mut PtRegs) -> Trap {
    // The instruction leaves its return address in rcx and the flags in r11. A guest that prepares these and uses
    // `int 0x80` is served as if it had used `syscall`, which it could as well have done.
    if is_64_bit(regs) && regs.rcx == regs.rip && regs.r11 == regs.eflags {
        return Trap::Syscall;
    }
    regs.rax = regs.orig_rax;
    regs.orig_rax = u64::MAX;
    regs.rip = regs.rip.wrapping_sub(SYSCALL_LEN);
    GENERAL_PROTECTION
}

fn is_64_bit(regs: &PtRegs) -> bool {
    regs.cs == PtRegs::USER_CS
}

/// A stop that means nothing to the guest. In a 32-bit code segment it cannot go on, since it is resumed in 64-bit mode.
pub(crate) fn passed_over(regs: &mut PtRegs) -> Option<Trap> {
    regs.orig_rax = u64::MAX;
    (!is_64_bit(regs)).then_some(GENERAL_PROTECTION)
}

/// A stop at a signal; `None` for one that was sent from outside, which the guest must not see.
///
/// `access` finds out how a page fault's address was accessed, given the registers.
pub(crate) fn signal_stop(
    regs: &mut PtRegs,
    info: &SigInfo,
    access: impl FnOnce(&PtRegs, u64) -> AccessType,
) -> Option<Trap> {
    // The host kernel's own signals have positive codes, those sent by kill(2) and its kin do not.
    if info.code <= 0 {
        return None;
    }
    let SigInfo { signo, code, addr, syscall } = *info;
    regs.orig_rax = u64::MAX;
    match signo {
        libc::SIGSYS if code == SYS_SECCOMP => {
            // A call into the vsyscall page, which the host kernel has already returned from.
            regs.orig_rax = u64::try_from(syscall).unwrap_or(u64::MAX);
            regs.rcx = regs.rip;
            regs.r11 = regs.eflags;
            Some(Trap::Syscall)
        }
        libc::SIGSEGV | libc::SIGBUS | libc::SIGTRAP | libc::SIGILL | libc::SIGFPE if !is_64_bit(regs) => {
            Some(GENERAL_PROTECTION)
        }
        libc::SIGSEGV if code == SEGV_MAPERR || code == SEGV_ACCERR => {
            Some(Trap::Fault(Fault { addr, access: access(regs, addr) }))
        }
        libc::SIGSEGV | libc::SIGBUS | libc::SIGTRAP | libc::SIGILL | libc::SIGFPE => {
            // A general protection fault and a breakpoint have no address; the union holds something else.
            let addr = if code == SI_KERNEL { 0 } else { addr };
            Some(Trap::Signal(GuestSignal { signo, code, addr }))
        }
        _ => None,
    }
}
