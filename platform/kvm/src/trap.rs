//! From an exception of the processor to the trap the sentry sees.
//!
//! Linux: arch/x86/kernel/traps.c, arch/x86/mm/fault.c, arch/x86/kernel/fpu/core.c (`fpu__exception_code`).

use platform::{AccessType, FpState, GuestSignal, PtRegs, Trap};

/// Linux: include/uapi/asm-generic/siginfo.h.
const SI_KERNEL: i32 = 0x80;
const ILL_ILLOPN: i32 = 2;
const FPE_INTDIV: i32 = 1;
const FPE_FLTDIV: i32 = 3;
const FPE_FLTOVF: i32 = 4;
const FPE_FLTUND: i32 = 5;
const FPE_FLTRES: i32 = 6;
const FPE_FLTINV: i32 = 7;
const TRAP_BRKPT: i32 = 1;
const TRAP_TRACE: i32 = 2;
const BUS_ADRALN: i32 = 1;
const BUS_ADRERR: i32 = 2;

/// Linux: arch/x86/include/asm/trapnr.h, trap_pf.h, debugreg.h.
const X86_TRAP_DE: u64 = 0;
const X86_TRAP_DB: u64 = 1;
const X86_TRAP_BP: u64 = 3;
const X86_TRAP_UD: u64 = 6;
const X86_TRAP_NP: u64 = 11;
const X86_TRAP_SS: u64 = 12;
const X86_TRAP_PF: u64 = 14;
const X86_TRAP_MF: u64 = 16;
const X86_TRAP_AC: u64 = 17;
const X86_TRAP_XF: u64 = 19;
const X86_PF_WRITE: u64 = 1 << 1;
const X86_PF_RSVD: u64 = 1 << 3;
const X86_PF_INSTR: u64 = 1 << 4;
const DR_STEP: u64 = 1 << 14;

/// Linux: `__VIRTUAL_MASK_SHIFT` with four-level page tables; addresses are sign-extended from this bit on.
const SIGN_BIT: u32 = 47;
/// Bytes of the x87 control and status words and of MXCSR in the legacy area.
const FCW: usize = 0;
const FSW: usize = 2;
const MXCSR: usize = 24;

/// An exception as the processor raised it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exception {
    pub(crate) vector: u64,
    pub(crate) error: u64,
    /// CR2, or DR6 for a debug exception.
    pub(crate) info: u64,
}

pub(crate) fn is_canonical(addr: u64) -> bool {
    let upper = addr.cast_signed() >> SIGN_BIT;
    upper == 0 || upper == -1
}

pub(crate) const GENERAL_PROTECTION: Trap = signal(libc::SIGSEGV, SI_KERNEL, 0);

const fn signal(signo: i32, code: i32, addr: u64) -> Trap {
    Trap::Signal(GuestSignal { signo, code, addr })
}

/// A page that the mapping has, but not the host.
pub(crate) fn bus_error(addr: u64) -> Trap {
    signal(libc::SIGBUS, BUS_ADRERR, addr)
}

impl Exception {
    /// The address and access of a page fault.
    pub(crate) fn page_fault(&self) -> Option<(u64, AccessType)> {
        let access = match self.error {
            error if error & X86_PF_INSTR != 0 => AccessType::Execute,
            error if error & X86_PF_WRITE != 0 => AccessType::Write,
            _ => AccessType::Read,
        };
        (self.vector == X86_TRAP_PF).then_some((self.info, access))
    }

    /// Whether the processor found a page table entry malformed, which is nobody's fault but ours.
    pub(crate) fn is_malformed_table(&self) -> bool {
        self.vector == X86_TRAP_PF && self.error & X86_PF_RSVD != 0
    }

    /// Whether the extended state tells what it is.
    pub(crate) fn is_floating_point(&self) -> bool {
        matches!(self.vector, X86_TRAP_MF | X86_TRAP_XF)
    }

    /// The signal for what is no page fault. `fp` is the extended state where that is asked for.
    pub(crate) fn signal(&self, regs: &PtRegs, fp: Option<&FpState>) -> Trap {
        match self.vector {
            X86_TRAP_DE => signal(libc::SIGFPE, FPE_INTDIV, regs.rip),
            X86_TRAP_DB if self.info & DR_STEP != 0 => signal(libc::SIGTRAP, TRAP_TRACE, regs.rip),
            X86_TRAP_DB => signal(libc::SIGTRAP, TRAP_BRKPT, regs.rip),
            X86_TRAP_BP => signal(libc::SIGTRAP, SI_KERNEL, 0),
            X86_TRAP_UD => signal(libc::SIGILL, ILL_ILLOPN, regs.rip),
            X86_TRAP_NP | X86_TRAP_SS => signal(libc::SIGBUS, SI_KERNEL, 0),
            X86_TRAP_AC => signal(libc::SIGBUS, BUS_ADRALN, 0),
            X86_TRAP_MF | X86_TRAP_XF => {
                let unmasked = fp.map_or(0, |fp| unmasked(fp.as_bytes(), self.vector == X86_TRAP_XF));
                signal(libc::SIGFPE, fp_code(unmasked), regs.rip)
            }
            _ => GENERAL_PROTECTION,
        }
    }
}

/// The exceptions that are raised and not masked, of the SSE unit or of the x87.
fn unmasked(image: &[u8], sse: bool) -> u16 {
    let word = |offset: usize| {
        image.get(offset..offset + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_le_bytes)
    };
    if sse { word(MXCSR) & !(word(MXCSR) >> 7) } else { word(FSW) & !word(FCW) }
}

fn fp_code(unmasked: u16) -> i32 {
    match unmasked {
        bits if bits & 0x01 != 0 => FPE_FLTINV,
        bits if bits & 0x04 != 0 => FPE_FLTDIV,
        bits if bits & 0x08 != 0 => FPE_FLTOVF,
        bits if bits & 0x12 != 0 => FPE_FLTUND,
        bits if bits & 0x20 != 0 => FPE_FLTRES,
        // Raised and gone again; Linux sends nothing then and the instruction is run once more.
        _ => FPE_FLTINV,
    }
}
