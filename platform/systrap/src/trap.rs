//! From a signal frame of a guest thread to the trap the sentry sees.
//!
//! The frame lies in memory the guest can write to: it is copied once, and what it says is taken as what the guest's
//! registers are, which the guest might as well have set itself.

use crate::filter::AUDIT_ARCH_X86_64;
use crate::layout::{SLOT_SIZE, frame, slot};
use crate::stub_code::{Gate, UC_SIZE};
use crate::thread::StubThread;
use platform::{AccessType, Fault, GuestSignal, PtRegs, Trap};
use std::sync::atomic::Ordering;

/// Linux: include/uapi/asm-generic/siginfo.h.
const SI_KERNEL: i32 = 0x80;
const SEGV_MAPERR: i32 = 1;
const SEGV_ACCERR: i32 = 2;
const SYS_SECCOMP: i32 = 1;
/// Length of `int 0x80`, `syscall` and `sysenter`.
const SYSCALL_LEN: u64 = 2;
/// Linux: `__VIRTUAL_MASK_SHIFT` with four-level page tables; addresses are sign-extended from this bit on.
const SIGN_BIT: u32 = 47;
/// What a system call's result register holds while it is made. Linux: arch/x86/entry/entry_64.S.
const NO_SYSCALL: u64 = (-38_i64).cast_unsigned();

/// Linux: arch/x86/entry/syscalls/syscall_64.tbl.
const SYS_URETPROBE: u64 = 335;

/// Words of `struct sigcontext`, which begins 40 bytes into a `ucontext`. Linux: arch/x86/include/uapi/asm/sigcontext.h.
const SIGCONTEXT: usize = 5;
const CS: usize = SIGCONTEXT + 18;
const ERR: usize = SIGCONTEXT + 19;
const TRAPNO: usize = SIGCONTEXT + 20;
const FPSTATE: usize = SIGCONTEXT + 23;
/// Words of the `siginfo` behind the `ucontext`: number and error, code, address or calling address, and for SIGSYS
/// number and architecture.
const INFO: usize = UC_SIZE / 8;
const FRAME_WORDS: usize = INFO + 4;
/// Linux: arch/x86/include/asm/trapnr.h.
const X86_TRAP_PF: u64 = 14;
/// Linux: arch/x86/include/asm/trap_pf.h.
const X86_PF_WRITE: u64 = 1 << 1;
const X86_PF_INSTR: u64 = 1 << 4;

const GENERAL_PROTECTION: Trap = Trap::Signal(GuestSignal { signo: libc::SIGSEGV, code: SI_KERNEL, addr: 0 });

/// What a hand-back by a guest thread comes to.
pub(crate) enum Stop {
    /// A call that came through the gate: where guest code goes on in place of the address behind the call. The guest's
    /// extended state is in the processor.
    Gate(u64),
    /// A call that was interrupted in the gate. As above; the extended state is at this offset of the slot.
    InGate(u64, u64),
    /// A trap. The guest's extended state is at this offset of the slot.
    Trap(Trap, u64),
    /// A kick, or what a signal from outside has come to. As above.
    Kicked(u64),
    /// A kick came before guest code was entered: registers and extended state are as they were wanted.
    NotEntered,
}

/// Registers as a guest thread is given them. Segment bases that the processor would refuse are 0.
pub(crate) fn loadable(regs: &PtRegs) -> PtRegs {
    let mut regs = regs.sanitised();
    for base in [&mut regs.fs_base, &mut regs.gs_base] {
        if !is_canonical(*base) {
            *base = 0;
        }
    }
    regs
}

fn is_canonical(addr: u64) -> bool {
    let upper = addr.cast_signed() >> SIGN_BIT;
    upper == 0 || upper == -1
}

/// The trap that `regs` lead to before an instruction is executed: a jump to a non-canonical address is a general
/// protection fault, which would come upon the stub's own code.
pub(crate) fn unreachable_rip(regs: &PtRegs) -> Option<Trap> {
    (!is_canonical(regs.rip)).then_some(GENERAL_PROTECTION)
}

/// The address at which guest code goes on, if it can.
pub(crate) fn entrance(addr: u64) -> Option<u64> {
    is_canonical(addr).then_some(addr)
}

/// Reads what the thread has left, and the registers into `regs` if it has entered guest code.
pub(crate) fn read(thread: &StubThread, gate: &Gate, regs: &mut PtRegs) -> Stop {
    let frame = thread.slot.word64(slot::FRAME).load(Ordering::Acquire);
    match frame {
        frame::NOT_ENTERED => return Stop::NotEntered,
        frame::GATE => return Stop::Gate(read_gate(thread, regs)),
        _ => {}
    }
    let mut bytes = [0_u8; FRAME_WORDS * 8];
    // A frame that is none belongs to a guest that has broken its slot; it gets zeros.
    let _ = thread.slot.read(frame.wrapping_sub(thread.addr), &mut bytes);
    let mut words = [0_u64; FRAME_WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = bytes.try_into().map_or(0, u64::from_ne_bytes);
    }
    let [
        _,
        _,
        _,
        _,
        _,
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
        rdi,
        rsi,
        rbp,
        rbx,
        rdx,
        rax,
        rcx,
        rsp,
        rip,
        eflags,
        ..,
    ] = words;
    let base = |offset| thread.slot.word64(slot::TRAP_BASES + offset).load(Ordering::Relaxed);
    let gs_base = match base(8) {
        own if own == thread.addr => 0,
        other => other,
    };
    *regs = PtRegs {
        r15,
        r14,
        r13,
        r12,
        rbp,
        rbx,
        r11,
        r10,
        r9,
        r8,
        rax,
        rcx,
        rdx,
        rsi,
        rdi,
        orig_rax: u64::MAX,
        rip,
        eflags,
        rsp,
        fs_base: base(0),
        gs_base,
        ..PtRegs::default()
    };
    let xstate = words[FPSTATE].wrapping_sub(thread.addr);
    let xstate = if xstate < SLOT_SIZE && xstate % 64 == 0 { xstate } else { slot::XSTATE };
    if (gate.start..gate.end).contains(&rip) {
        return Stop::InGate(finish_gate(thread, gate, regs), xstate);
    }
    let code_segment = words[CS] & 0xffff;
    let trap = trap_of(&words, code_segment, regs);
    *regs = PtRegs { orig_rax: regs.orig_rax, ..regs.sanitised() };
    match trap {
        Some(trap) => Stop::Trap(trap, xstate),
        // In a 32-bit code segment it cannot go on, since it is resumed in 64-bit mode.
        None if code_segment != PtRegs::USER_CS => Stop::Trap(GENERAL_PROTECTION, xstate),
        None => Stop::Kicked(xstate),
    }
}

/// Reads the registers of a call that came through the gate. Gives where guest code goes on.
fn read_gate(thread: &StubThread, regs: &mut PtRegs) -> u64 {
    let word = |index: u64| thread.slot.word64(slot::GATE_REGS + 8 * index).load(Ordering::Relaxed);
    *regs = PtRegs {
        rax: word(0),
        rcx: word(1),
        rdx: word(2),
        rsi: word(3),
        rdi: word(4),
        r8: word(5),
        r9: word(6),
        r10: word(7),
        rsp: word(8),
        eflags: word(9),
        rbx: word(10),
        rbp: word(11),
        r12: word(12),
        r13: word(13),
        r14: word(14),
        r15: word(15),
        fs_base: word(16),
        ..PtRegs::default()
    }
    .sanitised();
    into_syscall(regs);
    word(17)
}

/// Completes what an interrupted gate has stored so far; `regs` are those of its interruption. Gives where guest code
/// goes on.
fn finish_gate(thread: &StubThread, gate: &Gate, regs: &mut PtRegs) -> u64 {
    let word = |index: u64| thread.slot.word64(slot::GATE_REGS + 8 * index).load(Ordering::Relaxed);
    let at = regs.rip;
    if at >= gate.saved {
        return read_gate(thread, regs);
    }
    let mut resume = if at < gate.elsewhere { regs.rcx } else { regs.r11 };
    if at >= gate.switched {
        regs.rsp = word(8);
        resume = word(17);
    }
    regs.gs_base = 0;
    into_syscall(regs);
    resume
}

/// Registers of a call through the gate as those of a `syscall` instruction.
fn into_syscall(regs: &mut PtRegs) {
    regs.rip = regs.rcx;
    regs.r11 = regs.eflags;
    (regs.orig_rax, regs.rax) = (regs.rax, NO_SYSCALL);
}

/// The trap; `None` for a signal that the guest must not see.
fn trap_of(words: &[u64; FRAME_WORDS], code_segment: u64, regs: &mut PtRegs) -> Option<Trap> {
    let half = |word: u64, upper: bool| {
        let value = if upper { word >> 32 } else { word & 0xffff_ffff };
        u32::try_from(value).unwrap_or(0)
    };
    let signo = half(words[INFO], false).cast_signed();
    let code = half(words[INFO + 1], false).cast_signed();
    let addr = words[INFO + 2];
    let is_64_bit = code_segment == PtRegs::USER_CS;
    // The host kernel's own signals have positive codes, those sent by kill(2) and its kin do not.
    if code <= 0 {
        return None;
    }
    match signo {
        // Guest code that enters the kernel in another way than by `syscall` in 64-bit mode gets what a kernel without
        // 32-bit emulation gives it.
        libc::SIGSYS if code == SYS_SECCOMP => {
            if !is_64_bit || half(words[INFO + 3], true) != AUDIT_ARCH_X86_64 {
                regs.rip = regs.rip.wrapping_sub(SYSCALL_LEN);
                return Some(GENERAL_PROTECTION);
            }
            // Where the number looks like a request to restart, the host kernel has changed registers on its way here.
            regs.rip = addr;
            let number = i64::from(half(words[INFO + 3], false).cast_signed()).cast_unsigned();
            let whole = regs.rax & 0xffff_ffff == number & 0xffff_ffff;
            (regs.orig_rax, regs.rax) = (if whole { regs.rax } else { number }, NO_SYSCALL);
            // The instruction leaves these. A call into the vsyscall page does not, but then nobody misses them.
            (regs.rcx, regs.r11) = (regs.rip, regs.eflags);
            Some(Trap::Syscall)
        }
        // uretprobe(2), which the host kernel does not show to filters. It does nothing but raise this.
        libc::SIGILL if code == SI_KERNEL && is_64_bit && regs.rcx == regs.rip => {
            (regs.orig_rax, regs.rax) = (SYS_URETPROBE, NO_SYSCALL);
            Some(Trap::Syscall)
        }
        libc::SIGSEGV | libc::SIGBUS | libc::SIGTRAP | libc::SIGILL | libc::SIGFPE if !is_64_bit => {
            Some(GENERAL_PROTECTION)
        }
        libc::SIGSEGV if code == SEGV_MAPERR || code == SEGV_ACCERR => {
            let access = match words[ERR] {
                _ if words[TRAPNO] != X86_TRAP_PF => AccessType::Unknown,
                err if err & X86_PF_INSTR != 0 => AccessType::Execute,
                err if err & X86_PF_WRITE != 0 => AccessType::Write,
                _ => AccessType::Read,
            };
            Some(Trap::Fault(Fault { addr, access }))
        }
        libc::SIGSEGV | libc::SIGBUS | libc::SIGTRAP | libc::SIGILL | libc::SIGFPE => {
            // A general protection fault and a breakpoint have no address.
            let addr = if code == SI_KERNEL { 0 } else { addr };
            Some(Trap::Signal(GuestSignal { signo, code, addr }))
        }
        _ => None,
    }
}
