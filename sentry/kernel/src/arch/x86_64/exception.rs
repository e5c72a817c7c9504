//! What a signal's context says about the exception behind it. Linux: `thread.trap_nr`, `error_code` and `cr2`
//! (arch/x86/kernel/traps.c, arch/x86/mm/fault.c); as there, they tell of the last exception, whatever the signal.

use platform::{AccessType, Fault, GuestSignal};
use sentry_uapi::signal::{SEGV_ACCERR, SI_KERNEL, SIGFPE, SIGILL, SIGTRAP};

// Vectors: arch/x86/include/asm/trapnr.h.
const DE: u64 = 0;
const DB: u64 = 1;
const BP: u64 = 3;
const UD: u64 = 6;
const GP: u64 = 13;
const PF: u64 = 14;
const MF: u64 = 16;
const XF: u64 = 19;

// Bits of a page fault's error code: arch/x86/include/asm/trap_pf.h.
const PF_PROT: u64 = 1;
const PF_WRITE: u64 = 2;
const PF_USER: u64 = 4;
const PF_INSTR: u64 = 16;

/// `si_code` of a division by zero.
const FPE_INTDIV: i32 = 1;

/// The last exception of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exception {
    pub(crate) vector: u64,
    pub(crate) error_code: u64,
    pub(crate) cr2: u64,
}

impl Exception {
    /// A page fault that became a signal with `code`. A refused access counts as one to a present page.
    pub(crate) fn page_fault(fault: &Fault, code: i32) -> Exception {
        let mut error_code = PF_USER;
        if code == SEGV_ACCERR {
            error_code |= PF_PROT;
        }
        error_code |= match fault.access {
            AccessType::Write => PF_WRITE,
            AccessType::Execute => PF_INSTR,
            AccessType::Read | AccessType::Unknown => 0,
        };
        Exception { vector: PF, error_code, cr2: fault.addr }
    }

    /// Another exception, as far as its signal tells which one it was.
    pub(crate) fn of_signal(signal: &GuestSignal) -> Exception {
        let vector = match (signal.signo, signal.code) {
            (SIGFPE, FPE_INTDIV) => DE,
            // The x87 and SSE have vectors of their own; programs of this architecture compute with SSE.
            (SIGFPE, SI_KERNEL) => MF,
            (SIGFPE, _) => XF,
            (SIGTRAP, SI_KERNEL) => BP,
            (SIGTRAP, _) => DB,
            (SIGILL, _) => UD,
            _ => GP,
        };
        Exception { vector, ..Exception::default() }
    }
}
