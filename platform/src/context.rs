//! The processor state of one task and the switch into guest code.

use crate::{AddressSpace, FpState, PlatformError, PtRegs};
use std::sync::Arc;

/// The access that faulted, as far as the back-end can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessType {
    /// A data read.
    Read,
    /// A data write.
    Write,
    /// An instruction fetch.
    Execute,
    /// The back-end cannot tell (ptrace reports only the address).
    Unknown,
}

/// A memory access the address space did not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The address accessed.
    pub addr: u64,
    /// How it was accessed.
    pub access: AccessType,
}

/// A synchronous exception that is not a page fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestSignal {
    /// Signal number Linux sends for it (SIGFPE, SIGILL, SIGTRAP, SIGBUS, or SIGSEGV for a general protection fault).
    pub signo: i32,
    /// `si_code` Linux would report.
    pub code: i32,
    /// `si_addr` Linux would report.
    pub addr: u64,
}

/// Why guest code stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// A `syscall` instruction. `orig_rax` holds the number, `rip` the address after the instruction, `rcx` and `r11`
    /// are what the instruction left there. The kernel puts the result into `rax`.
    Syscall,
    /// A page fault, including an access to an address nothing is mapped at. `rip` is the faulting instruction.
    Fault(Fault),
    /// Any other exception.
    Signal(GuestSignal),
    /// [`Interrupter::interrupt`] was called. Nothing else has happened; the registers are between two instructions.
    Interrupted,
}

/// Stops a context that may be running guest code.
pub trait Interrupter: Send + Sync {
    /// Makes the context's present or next [`Context::switch`] return [`Trap::Interrupted`] soon. Calls made before
    /// that happens are one. A switch that traps for another reason first may consume the request.
    fn interrupt(&self);
}

/// A system call whose result stays the same until its task makes another call: `number`'s result is `value`, whatever
/// its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The number of the call.
    pub number: u32,
    /// What it returns.
    pub value: u32,
}

/// The processor state of one task.
pub trait Context {
    /// Runs guest code in `aspace` from `regs` until it traps, and stores the registers it had then.
    ///
    /// The segment selectors and the privileged bits of `eflags` in `regs` are sanitised by the back-end.
    ///
    /// # Errors
    /// The host process or virtual CPU behind the context is gone (killed by the host, for one); the task cannot go on.
    fn switch(&mut self, aspace: &Arc<dyn AddressSpace>, regs: &mut PtRegs) -> Result<Trap, PlatformError>;

    /// The x87, SSE, AVX … state, as XSAVE's standard format has it.
    fn fp_state(&mut self) -> Result<FpState, PlatformError>;

    /// Replaces the extended state. A malformed image (a guest can write one in its signal frame) is refused with
    /// [`PlatformError::InvalidState`] and changes nothing.
    fn set_fp_state(&mut self, state: &FpState) -> Result<(), PlatformError>;

    /// Sets the extended state to what a program sees after execve(2).
    fn reset_fp_state(&mut self) -> Result<(), PlatformError> {
        self.set_fp_state(&FpState::default())
    }

    /// The handle with which other threads stop this context.
    fn interrupter(&self) -> Arc<dyn Interrupter>;

    /// A context for another task that shares `aspace`, the address space this context ran in last. It has the extended
    /// state of a fresh program, and may be moved to another host thread before its first switch.
    fn new_sibling(
        &mut self,
        aspace: &Arc<dyn AddressSpace>,
    ) -> Result<Box<dyn Context + Send>, PlatformError>;

    /// Whether the trap that [`Self::switch`] returned last was a call through [`crate::Platform::call_gate`]. If it was, and
    /// the next switch has the same `rip`, guest code goes on where that call said.
    fn used_gate(&self) -> bool {
        false
    }

    /// Comes to another processor, where a thread is that this one takes turns with; unless too much else is there. To be
    /// called by the host thread of the last switch.
    fn come_to(&self, cpu: u16) {
        let _ = cpu;
    }

    /// Tells all the calls that [`Self::switch`] may answer by itself from now on, without a trap; they replace those told
    /// before. A back-end answers as many of them as it cares to.
    fn set_answers(&mut self, answers: &[Answer]) {
        let _ = answers;
    }

    /// Gives up what ties this context to its present address space, because the task leaves it (execve, exit).
    ///
    /// When the last context of an address space has left, no guest code runs under its mappings, and it must not be
    /// entered again.
    fn leave(&mut self);
}
