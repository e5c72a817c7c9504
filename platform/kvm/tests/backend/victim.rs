//! A guest under attack, and a bystander.
#![allow(dead_code, clippy::unwrap_used)]

use crate::guest::*;
use platform::{AddressSpace, Context, PlatformError, PtRegs, Trap};
use std::sync::Arc;

/// Where the attacked code lies, behind that of [`Victim::is_whole`].
pub(crate) const ATTACK: u64 = 0x1000;
pub(crate) const SYSCALL: [u8; 2] = [0x0f, 0x05];
pub(crate) const TRAP_FLAG: u64 = 0x100;

/// A guest that is attacked from within, and one beside it that is not.
pub(crate) struct Victim {
    pub(crate) machine: Machine,
    pub(crate) aspace: Arc<dyn AddressSpace>,
    pub(crate) context: Box<dyn Context + Send>,
    bystander: (Arc<dyn AddressSpace>, Box<dyn Context + Send>),
}

impl Victim {
    pub(crate) fn new() -> Victim {
        // mov rax, [rdi]; syscall
        let machine = Machine::with_code(&[0x48, 0x8b, 0x07, 0x0f, 0x05]);
        machine.write(DATA_OFFSET + PAGE, &4711_u64.to_ne_bytes());
        let (aspace, context) = (machine.aspace(), machine.context());
        let bystander = (machine.aspace(), machine.context());
        Victim { machine, aspace, context, bystander }
    }

    /// Runs code from changed registers until it traps.
    pub(crate) fn attack(
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
    pub(crate) fn is_whole(&mut self) -> bool {
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
